package main

import (
	"encoding/json"
	"fmt"

	"github.com/atoll-dev/atoll/fixtures/lab"
)

// backend keeps the verbs' signatures short.
type backend = lab.Backend

// print writes a result to stdout: v as JSON with -o json, else by text.
func (a *app) print(v any, text func() error) error {
	if a.output == "json" {
		enc := json.NewEncoder(a.stdout)
		enc.SetIndent("", "  ")
		return enc.Encode(v)
	}
	return text()
}

func (a *app) printf(format string, args ...any) error {
	_, err := fmt.Fprintf(a.stdout, format, args...)
	return err
}
