package topologies

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/invopop/jsonschema"
)

var update = flag.Bool("update", false, "write schema.json and golden files anew")

// makeSchema reflects the schema from the types. It lives in a test so that
// the binary needs neither the reflector nor the source.
func makeSchema(t *testing.T) []byte {
	t.Helper()
	r := &jsonschema.Reflector{Mapper: mapScalar, ExpandedStruct: true}
	if err := r.AddGoComments("github.com/atoll-dev/atoll/topologies", ".", jsonschema.WithFullComment()); err != nil {
		t.Fatal(err)
	}
	for k, text := range r.CommentMap {
		r.CommentMap[k] = strings.Join(strings.Fields(text), " ")
	}
	s := r.Reflect(&Topology{})
	s.ID = SchemaURL
	s.Title = "atoll topology"
	shorten(s, "Workload", &jsonschema.Schema{Type: "string", Description: "A workload of the library, by its name.", Examples: toAny(LibraryWorkloads)})
	shorten(s, "Loss", ratioSchema())

	kinds := s.Definitions["Scenario"]
	for _, kind := range scenarioKinds {
		kinds.OneOf = append(kinds.OneOf, &jsonschema.Schema{Required: []string{kind}})
	}
	link := s.Definitions["Link"]
	link.OneOf = []*jsonschema.Schema{{Required: []string{"between"}}, {Required: []string{"from", "to"}}}

	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(s); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// shorten lets a definition be written as a scalar too.
func shorten(s *jsonschema.Schema, name string, scalar *jsonschema.Schema) {
	long := s.Definitions[name]
	s.Definitions[name] = &jsonschema.Schema{Description: long.Description, OneOf: []*jsonschema.Schema{scalar, long}}
	long.Description = ""
}

func toAny(list []string) []any {
	out := make([]any, len(list))
	for i, s := range list {
		out[i] = s
	}
	return out
}

func ratioSchema() *jsonschema.Schema {
	return &jsonschema.Schema{
		OneOf: []*jsonschema.Schema{
			{Type: "string", Pattern: `^[0-9.]+ ?%?$`},
			{Type: "number", Minimum: "0", Maximum: "1"},
		},
		Examples: []any{"0.01%", 0.0001},
	}
}

// mapScalar says how the types of values.go are written.
func mapScalar(t reflect.Type) *jsonschema.Schema {
	switch t {
	case reflect.TypeFor[Duration]():
		return &jsonschema.Schema{Type: "string", Pattern: `^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$`, Examples: []any{"140ms", "1.5s"}}
	case reflect.TypeFor[Ratio]():
		return ratioSchema()
	case reflect.TypeFor[Rate]():
		return &jsonschema.Schema{
			OneOf: []*jsonschema.Schema{
				{Type: "string", Pattern: `^[0-9]+(\.[0-9]+)? ?([KkMmGgTt]i?)?([Bb]it)?$`},
				{Type: "number", Minimum: "0"},
			},
			Examples: []any{"1Gbit", "10Mbit", "500kbit"},
		}
	case reflect.TypeFor[Queue]():
		return &jsonschema.Schema{
			Type:     "string",
			Pattern:  `^(([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+|[0-9]+(\.[0-9]+)? ?([KkMmGgTt]i?)?[Bb])$`,
			Examples: []any{"100ms", "256KiB"},
		}
	case reflect.TypeFor[Down]():
		return &jsonschema.Schema{OneOf: []*jsonschema.Schema{
			{Type: "boolean"},
			{Type: "string", Enum: []any{"blackhole", "reject"}},
		}}
	case reflect.TypeFor[Prefix]():
		return &jsonschema.Schema{Type: "string", Pattern: `^([0-9]{1,3}\.){3}[0-9]{1,3}/[0-9]{1,2}$`, Examples: []any{"10.10.0.0/16"}}
	case reflect.TypeFor[Port]():
		return &jsonschema.Schema{Type: "string", Pattern: `^(icmp|(tcp|udp)/[1-9][0-9]{0,4})$`, Examples: []any{"tcp/6443", "udp/53", "icmp"}}
	case reflect.TypeFor[Objects]():
		return &jsonschema.Schema{Type: "string"}
	case reflect.TypeFor[Names]():
		return &jsonschema.Schema{OneOf: []*jsonschema.Schema{
			{Type: "string"},
			{Type: "array", Items: &jsonschema.Schema{Type: "string"}},
		}}
	}
	return nil
}

func TestSchemaIsCurrent(t *testing.T) {
	want := makeSchema(t)
	if *update {
		if err := os.WriteFile("schema.json", want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Fatal("schema.json is not what the types say; run go generate ./topologies")
	}
}
