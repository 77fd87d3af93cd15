package topologies

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// Prefixes hold unexported fields that compare by value.
var compare = cmp.Options{cmp.Comparer(func(a, b Prefix) bool { return a == b }), cmpopts.EquateEmpty()}

func TestLibraryLoads(t *testing.T) {
	if names := LibraryNames(); !slices.Contains(names, "three-regions") || !slices.Contains(names, "two-clusters") {
		t.Fatalf("the library has %v", names)
	}
	for _, name := range LibraryNames() {
		t.Run(name, func(t *testing.T) {
			top, err := FromLibrary(name)
			if err != nil {
				t.Fatal(err)
			}
			if top.Metadata.Name != name {
				t.Errorf("%s.yaml is called %s", name, top.Metadata.Name)
			}
			data, err := fs.ReadFile(Library(), name+".yaml")
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasPrefix(string(data), "# yaml-language-server: $schema=") {
				t.Error("it does not open with the line that tells an editor its schema")
			}
		})
	}
	if _, err := FromLibrary("three-region"); err == nil || !strings.Contains(err.Error(), `did you mean "three-regions"?`) {
		t.Errorf("an unknown name: %v", err)
	}
}

// TestInvalid compares what is said about each file of testdata/invalid with
// the .txt beside it. With -update the .txt are written anew: read them.
func TestInvalid(t *testing.T) {
	files, err := filepath.Glob("testdata/invalid/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no files: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			top, err := Load(file)
			if err == nil {
				t.Fatal("it was loaded without an error")
			}
			if top != nil {
				t.Error("a topology came with the error")
			}
			var errs Errors
			if !errors.As(err, &errs) {
				t.Fatalf("a %T, not Errors", err)
			}
			for _, f := range errs {
				if f.Line == 0 && f.File == file {
					t.Errorf("without a line: %s", f)
				}
			}
			got := strings.ReplaceAll(err.Error(), "testdata/invalid/", "") + "\n"
			golden(t, strings.TrimSuffix(file, ".yaml")+".txt", got)
		})
	}
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestValid compares what each file of testdata/valid means, defaults and
// all, with the .txt beside it.
func TestValid(t *testing.T) {
	files, err := filepath.Glob("testdata/valid/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no files: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			top, err := Load(file)
			if err != nil {
				t.Fatal(err)
			}
			data, err := Marshal(top)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, strings.TrimSuffix(file, ".yaml")+".txt", string(data))
			again, err := Parse(file, data, nil)
			if err != nil {
				t.Fatalf("what was written cannot be read: %v", err)
			}
			if diff := cmp.Diff(top, again, compare); diff != "" {
				t.Errorf("not the same when read again: -first +second\n%s", diff)
			}
		})
	}
}

func TestLoadWithoutFile(t *testing.T) {
	for _, file := range []string{"testdata/none.yaml", "testdata", ""} {
		_, err := Load(file)
		var errs Errors
		if !errors.As(err, &errs) {
			t.Errorf("%q: %v", file, err)
		}
	}
}

func TestManifestsOutsideTheFolder(t *testing.T) {
	dir := t.TempDir()
	outside := filepath.Join(dir, "secret.yaml")
	inside := filepath.Join(dir, "world")
	if err := os.Mkdir(inside, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(outside, []byte("apiVersion: v1\nkind: Secret\nmetadata: {name: s}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(inside, "link.yaml")); err != nil {
		t.Skip("no symbolic links here:", err)
	}
	file := filepath.Join(inside, "t.yaml")
	text := minimal + "  workloads: [{name: w, manifest: link.yaml}]\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(file); err == nil {
		t.Fatal("a link led out of the folder")
	}
}

const minimal = `apiVersion: atoll.dev/v1alpha1
kind: Topology
metadata: {name: t}
spec:
  clusters: [{name: a, region: r}]
`

func TestHostileFiles(t *testing.T) {
	for name, text := range map[string]string{
		"huge":           minimal + "# " + strings.Repeat("x", maxFileSize),
		"deep flow":      minimal + "  x: " + strings.Repeat("[", 500_000),
		"deep entries":   minimal + "  x: " + strings.Repeat("- ", 400_000),
		"deep keys":      minimal + "  x: " + strings.Repeat("? ", 400_000),
		"deep mapping":   minimal + "  x: " + strings.Repeat("{a: ", 200_000),
		"deep lines":     minimal + "  x:\n" + deepLines(1000),
		"many clusters":  strings.Replace(minimal, "[", "["+strings.Repeat("{name: b, region: r},", 5000), 1),
		"many unknown":   minimal + manyFields(20_000),
		"self reference": strings.Replace(minimal, "[", "&x [*x, ", 1),
		"nul":            "\x00",
		"tag":            strings.Replace(minimal, "name: t", "name: !!binary dGVzdA==", 1),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse("t.yaml", []byte(text), nil)
			var errs Errors
			if !errors.As(err, &errs) {
				t.Fatalf("%v", err)
			}
			if len(errs[0].What) > 300 {
				t.Errorf("the message repeats the input: %.300s…", errs[0].What)
			}
		})
	}
}

func deepLines(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(strings.Repeat(" ", i+4) + "a:\n")
	}
	return b.String()
}

func manyFields(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString("  field" + strings.Repeat("x", i%7) + string(rune('a'+i%26)) + strings.Repeat("y", i/26%50) + strings.Repeat("z", i/1300) + ": 1\n")
	}
	return b.String()
}

func FuzzParse(f *testing.F) {
	for _, glob := range []string{"*.yaml", "testdata/*/*.yaml"} {
		files, err := filepath.Glob(glob)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		top, err := Parse("t.yaml", data, os.DirFS("testdata/invalid"))
		if (top == nil) != (err != nil) {
			t.Fatalf("topology %v, error %v", top, err)
		}
		var errs Errors
		if err != nil && (!errors.As(err, &errs) || len(errs) == 0) {
			t.Fatalf("not Errors: %v", err)
		}
		if err != nil {
			return
		}
		out, err := Marshal(top)
		if err != nil {
			t.Fatal(err)
		}
		again, err := Parse("t.yaml", out, nil)
		if err != nil {
			t.Fatalf("what was written cannot be read: %v\n%s", err, out)
		}
		if diff := cmp.Diff(top, again, compare); diff != "" {
			t.Fatalf("not the same when read again: -first +second\n%s", diff)
		}
	})
}
