package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"syscall"

	"gocloud.dev/blob/driver"
)

const (
	// maxPage bounds the size of pages, and is it for callers that name none.
	// Each object costs a call, which takes long on a folder beyond a thin line,
	// and a caller who waits for a page sees no more than that it does not come.
	maxPage = 100
	// maxWalks bounds the listings whose position is kept between two pages.
	// Each holds the names of the folders on its path that are still to come.
	maxWalks = 4
)

// ListPaged implements driver.Bucket. The token of a page is its last key, and
// serves any Bucket of the folder; the one that gave it out also remembers
// where its walk stopped, so that a listing reads each folder once, not once
// for each page. What appears or vanishes during a listing may be in it or not.
func (b *Bucket) ListPaged(ctx context.Context, opts *driver.ListOptions) (*driver.ListPage, error) {
	if opts.BeforeList != nil {
		if err := opts.BeforeList(noAs); err != nil {
			return nil, err
		}
	}
	w := b.takeWalk(opts)
	page, err := w.page(ctx, opts)
	if err := also(err, w.closeDir()); err != nil {
		return nil, err
	}
	if len(page.NextPageToken) > 0 {
		b.keepWalk(w)
	}
	return page, nil
}

// A walk visits the objects below a prefix in the order of their keys.
type walk struct {
	fs                FS
	prefix, delimiter string
	after             string               // the last key of the last page; "" at first
	stack             []frame              // the folders on the way to the next entry
	pending           []*driver.ListObject // objects visited but not yet on a page: one at most
	dir               Dir                  // the folder at the top of the stack, during a page
}

// A frame is a folder of which entries are still to be visited.
type frame struct {
	path    string // in the file system
	prefix  string // of its keys, with the slash
	entries []entry
}

// An entry of a folder, by its part of the key; that of a folder ends in "/",
// which also sorts it to where its keys belong.
type entry struct{ name, element string }

func (e entry) isDir() bool { return strings.HasSuffix(e.element, "/") }

// takeWalk returns the walk that stopped where opts go on, or a new one.
func (b *Bucket) takeWalk(opts *driver.ListOptions) *walk {
	b.mu.Lock()
	defer b.mu.Unlock()
	after := string(opts.PageToken)
	for i, w := range b.walks {
		if after != "" && w.after == after && w.prefix == opts.Prefix && w.delimiter == opts.Delimiter {
			b.walks = slices.Delete(b.walks, i, i+1)
			return w
		}
	}
	return &walk{fs: b.fs, prefix: opts.Prefix, delimiter: opts.Delimiter, after: after}
}

func (b *Bucket) keepWalk(w *walk) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.walks) == maxWalks {
		b.walks = slices.Delete(b.walks, 0, 1)
	}
	b.walks = append(b.walks, w)
}

// page returns the next page and leaves w behind its last key.
func (w *walk) page(ctx context.Context, opts *driver.ListOptions) (*driver.ListPage, error) {
	size := opts.PageSize
	if size <= 0 || size > maxPage {
		size = maxPage
	}
	if w.stack == nil {
		if err := w.start(); err != nil {
			return nil, err
		}
	}
	objects := w.pending
	w.pending = nil
	if len(objects) > 0 {
		w.after = objects[0].Key
	}
	for len(objects) <= size {
		obj, err := w.next(ctx)
		if err == io.EOF {
			return &driver.ListPage{Objects: objects}, nil
		}
		if err != nil {
			return nil, err
		}
		if obj = w.collapse(obj); obj.Key > w.after {
			objects = append(objects, obj)
			w.after = obj.Key
		}
	}
	w.pending = objects[size:]
	objects = objects[:size:size]
	w.after = objects[size-1].Key
	return &driver.ListPage{Objects: objects, NextPageToken: []byte(w.after)}, nil
}

// collapse turns an object into the "directory" that stands for it in a
// listing with a delimiter.
func (w *walk) collapse(obj *driver.ListObject) *driver.ListObject {
	if w.delimiter == "" {
		return obj
	}
	i := strings.Index(obj.Key[len(w.prefix):], w.delimiter)
	if i < 0 {
		return obj
	}
	return &driver.ListObject{Key: obj.Key[:len(w.prefix)+i+len(w.delimiter)], IsDir: true}
}

// start enters the deepest folder that all keys with the prefix are in.
func (w *walk) start() error {
	i := strings.LastIndexByte(w.prefix, '/')
	if i < 0 {
		return w.enter(".", "")
	}
	return w.enter(folderOf(w.prefix[:i]), w.prefix[:i+1])
}

// next returns the next object in the order of keys, or io.EOF.
func (w *walk) next(ctx context.Context) (*driver.ListObject, error) {
	for len(w.stack) > 0 {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		top := &w.stack[len(w.stack)-1]
		if len(top.entries) == 0 {
			w.stack = w.stack[:len(w.stack)-1]
			if err := w.closeDir(); err != nil {
				return nil, err
			}
			continue
		}
		e := top.entries[0]
		top.entries = top.entries[1:]
		if e.isDir() {
			if err := w.enter(join(top.path, e.name), top.prefix+e.element); err != nil {
				return nil, err
			}
			continue
		}
		obj, err := w.stat(top, e)
		if obj != nil || err != nil {
			return obj, err
		}
	}
	return nil, io.EOF
}

func join(path, name string) string {
	if path == "." {
		return name
	}
	return path + "/" + name
}

// stat describes the object e of the folder top, or returns nil if it was
// deleted since the folder was read.
func (w *walk) stat(top *frame, e entry) (*driver.ListObject, error) {
	if w.dir == nil {
		dir, err := w.fs.OpenDir(top.path)
		if isGone(err) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		w.dir = dir
	}
	info, err := w.dir.Lstat(e.name)
	if isGone(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if err := checkObject(info); err != nil {
		return nil, err
	}
	return &driver.ListObject{Key: top.prefix + e.element, ModTime: info.ModTime(), Size: info.Size()}, nil
}

// enter reads the folder at path, whose keys begin with prefix, and puts it on
// the stack. One that is not there (any more) has no objects.
func (w *walk) enter(path, prefix string) error {
	if err := w.closeDir(); err != nil {
		return err
	}
	dir, err := w.fs.OpenDir(path)
	if path != "." && isGone(err) {
		return nil
	}
	if err != nil {
		return err
	}
	w.dir = dir
	f := frame{path: path, prefix: prefix}
	for {
		batch, err := dir.ReadDir(1024)
		for _, d := range batch {
			e, err := w.entryOf(d, prefix)
			if err != nil {
				return err
			}
			if e.name != "" {
				f.entries = append(f.entries, e)
			}
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return fmt.Errorf("folder %s: %w", path, err)
		}
	}
	slices.SortFunc(f.entries, func(a, b entry) int { return strings.Compare(a.element, b.element) })
	w.stack = append(w.stack, f)
	return nil
}

// entryOf returns the entry of a name in a folder, or none (without a name) for
// names that are no key's and keys that are not wanted. What is neither
// file nor folder is an error: objects might hide behind a link.
func (w *walk) entryOf(d fs.DirEntry, prefix string) (entry, error) {
	element, ok := decodeElement(d.Name())
	if !ok {
		return entry{}, nil
	}
	if d.IsDir() {
		element += "/"
	}
	key := prefix + element
	if !strings.HasPrefix(key, w.prefix) && !(d.IsDir() && strings.HasPrefix(w.prefix, key)) {
		return entry{}, nil
	}
	if key <= w.after && !(d.IsDir() && strings.HasPrefix(w.after, key)) {
		return entry{}, nil
	}
	if !d.IsDir() && !d.Type().IsRegular() {
		return entry{}, fmt.Errorf("%q in the repository's folder is neither a file nor a folder (%v)", prefix+element, d.Type())
	}
	return entry{d.Name(), element}, nil
}

func isGone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

// closeDir closes the folder at the top of the stack.
func (w *walk) closeDir() error {
	if w.dir == nil {
		return nil
	}
	dir := w.dir
	w.dir = nil
	return dir.Close()
}
