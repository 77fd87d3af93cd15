package hollow

import (
	"errors"
	"io"
	"io/fs"
	"path"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// maxFileBytes bounds what one in-memory volume or container may hold.
const maxFileBytes = 16 << 20

// memFS is a small file tree in memory.
type memFS struct {
	mu       sync.RWMutex
	files    map[string]memFile // by clean name; folders have dir set
	bytes    int
	readOnly bool
}

type memFile struct {
	data []byte
	dir  bool
	at   time.Time
	mode fs.FileMode
}

func newMemFS() *memFS {
	return &memFS{files: map[string]memFile{".": {dir: true, at: time.Now(), mode: 0o755}}}
}

// fixedFS is a read-only tree of these files.
func fixedFS(files map[string][]byte, mode fs.FileMode) (*memFS, error) {
	m := newMemFS()
	for name, data := range files {
		if err := m.put(name, data, mode); err != nil {
			return nil, err
		}
	}
	m.readOnly = true
	return m, nil
}

func (m *memFS) put(name string, data []byte, mode fs.FileMode) error {
	if !fs.ValidPath(name) || name == "." {
		return &fs.PathError{Op: "write", Path: name, Err: fs.ErrInvalid}
	}
	if old := m.files[name]; old.dir {
		return &fs.PathError{Op: "write", Path: name, Err: errors.New("is a directory")}
	} else if m.bytes+len(data)-len(old.data) > maxFileBytes {
		return &fs.PathError{Op: "write", Path: name, Err: errors.New("no space left on device")}
	} else {
		m.bytes += len(data) - len(old.data)
	}
	if err := m.parents(name); err != nil {
		return err
	}
	m.files[name] = memFile{data: data, at: time.Now(), mode: mode}
	return nil
}

func (m *memFS) parents(name string) error {
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		f, ok := m.files[dir]
		if ok && !f.dir {
			return &fs.PathError{Op: "mkdir", Path: dir, Err: errors.New("not a directory")}
		}
		if !ok {
			m.files[dir] = memFile{dir: true, at: time.Now(), mode: 0o755}
		}
	}
	return nil
}

var errReadOnly = errors.New("read-only file system")

func (m *memFS) WriteFile(name string, data []byte, appending bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.readOnly {
		return &fs.PathError{Op: "open", Path: name, Err: errReadOnly}
	}
	if appending {
		data = append(append([]byte(nil), m.files[name].data...), data...)
	}
	return m.put(name, data, 0o644)
}

func (m *memFS) Mkdir(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.readOnly {
		return &fs.PathError{Op: "mkdir", Path: name, Err: errReadOnly}
	}
	if _, ok := m.files[name]; ok {
		return &fs.PathError{Op: "mkdir", Path: name, Err: fs.ErrExist}
	}
	if err := m.parents(name); err != nil {
		return err
	}
	m.files[name] = memFile{dir: true, at: time.Now(), mode: 0o755}
	return nil
}

func (m *memFS) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.readOnly {
		return &fs.PathError{Op: "remove", Path: name, Err: errReadOnly}
	}
	f, ok := m.files[name]
	if !ok {
		return &fs.PathError{Op: "remove", Path: name, Err: fs.ErrNotExist}
	}
	if f.dir && len(m.list(name)) > 0 {
		return &fs.PathError{Op: "remove", Path: name, Err: errors.New("directory not empty")}
	}
	m.bytes -= len(f.data)
	delete(m.files, name)
	return nil
}

// list names the entries of a folder, sorted.
func (m *memFS) list(dir string) []string {
	var out []string
	for name := range m.files {
		if name != "." && path.Dir(name) == dir {
			out = append(out, path.Base(name))
		}
	}
	sort.Strings(out)
	return out
}

func (m *memFS) Open(name string) (fs.File, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	f, ok := m.files[name]
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	open := &openFile{info: fileInfo{path.Base(name), f}, r: strings.NewReader(string(f.data))}
	if f.dir {
		for _, n := range m.list(name) {
			open.entries = append(open.entries, fs.FileInfoToDirEntry(fileInfo{n, m.files[path.Join(name, n)]}))
		}
	}
	return open, nil
}

type fileInfo struct {
	name string
	f    memFile
}

func (i fileInfo) Name() string { return i.name }
func (i fileInfo) Size() int64  { return int64(len(i.f.data)) }
func (i fileInfo) Mode() fs.FileMode {
	if i.f.dir {
		return i.f.mode | fs.ModeDir
	}
	return i.f.mode
}
func (i fileInfo) ModTime() time.Time { return i.f.at }
func (i fileInfo) IsDir() bool        { return i.f.dir }
func (i fileInfo) Sys() any           { return nil }

type openFile struct {
	info    fileInfo
	r       *strings.Reader
	entries []fs.DirEntry
}

func (o *openFile) Stat() (fs.FileInfo, error) { return o.info, nil }
func (o *openFile) Close() error               { return nil }
func (o *openFile) Read(p []byte) (int, error) {
	if o.info.f.dir {
		return 0, &fs.PathError{Op: "read", Path: o.info.name, Err: errors.New("is a directory")}
	}
	return o.r.Read(p)
}
func (o *openFile) Seek(offset int64, whence int) (int64, error) { return o.r.Seek(offset, whence) }

// ReadDir implements fs.ReadDirFile.
func (o *openFile) ReadDir(n int) ([]fs.DirEntry, error) {
	if n <= 0 {
		out := o.entries
		o.entries = nil
		return out, nil
	}
	if len(o.entries) == 0 {
		return nil, io.EOF
	}
	n = min(n, len(o.entries))
	out := o.entries[:n]
	o.entries = o.entries[n:]
	return out, nil
}

// volume is what is mounted: a tree that may be replaced whole.
type volume struct{ tree atomic.Pointer[memFS] }

func (v *volume) set(m *memFS) { v.tree.Store(m) }

// mount is a volume at a place in a container.
type mount struct {
	at       string // without the leading slash
	subPath  string
	volume   *volume
	readOnly bool
}

// containerFS is what a container sees: its own writable tree, and mounts.
type containerFS struct {
	root   *memFS
	mounts []mount // longest path first
}

func newContainerFS(root *memFS, mounts []mount) *containerFS {
	sort.SliceStable(mounts, func(i, j int) bool { return len(mounts[i].at) > len(mounts[j].at) })
	for _, m := range mounts {
		// A mount point shows in the folder above it.
		_ = root.parents(m.at + "/x")
	}
	return &containerFS{root: root, mounts: mounts}
}

func (c *containerFS) find(name string) (*memFS, string, bool) {
	for _, m := range c.mounts {
		if name == m.at || strings.HasPrefix(name, m.at+"/") {
			rest := path.Join(m.subPath, strings.TrimPrefix(strings.TrimPrefix(name, m.at), "/"))
			if rest == "" {
				rest = "."
			}
			return m.volume.tree.Load(), rest, m.readOnly
		}
	}
	return c.root, name, false
}

func (c *containerFS) Open(name string) (fs.File, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	}
	m, rest, _ := c.find(name)
	return m.Open(rest)
}

func (c *containerFS) change(name string, do func(m *memFS, rest string) error) error {
	if !fs.ValidPath(name) {
		return &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	}
	m, rest, ro := c.find(name)
	if ro {
		return &fs.PathError{Op: "open", Path: name, Err: errReadOnly}
	}
	return do(m, rest)
}

// WriteFile implements Writable.
func (c *containerFS) WriteFile(name string, data []byte, appending bool) error {
	return c.change(name, func(m *memFS, rest string) error { return m.WriteFile(rest, data, appending) })
}

// Remove implements Writable.
func (c *containerFS) Remove(name string) error {
	return c.change(name, func(m *memFS, rest string) error { return m.Remove(rest) })
}

// Mkdir implements Writable.
func (c *containerFS) Mkdir(name string) error {
	return c.change(name, func(m *memFS, rest string) error { return m.Mkdir(rest) })
}
