package local

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"strings"
	"syscall"

	"gocloud.dev/blob/driver"
	"gocloud.dev/gcerrors"
)

// NewTypedWriter implements driver.Bucket. The content type and the caching
// headers are not kept, metadata is refused.
func (b *Bucket) NewTypedWriter(ctx context.Context, key, _ string, opts *driver.WriterOptions) (driver.Writer, error) {
	if key == "" {
		return nil, coded{gcerrors.InvalidArgument, errors.New("the key is empty")}
	}
	if len(opts.Metadata) > 0 {
		return nil, coded{gcerrors.Unimplemented, errors.New("metadata is not stored in folders")}
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if opts.BeforeWrite != nil {
		if err := opts.BeforeWrite(noAs); err != nil {
			return nil, err
		}
	}
	path, name := splitKey(key)
	folder, dir, err := b.openForWrite(path)
	if err != nil {
		return nil, err
	}
	tmp, err := b.stage(dir)
	if err != nil {
		return nil, also(err, dir.Close())
	}
	return &writer{ctx: ctx, bucket: b, folder: folder, dir: dir, tmp: tmp, name: name, exclusive: opts.IfNotExist}, nil
}

// A writer writes one object. It implements driver.Writer and driver.Uploader.
type writer struct {
	ctx       context.Context
	bucket    *Bucket
	folder    *folder
	dir       Dir
	tmp       *staged
	name      string
	exclusive bool
	err       error // the first failure: Close must not commit after it
}

func (w *writer) Write(p []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, w.fail(err)
	}
	n, err := w.tmp.file.Write(p)
	return n, w.fail(err)
}

// Upload writes all of r; for a bytes.Reader in a single call.
func (w *writer) Upload(r io.Reader) error {
	_, err := io.Copy(struct{ io.Writer }{w}, r)
	return w.fail(err)
}

func (w *writer) fail(err error) error {
	if w.err == nil {
		w.err = err
	}
	return err
}

// Close commits the object, unless the context has ended or a write failed.
func (w *writer) Close() error {
	err := w.err
	if err == nil {
		err = w.commit()
	}
	return also(err, w.tmp.discard(), w.dir.Close())
}

// commit gives the bytes their name. The order is what makes a put durable:
// the bytes before the name that leads to them, then the name. The context is
// asked for the last time before the name exists.
func (w *writer) commit() error {
	if w.exclusive { // saves the loser of a race a sync
		_, err := w.dir.Lstat(w.name)
		if err == nil {
			return errExists
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := w.ctx.Err(); err != nil {
		return err
	}
	if err := w.tmp.file.Sync(); err != nil {
		return err
	}
	if err := w.ctx.Err(); err != nil {
		return err
	}
	publish := w.tmp.replace
	if w.exclusive {
		publish = w.tmp.create
	}
	err := publish(w.name)
	if errors.Is(err, fs.ErrExist) {
		return err
	}
	// Also after an error: it may have the name all the same, as on a network file
	// system that lost a reply. Then the caller reads it back, finds it equal and
	// goes on with it, and a power cut must not take it away again.
	return also(err, w.folder.sync(w.dir))
}

var errExists = coded{gcerrors.FailedPrecondition, fs.ErrExist}

// staged is a file on its way to its name.
type staged struct {
	bucket *Bucket
	dir    Dir
	file   File   // nil when closed
	name   string // the temporary name; "" if it has none
}

// stage opens a file in dir, unnamed if it can be.
func (b *Bucket) stage(dir Dir) (*staged, error) {
	s := &staged{bucket: b, dir: dir}
	if !b.noUnnamed.Load() {
		file, err := dir.CreateUnnamed()
		if err == nil {
			s.file = file
			return s, nil
		}
		if !lacks(err) {
			return nil, err
		}
	}
	if err := s.openNamed(); err != nil {
		return nil, err
	}
	b.noUnnamed.Store(true)
	return s, nil
}

func (s *staged) openNamed() error {
	name := tempName()
	file, err := s.dir.Create(name)
	if err != nil {
		return err
	}
	s.file, s.name = file, name
	return nil
}

// create links the synced file to name, which must be free.
func (s *staged) create(name string) error {
	if s.name == "" {
		if err := s.linkUnnamed(name); err != nil || s.name == "" {
			return exists(err)
		}
	}
	if !s.bucket.noLink.Load() {
		err := s.dir.Link(s.name, name) // discard removes the temporary name
		if !mayLack(err) {
			return exists(err)
		}
	}
	err := s.dir.RenameNew(s.name, name)
	if err == nil {
		s.name = ""
		s.bucket.noLink.Store(true)
	}
	if lacks(err) {
		return fmt.Errorf("%w: %w", ErrNoExclusiveCreate, err)
	}
	return exists(err)
}

// replace puts the synced file at name in place of what may be there.
func (s *staged) replace(name string) error {
	if s.name == "" {
		temp := tempName()
		if err := s.linkUnnamed(temp); err != nil {
			return err
		}
		if s.name == "" {
			s.name = temp
		}
	}
	if err := s.dir.Rename(s.name, name); err != nil {
		return err
	}
	s.name = ""
	return nil
}

// linkUnnamed links an unnamed file to name. Where that turns out not to work
// it gives the file a temporary name instead.
func (s *staged) linkUnnamed(name string) error {
	err := s.dir.LinkUnnamed(s.file, name)
	noProc := errors.Is(err, fs.ErrNotExist)
	if mayLack(err) || noProc {
		return s.giveName()
	}
	return err
}

// giveName copies an unnamed file, which turned out not to be linkable, to a
// named one. Later files begin with a name.
func (s *staged) giveName() error {
	unnamed := s.file
	s.file = nil
	err := s.openNamed()
	if err == nil {
		_, err = io.Copy(struct{ io.Writer }{s.file}, io.NewSectionReader(unnamed, 0, math.MaxInt64))
	}
	if err == nil {
		err = s.file.Sync()
	}
	if err := also(err, unnamed.Close()); err != nil {
		return err
	}
	s.bucket.noUnnamed.Store(true)
	return nil
}

// discard closes the file and removes the temporary name, if there is one.
func (s *staged) discard() error {
	var closed, removed error
	if s.file != nil {
		closed = s.file.Close()
	}
	if s.name != "" {
		removed = s.dir.Remove(s.name)
	}
	return also(closed, removed)
}

func tempName() string { return tempPrefix + strings.ToLower(rand.Text()) }

// lacks reports whether err says that the file system has no such call.
func lacks(err error) bool {
	return errors.Is(err, errors.ErrUnsupported) || errors.Is(err, syscall.EINVAL)
}

// mayLack reports whether err may say so: FAT refuses links with EPERM, others
// with EMLINK or EXDEV. The next way to create a name then tells, or fails with
// the better error.
func mayLack(err error) bool {
	return lacks(err) || errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EMLINK) || errors.Is(err, syscall.EXDEV)
}

func exists(err error) error {
	if errors.Is(err, fs.ErrExist) {
		return coded{gcerrors.FailedPrecondition, err}
	}
	return err
}
