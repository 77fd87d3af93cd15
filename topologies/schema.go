package topologies

import _ "embed"

//go:generate go test -run TestSchemaIsCurrent -update .

//go:embed schema.json
var schema []byte

// SchemaURL is where the newest schema is published.
const SchemaURL = "https://raw.githubusercontent.com/atoll-dev/atoll/main/topologies/schema.json"

// Schema returns the JSON Schema of the format. It is made from the types and
// their comments, and checked in; a test keeps it current. An editor with a
// YAML language server uses it where a file's first line is
//
//	# yaml-language-server: $schema=topologies/schema.json
func Schema() ([]byte, error) { return schema, nil }
