package program

import (
	"fmt"
	"io/fs"
	"os"
)

// Writable is a Process.Files that can be written to. That of a hollow pod is;
// volumes made from API objects refuse.
type Writable interface {
	fs.FS
	// WriteFile creates or replaces a file, or with appending extends it, and
	// makes the folders above it.
	WriteFile(name string, data []byte, appending bool) error
	Remove(name string) error
	Mkdir(name string) error
}

// WriteFile writes to Process.Files where that is possible: in a hollow pod,
// or in a real container to the operating system's file.
func WriteFile(files fs.FS, name string, data []byte, appending bool) error {
	if w, ok := files.(Writable); ok {
		return w.WriteFile(name, data, appending)
	}
	return &fs.PathError{Op: "write", Path: name, Err: fmt.Errorf("%w: %T cannot be written to", os.ErrPermission, files)}
}
