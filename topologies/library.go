package topologies

import (
	"embed"
	"io/fs"
	"strings"
)

//go:embed *.yaml
var library embed.FS

// Library returns the topologies that come with atoll.
func Library() fs.FS { return library }

// LibraryNames returns the names of the library's topologies, sorted; each is the
// file NAME.yaml of Library.
func LibraryNames() []string {
	entries, err := fs.ReadDir(library, ".")
	if err != nil {
		return nil // an embedded folder can be read
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = strings.TrimSuffix(e.Name(), ".yaml")
	}
	return names
}

// FromLibrary loads the library's topology of that name.
func FromLibrary(name string) (*Topology, error) {
	file := name + ".yaml"
	data, err := fs.ReadFile(library, file)
	if err != nil {
		return nil, fault(name, 0, "the library has no such topology; it has %s%s", strings.Join(LibraryNames(), ", "), didYouMean(name, LibraryNames()))
	}
	return Parse(file, data, library)
}
