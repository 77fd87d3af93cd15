package topologies

import (
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// decoder fills Go values from YAML as strictly as a decoder of a library
// would, but does not stop at the first fault, and remembers the line of each
// value so that the validator can name it.
type decoder struct {
	file    string
	errs    Errors
	lines   map[string]int // of each value, by its path
	bad     map[string]bool
	anchors map[string]ast.Node
	values  int // visited, aliases unfolded
}

func newDecoder(file string, root ast.Node) *decoder {
	d := &decoder{file: file, lines: map[string]int{}, bad: map[string]bool{}, anchors: map[string]ast.Node{}}
	ast.Walk(anchorCollector(d.anchors), root)
	return d
}

// anchorCollector visits a document and keeps its anchors by name.
type anchorCollector map[string]ast.Node

func (c anchorCollector) Visit(n ast.Node) ast.Visitor {
	if a, ok := n.(*ast.AnchorNode); ok && a.Name != nil {
		c[a.Name.GetToken().Value] = a.Value
	}
	return c
}

// errorf reports a fault of the value at path.
func (d *decoder) errorf(line int, path, format string, args ...any) {
	d.bad[path] = true
	what := fmt.Sprintf(format, args...)
	if path != "" {
		what = path + ": " + what
	}
	d.errs = append(d.errs, Fault{File: d.file, Line: line, What: what})
}

// lineAt returns the line of the value at path, or of what it would be part of.
func (d *decoder) lineAt(path string) int {
	for {
		if line, ok := d.lines[path]; ok {
			return line
		}
		cut := strings.LastIndexAny(path, ".[")
		if cut < 0 {
			return d.lines[""]
		}
		path = path[:cut]
	}
}

// failed tells whether the value at path, or a part of it, could not be read.
func (d *decoder) failed(path string) bool {
	for p := range d.bad {
		if rest, ok := strings.CutPrefix(p, path); ok && (rest == "" || rest[0] == '.' || rest[0] == '[') {
			return true
		}
	}
	return false
}

// resolve unfolds anchors, aliases and the tags that say what is plain anyway.
func (d *decoder) resolve(n ast.Node) (ast.Node, error) {
	for range maxDepth {
		switch x := n.(type) {
		case *ast.AnchorNode:
			n = x.Value
		case *ast.AliasNode:
			name := x.Value.GetToken().Value
			target, ok := d.anchors[name]
			if !ok {
				return nil, fmt.Errorf("no anchor is called %q", abbreviate(name))
			}
			n = target
		default:
			return n, nil
		}
	}
	return nil, fmt.Errorf("an alias that leads to itself")
}

// decode fills v from n. The line is where the value's key stands.
func (d *decoder) decode(n ast.Node, path string, line, depth int, v reflect.Value, tag reflect.StructTag) {
	d.values++
	if d.values > maxValues || depth > maxDepth {
		if d.values == maxValues+1 || depth > maxDepth && !d.bad[""] {
			d.errorf(line, "", "too many values, or nested too deeply; is an alias folded into itself?")
		}
		return
	}
	n, err := d.resolve(n)
	if err != nil {
		d.errorf(line, path, "%v", err)
		return
	}
	d.lines[path] = line
	if v.Kind() == reflect.Pointer {
		// A mapping without anything in it is there; a value is not.
		_, isText := v.Interface().(encoding.TextUnmarshaler)
		_, isShort := v.Interface().(shorthand)
		if isNull(n) && (v.Type().Elem().Kind() != reflect.Struct || isText || isShort) {
			return
		}
		v.Set(reflect.New(v.Type().Elem()))
		v = v.Elem()
	}
	target := v.Addr().Interface()
	text, isScalar := scalarText(n)
	switch {
	case isNull(n): // as if it were left out
	case isScalar && implements[encoding.TextUnmarshaler](target):
		if err := target.(encoding.TextUnmarshaler).UnmarshalText([]byte(text)); err != nil {
			d.errorf(line, path, "%v", err)
		}
	case isScalar && implements[shorthand](target):
		if err := target.(shorthand).fromScalar(text); err != nil {
			d.errorf(line, path, "%v", err)
		}
	default:
		d.decodePlain(n, path, line, depth, v, tag)
	}
}

func isNull(n ast.Node) bool {
	return n == nil || n.Type() == ast.NullType
}

// isNothing sees through anchors, too, that stand before nothing.
func (d *decoder) isNothing(n ast.Node) bool {
	n, err := d.resolve(n)
	return err == nil && isNull(n)
}

func implements[T any](v any) bool {
	_, ok := v.(T)
	return ok
}

func (d *decoder) decodePlain(n ast.Node, path string, line, depth int, v reflect.Value, tag reflect.StructTag) {
	if implements[encoding.TextUnmarshaler](v.Addr().Interface()) {
		d.errorf(line, path, "must be a single value, not %s", describe(n))
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		d.decodeStruct(n, path, line, depth, v)
	case reflect.Slice:
		list, ok := n.(*ast.SequenceNode)
		if !ok {
			d.errorf(line, path, "must be a list, not %s", describe(n))
			return
		}
		// A hostile list must not make room for more than may be visited.
		v.Set(reflect.MakeSlice(v.Type(), 0, min(len(list.Values), maxValues)))
		for i, item := range list.Values {
			if d.values > maxValues {
				return
			}
			v.Set(reflect.Append(v, reflect.Zero(v.Type().Elem())))
			itemLine := lineOf(item)
			if itemLine == 0 {
				itemLine = line
			}
			itemPath := fmt.Sprintf("%s[%d]", path, i)
			if d.isNothing(item) {
				d.lines[itemPath] = itemLine
				d.errorf(itemLine, itemPath, "is empty")
				continue
			}
			d.decode(item, itemPath, itemLine, depth+1, v.Index(i), tag)
		}
	case reflect.Map:
		d.decodeMap(n, path, line, depth, v)
	case reflect.Interface:
		d.decodeAny(n, path, line, depth, v)
	case reflect.String:
		d.decodeString(n, path, line, v, tag)
	case reflect.Bool:
		b, ok := n.(*ast.BoolNode)
		if !ok {
			d.errorf(line, path, "must be true or false, not %s", describe(n))
			return
		}
		v.SetBool(b.Value)
	case reflect.Int, reflect.Int64:
		text, _ := scalarText(n)
		i, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n.Type() != ast.IntegerType || v.OverflowInt(i) {
			d.errorf(line, path, "%v, not %s", errWholeNumber, describe(n))
			return
		}
		v.SetInt(i)
	default:
		// A field of a kind that the decoder does not know is a mistake in
		// this package, which its tests would show.
		d.errorf(line, path, "cannot be read from a file")
	}
}

func (d *decoder) decodeString(n ast.Node, path string, line int, v reflect.Value, tag reflect.StructTag) {
	switch n.(type) {
	case *ast.StringNode, *ast.LiteralNode:
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		d.errorf(line, path, "must be text, not %s; put it in quotes", describe(n))
		return
	default:
		d.errorf(line, path, "must be text, not %s", describe(n))
		return
	}
	text, _ := scalarText(n)
	if allowed := enum(tag); allowed != nil && !slices.Contains(allowed, text) {
		if len(allowed) == 1 {
			d.errorf(line, path, "unknown %q; must be %s", abbreviate(text), allowed[0])
		} else {
			d.errorf(line, path, "unknown %q; must be one of %s", abbreviate(text), strings.Join(allowed, ", "))
		}
		return
	}
	v.SetString(text)
}

// enum returns the values that a field's tag allows, or nil for any.
func enum(tag reflect.StructTag) []string {
	var values []string
	for _, part := range strings.Split(tag.Get("jsonschema"), ",") {
		if value, ok := strings.CutPrefix(part, "enum="); ok {
			values = append(values, value)
		}
	}
	return values
}

func (d *decoder) decodeMap(n ast.Node, path string, line, depth int, v reflect.Value) {
	list, ok := entries(n)
	if !ok {
		d.errorf(line, path, "must be a mapping, not %s", describe(n))
		return
	}
	v.Set(reflect.MakeMap(v.Type()))
	for _, e := range list {
		key, ok := d.key(e, path)
		if !ok {
			continue
		}
		value := reflect.New(v.Type().Elem()).Elem()
		d.decode(e.Value, path+"."+key, lineOf(e.Key), depth+1, value, "")
		v.SetMapIndex(reflect.ValueOf(key).Convert(v.Type().Key()), value)
	}
}

// decodeAny reads a value that may be anything, as JSON would have it.
func (d *decoder) decodeAny(n ast.Node, path string, line, depth int, v reflect.Value) {
	var value any
	switch x := n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		m := map[string]any{}
		d.decodePlain(n, path, line, depth, reflect.ValueOf(&m).Elem(), "")
		value = m
	case *ast.SequenceNode:
		list := []any{}
		d.decodePlain(n, path, line, depth, reflect.ValueOf(&list).Elem(), "")
		value = list
	case *ast.StringNode, *ast.LiteralNode:
		text, _ := scalarText(n)
		value = text
	case *ast.BoolNode:
		value = x.Value
	case *ast.FloatNode:
		value = x.Value
	case *ast.IntegerNode:
		switch i := x.Value.(type) {
		case int64:
			value = float64(i)
		case uint64:
			value = float64(i)
		}
	}
	if value == nil {
		d.errorf(line, path, "cannot be read: %s", describe(n))
		return
	}
	v.Set(reflect.ValueOf(value))
}

// key returns a mapping entry's key.
func (d *decoder) key(e *ast.MappingValueNode, path string) (string, bool) {
	if e.Key.IsMergeKey() {
		d.errorf(lineOf(e.Key), path, "merge keys (<<) are not read here")
		return "", false
	}
	text, ok := scalarText(e.Key)
	if !ok {
		d.errorf(lineOf(e.Key), path, "a key must be text")
		return "", false
	}
	return text, true
}

func (d *decoder) decodeStruct(n ast.Node, path string, line, depth int, v reflect.Value) {
	list, ok := entries(n)
	if !ok {
		d.errorf(line, path, "must be a mapping, not %s", describe(n))
		return
	}
	if target, ok := v.Addr().Interface().(interface{ beforeMapping() }); ok {
		target.beforeMapping()
	}
	fields, names := structFields(v.Type())
	// Unknown fields first, so that a misspelt one is not also said to be missing.
	seen, meant := map[string]bool{}, map[string]bool{}
	for _, e := range list {
		key, ok := d.key(e, path)
		if !ok {
			continue
		}
		if _, known := fields[key]; !known {
			if len(d.errs) > maxFaults {
				continue // enough is enough
			}
			left := slices.DeleteFunc(slices.Clone(names), func(s string) bool { return seen[s] })
			if name, ok := nearest(key, left); ok {
				meant[name] = true
			}
			d.errs = append(d.errs, Fault{File: d.file, Line: lineOf(e.Key), What: prefixed(path, fmt.Sprintf("unknown field %q%s", abbreviate(key), didYouMean(key, left)))})
			d.bad[path] = true
			continue
		}
		if seen[key] {
			d.errorf(lineOf(e.Key), path, "%s is given twice", key)
		}
		seen[key] = true
	}
	for _, e := range list {
		key, ok := scalarText(e.Key)
		field, known := fields[key]
		if !ok || !known {
			continue
		}
		fieldPath := key
		if path != "" {
			fieldPath = path + "." + key
		}
		if d.isNothing(e.Value) && field.required {
			d.errorf(lineOf(e.Key), fieldPath, "is empty")
			continue
		}
		d.decode(e.Value, fieldPath, lineOf(e.Key), depth+1, v.Field(field.index), field.tag)
	}
	for _, name := range names {
		if fields[name].required && !seen[name] && !meant[name] {
			d.errorf(line, path, "%s is missing", name)
		}
	}
}

func prefixed(path, what string) string {
	if path == "" {
		return what
	}
	return path + ": " + what
}

type structField struct {
	index    int
	required bool
	tag      reflect.StructTag
}

// structFields returns the fields of a struct by their names in the file, and
// the names in order. A field that is never omitted when written is required.
func structFields(t reflect.Type) (map[string]structField, []string) {
	fields := map[string]structField{}
	var names []string
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" || name == "-" {
			continue
		}
		fields[name] = structField{
			index:    i,
			required: !strings.Contains(options, "omitempty") && !strings.Contains(options, "omitzero"),
			tag:      f.Tag,
		}
		names = append(names, name)
	}
	return fields, names
}
