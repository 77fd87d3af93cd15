package topologies

import "testing"

func TestLibraryLoads(t *testing.T) {
	for _, name := range LibraryNames() {
		t.Run(name, func(t *testing.T) {
			top, err := FromLibrary(name)
			if err != nil {
				t.Fatal(err)
			}
			if top.Metadata.Name != name {
				t.Errorf("%s.yaml is called %s", name, top.Metadata.Name)
			}
		})
	}
}
