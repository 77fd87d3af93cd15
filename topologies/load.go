package topologies

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"reflect"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
)

// Load reads a topology from a file, and the manifests that it names from the
// file's folder. The topology is complete: defaults are filled in, ranges
// assigned. The error is always an Errors.
func Load(file string) (*Topology, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fault(file, 0, "%s", reason(err))
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, maxFileSize+1))
	if err != nil {
		return nil, fault(file, 0, "%s", reason(err))
	}
	// A root, so that no link in the folder leads out of it.
	root, err := os.OpenRoot(filepath.Dir(file))
	if err != nil {
		return nil, fault(file, 0, "%s", reason(err))
	}
	defer func() { _ = root.Close() }()
	return Parse(file, data, root.FS())
}

// reason is what went wrong with a file, without naming it again.
func reason(err error) string {
	var pathErr *fs.PathError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "there is no such file"
	case errors.As(err, &pathErr):
		return pathErr.Err.Error()
	}
	return err.Error()
}

// Parse reads a topology from data. The name stands for it in errors.
// Manifests are read from files; it may be nil for a topology that names none.
// The error is always an Errors.
func Parse(name string, data []byte, files fs.FS) (*Topology, error) {
	docs, err := parseYAML(name, data)
	if err != nil {
		return nil, err
	}
	if len(docs) == 0 {
		return nil, fault(name, 1, "the file is empty")
	}
	if len(docs) > 1 {
		return nil, fault(name, docs[1].line, "a second document; a file holds one topology")
	}
	root := docs[0].body
	d := newDecoder(name, root)
	if wrong := header(d, root); wrong != nil {
		return nil, wrong.sorted(name)
	}

	t := &Topology{}
	d.decode(root, "", lineOf(root), 0, reflect.ValueOf(t).Elem(), "")
	// In noise, whatever else could be said is noise too.
	if d.values <= maxValues && len(d.errs) < maxFaults {
		t.setDefaults()
		v := &validator{decoder: d, t: t}
		v.validate()
		v.manifests(files)
	}
	if len(d.errs) > 0 {
		return nil, d.errs.sorted(name)
	}
	return t, nil
}

// header looks at apiVersion and kind first: in a file of another kind every
// field is unknown, and saying so helps no one.
func header(d *decoder, root ast.Node) Errors {
	list, ok := entries(root)
	if !ok {
		return fault(d.file, lineOf(root), "a topology is a mapping, not %s", describe(root))
	}
	var errs Errors
	for _, e := range list {
		key, _ := scalarText(e.Key)
		want := map[string]string{"apiVersion": APIVersion, "kind": Kind}[key]
		value, err := d.resolve(e.Value)
		if want == "" || err != nil {
			continue
		}
		if got, ok := scalarText(value); ok && got != want {
			errs = append(errs, Fault{File: d.file, Line: lineOf(e.Key), What: fmt.Sprintf("%s: unknown %q; must be %s", key, abbreviate(got), want)})
		}
	}
	return errs
}

// manifests reads the manifests that workloads name, and checks all of them.
func (v *validator) manifests(files fs.FS) {
	for i := range v.t.Spec.Workloads {
		w := &v.t.Spec.Workloads[i]
		p := fmt.Sprintf("spec.workloads[%d].manifest", i)
		if w.Objects != nil {
			if !v.failed(fmt.Sprintf("spec.workloads[%d]", i)) {
				v.inlineObjects(i, w)
			}
			continue
		}
		if w.Manifest == "" {
			continue
		}
		if !fs.ValidPath(path.Clean(w.Manifest)) {
			v.fault(p, "workload %s: manifest %s is outside the topology's folder", w.Name, abbreviate(w.Manifest))
			continue
		}
		if files == nil {
			v.fault(p, "workload %s: manifest %s cannot be read from here", w.Name, abbreviate(w.Manifest))
			continue
		}
		data, err := readBounded(files, path.Clean(w.Manifest))
		if err != nil {
			v.fault(p, "workload %s: manifest %s: %s", w.Name, abbreviate(w.Manifest), reason(err))
			continue
		}
		file := path.Join(filepath.ToSlash(filepath.Dir(v.file)), w.Manifest)
		if errs := checkObjects(file, data); errs != nil {
			v.errs = append(v.errs, errs...)
			continue
		}
		w.Objects = data
	}
}

// inlineObjects checks objects that stand in the topology itself.
func (v *validator) inlineObjects(i int, w *Workload) {
	p := fmt.Sprintf("spec.workloads[%d].objects", i)
	for _, f := range checkObjects("", w.Objects) {
		where := ""
		if f.Line > 0 {
			where = fmt.Sprintf(" in line %d", f.Line)
		}
		v.fault(p, "workload %s: objects%s: %s", w.Name, where, f.What)
	}
}

func readBounded(files fs.FS, name string) ([]byte, error) {
	f, err := files.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return io.ReadAll(io.LimitReader(f, maxFileSize+1))
}

// checkObjects looks whether data holds Kubernetes objects. What is in them
// is the API server's to judge.
func checkObjects(file string, data []byte) Errors {
	docs, err := parseYAML(file, data)
	if err != nil {
		var errs Errors
		errors.As(err, &errs)
		return errs
	}
	if len(docs) == 0 {
		return fault(file, 1, "the manifest is empty")
	}
	var errs Errors
	for _, doc := range docs {
		list, ok := entries(doc.body)
		if !ok {
			errs = append(errs, fault(file, lineOf(doc.body), "a Kubernetes object is a mapping, not %s", describe(doc.body))...)
			continue
		}
		has := map[string]bool{}
		for _, e := range list {
			key, _ := scalarText(e.Key)
			has[key] = true
		}
		for _, key := range []string{"apiVersion", "kind", "metadata"} {
			if !has[key] {
				errs = append(errs, fault(file, lineOf(doc.body), "a Kubernetes object without %s", key)...)
			}
		}
	}
	return errs
}

// Marshal writes a topology as a file that Parse reads back the same, the
// objects of its workloads included.
func Marshal(t *Topology) ([]byte, error) {
	data, err := json.Marshal(t)
	if err != nil {
		return nil, fmt.Errorf("marshal topology %s: %w", t.Metadata.Name, err)
	}
	out, err := yaml.JSONToYAML(data)
	if err != nil {
		return nil, fmt.Errorf("marshal topology %s: %w", t.Metadata.Name, err)
	}
	return out, nil
}
