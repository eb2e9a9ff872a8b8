package simdisk

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"

	"bluesky/store/local"
)

// A Refuser is an FS that refuses one call of another, and lacks some.
type Refuser struct {
	under local.FS
	lacks map[string]bool

	mu    sync.Mutex
	calls int    // guarded by mu: since Refuse
	at    int    // guarded by mu: this one is refused, from 0; -1 none
	err   error  // guarded by mu: with this
	after bool   // guarded by mu: having done it, as when only the reply is lost
	only  string // guarded by mu: the name of the calls that count; "" all
	hit   string // guarded by mu: the call that was refused
}

var _ local.FS = (*Refuser)(nil)

// NewRefuser returns a Refuser in front of under that lacks calls of the given
// names, and refuses none so far.
func NewRefuser(under local.FS, lacks ...string) *Refuser {
	r := &Refuser{under: under, lacks: map[string]bool{}, at: -1}
	for _, call := range lacks {
		r.lacks[call] = true
	}
	return r
}

// Refuse lets the nth call from now on, counted from 0, fail with err: before it
// is done, or after. A negative n lets none. [Refuser.Only] says which count.
func (r *Refuser) Refuse(n int, err error, after bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls, r.hit = 0, ""
	r.at, r.err, r.after = n, err, after
}

// Only lets only calls of the given name count from now on, "" all.
func (r *Refuser) Only(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.only = name
}

// Hit returns the name of the call that was refused since Refuse, "" if none
// was.
func (r *Refuser) Hit() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.hit
}

// Calls returns how many calls there were since Refuse.
func (r *Refuser) Calls() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.calls
}

func (r *Refuser) do(name string, call func() error) error {
	if r.lacks[name] {
		return fmt.Errorf("%s: %w", name, errors.ErrUnsupported)
	}
	r.mu.Lock()
	counts := r.only == "" || r.only == name
	struck := counts && r.calls == r.at
	if counts {
		r.calls++
	}
	if struck {
		r.hit = name
	}
	err, after := r.err, r.after
	r.mu.Unlock()
	if !struck {
		return call()
	}
	if after {
		_ = call() // its result is what gets lost
	}
	return fmt.Errorf("%s: %w", name, err)
}

// get is do for calls that open or read something.
func get[T any](r *Refuser, name string, call func() (T, error)) (T, error) {
	var got T
	err := r.do(name, func() (err error) {
		got, err = call()
		if err != nil {
			got = *new(T)
		}
		return err
	})
	if opened, ok := any(got).(io.Closer); ok && err != nil {
		opened.Close() // nobody has it: the reply is lost
	}
	return got, err
}

// Close implements local.FS.
func (r *Refuser) Close() error { return r.under.Close() }

// Mkdir implements local.FS.
func (r *Refuser) Mkdir(name string) error {
	return r.do("mkdir", func() error { return r.under.Mkdir(name) })
}

// OpenDir implements local.FS.
func (r *Refuser) OpenDir(name string) (local.Dir, error) {
	dir, err := get(r, "open folder", func() (local.Dir, error) { return r.under.OpenDir(name) })
	if err != nil {
		return nil, err
	}
	return &refusingDir{dir, r}, nil
}

type refusingDir struct {
	local.Dir
	r *Refuser
}

func (d *refusingDir) file(name string, open func() (local.File, error)) (local.File, error) {
	file, err := get(d.r, name, open)
	if err != nil {
		return nil, err
	}
	return &refusingFile{file, d.r}, nil
}

func (d *refusingDir) CreateUnnamed() (local.File, error) {
	return d.file("create unnamed", d.Dir.CreateUnnamed)
}

func (d *refusingDir) Create(name string) (local.File, error) {
	return d.file("create", func() (local.File, error) { return d.Dir.Create(name) })
}

func (d *refusingDir) Open(name string) (local.File, error) {
	return d.file("open", func() (local.File, error) { return d.Dir.Open(name) })
}

func (d *refusingDir) LinkUnnamed(f local.File, name string) error {
	return d.r.do("link unnamed", func() error { return d.Dir.LinkUnnamed(f.(*refusingFile).File, name) })
}

func (d *refusingDir) Link(oldName, newName string) error {
	return d.r.do("link", func() error { return d.Dir.Link(oldName, newName) })
}

func (d *refusingDir) RenameNew(oldName, newName string) error {
	return d.r.do("rename new", func() error { return d.Dir.RenameNew(oldName, newName) })
}

func (d *refusingDir) Rename(oldName, newName string) error {
	return d.r.do("rename", func() error { return d.Dir.Rename(oldName, newName) })
}

func (d *refusingDir) Remove(name string) error {
	return d.r.do("remove", func() error { return d.Dir.Remove(name) })
}

func (d *refusingDir) Lstat(name string) (fs.FileInfo, error) {
	return get(d.r, "lstat", func() (fs.FileInfo, error) { return d.Dir.Lstat(name) })
}

func (d *refusingDir) ReadDir(n int) ([]fs.DirEntry, error) {
	return get(d.r, "read folder", func() ([]fs.DirEntry, error) { return d.Dir.ReadDir(n) })
}

func (d *refusingDir) Sync() error  { return d.r.do("sync folder", d.Dir.Sync) }
func (d *refusingDir) Close() error { return d.r.do("close folder", d.Dir.Close) }

type refusingFile struct {
	local.File
	r *Refuser
}

func (f *refusingFile) Write(p []byte) (int, error) {
	return get(f.r, "write", func() (int, error) { return f.File.Write(p) })
}

func (f *refusingFile) ReadAt(p []byte, off int64) (n int, err error) {
	err = f.r.do("read", func() error { n, err = f.File.ReadAt(p, off); return err })
	return n, err // n also at the end of the file
}

func (f *refusingFile) Stat() (fs.FileInfo, error) { return get(f.r, "stat", f.File.Stat) }
func (f *refusingFile) Sync() error                { return f.r.do("sync", f.File.Sync) }
func (f *refusingFile) Close() error               { return f.r.do("close", f.File.Close) }
