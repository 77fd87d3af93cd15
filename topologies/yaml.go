package topologies

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// The bounds of what is read. A topology of a thousand clusters has some
// 300 KiB; the parser needs about two hundred times a file's size.
const (
	maxFileSize = 1 << 20
	maxDepth    = 64
	maxValues   = 200_000
	maxFaults   = 100 // past these a file is noise
)

// document is one YAML document and the line it starts in.
type document struct {
	body ast.Node
	line int
}

// parseYAML reads a file's documents, leaving out empty ones. What is no
// YAML, not UTF-8, too large or nested too deeply is an error with its line.
func parseYAML(file string, data []byte) (docs []document, err error) {
	if len(data) > maxFileSize {
		return nil, fault(file, 0, "larger than %d bytes", maxFileSize)
	}
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")) // a byte order mark
	if i := invalidUTF8(data); i >= 0 {
		return nil, fault(file, 1+bytes.Count(data[:i], []byte("\n")), "not UTF-8: byte 0x%02x", data[i])
	}
	if i := bytes.IndexFunc(data, isControl); i >= 0 {
		return nil, fault(file, 1+bytes.Count(data[:i], []byte("\n")), "control character 0x%02x; is this a text file?", data[i])
	}
	if line := tooDeep(data); line > 0 {
		return nil, fault(file, line, "nested more than %d deep", maxDepth)
	}

	// The parser is not ours and the input is anyone's.
	defer func() {
		if p := recover(); p != nil {
			docs, err = nil, fault(file, 0, "cannot be read as YAML")
		}
	}()
	// Carriage returns would count as lines of their own.
	data = bytes.ReplaceAll(data, []byte("\r\n"), []byte("\n"))
	parsed, err := parser.ParseBytes(data, 0)
	if err != nil {
		return nil, syntaxFault(file, err)
	}
	for _, doc := range parsed.Docs {
		if doc.Body == nil || doc.Body.Type() == ast.CommentType || doc.Body.Type() == ast.CommentGroupType {
			continue
		}
		line := lineOf(doc.Body)
		if doc.Start != nil && doc.Start.Position != nil {
			line = doc.Start.Position.Line
		}
		docs = append(docs, document{body: doc.Body, line: line})
	}
	return docs, nil
}

func syntaxFault(file string, err error) Errors {
	var located interface {
		GetMessage() string
		GetToken() *token.Token
	}
	var syntax *yaml.SyntaxError
	if errors.As(err, &syntax) {
		located = syntax
	} else if !errors.As(err, &located) {
		return fault(file, 0, "not YAML: %s", firstLine(err.Error()))
	}
	line := 0
	if tk := located.GetToken(); tk != nil && tk.Position != nil {
		line = tk.Position.Line
	}
	message := position.ReplaceAllString(firstLine(located.GetMessage()), "in line $1")
	return fault(file, line, "not YAML: %s", message)
}

// position is how the parser names another place in its messages.
var position = regexp.MustCompile(`at \[(\d+):\d+\]`)

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

func isControl(r rune) bool {
	return r < 0x20 && r != '\t' && r != '\n' && r != '\r' || r == 0x7f
}

// invalidUTF8 returns the index of the first byte that is not UTF-8, or -1.
func invalidUTF8(data []byte) int {
	for i := 0; i < len(data); {
		r, size := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && size <= 1 {
			return i
		}
		i += size
	}
	return -1
}

// tooDeep returns the first line that nests deeper than any topology or
// manifest does, or 0. The parser recurses, and a stack overflow cannot be
// recovered from, so this looks before it leaps: it counts flow brackets, and
// block entries within one line, wherever they stand, in text too.
func tooDeep(data []byte) int {
	const limit = 4 * maxDepth // brackets in text are not closed by the book
	line, depth, entries := 1, 0, 0
	for i, b := range data {
		switch b {
		case '\n':
			line++
			entries = 0
		case '[', '{':
			depth++
		case ']', '}':
			depth = max(depth-1, 0)
		case '-', '?', ':':
			if i+1 < len(data) && (data[i+1] == ' ' || data[i+1] == '\t') {
				entries++
			}
		}
		if depth > limit || (depth == 0 && entries > limit) {
			return line
		}
	}
	return 0
}

// lineOf returns the line on which a node starts.
func lineOf(n ast.Node) int {
	switch n := n.(type) {
	case nil:
		return 0
	case *ast.MappingNode:
		if !n.IsFlowStyle && len(n.Values) > 0 {
			return lineOf(n.Values[0])
		}
	case *ast.MappingValueNode:
		return lineOf(n.Key)
	case *ast.LiteralNode:
		if n.Start != nil && n.Start.Position != nil {
			return n.Start.Position.Line
		}
	case *ast.AnchorNode:
		return lineOf(n.Value)
	}
	if tk := n.GetToken(); tk != nil && tk.Position != nil {
		return tk.Position.Line
	}
	return 0
}

// entries returns a mapping's entries, and false if the node is none.
func entries(n ast.Node) ([]*ast.MappingValueNode, bool) {
	switch n := n.(type) {
	case *ast.MappingNode:
		return n.Values, true
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}, true
	}
	return nil, false
}

// scalarText returns a scalar as it was written, without quotes, and false
// if the node is no scalar.
func scalarText(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return n.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return n.GetToken().Value, true
	}
	return "", false
}

// describe says what a node is, for a message that wanted something else.
func describe(n ast.Node) string {
	switch n := n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		return "a mapping"
	case *ast.SequenceNode:
		return "a list"
	case *ast.NullNode:
		return "nothing"
	case *ast.BoolNode:
		return fmt.Sprintf("the truth value %s", n.GetToken().Value)
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return fmt.Sprintf("the number %s", n.GetToken().Value)
	case *ast.TagNode:
		return "a tag"
	}
	if s, ok := scalarText(n); ok {
		return fmt.Sprintf("the text %q", abbreviate(s))
	}
	return "something else"
}

// abbreviate keeps hostile input from filling the screen.
func abbreviate(s string) string {
	if utf8.RuneCountInString(s) <= 60 {
		return s
	}
	return string([]rune(s)[:60]) + "…"
}
