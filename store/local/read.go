package local

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"math"

	"gocloud.dev/blob/driver"
	"gocloud.dev/gcerrors"
)

// contentType is reported for every object: it is all that is ever stored.
const contentType = "application/octet-stream"

// Attributes implements driver.Bucket.
func (b *Bucket) Attributes(ctx context.Context, key string) (*driver.Attributes, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	path, name := splitKey(key)
	dir, err := b.fs.OpenDir(path)
	if err != nil {
		return nil, notFound(err)
	}
	defer dir.Close() // read only
	info, err := dir.Lstat(name)
	if err != nil {
		return nil, notFound(err)
	}
	if err := checkObject(info); err != nil {
		return nil, err
	}
	return &driver.Attributes{ContentType: contentType, ModTime: info.ModTime(), Size: info.Size()}, nil
}

// checkObject refuses what is no regular file: a folder is no object, and
// anything else does not belong into a repository.
func checkObject(info fs.FileInfo) error {
	switch {
	case info.Mode().IsRegular():
		return nil
	case info.IsDir():
		return coded{gcerrors.NotFound, fmt.Errorf("%s is a folder", info.Name())}
	}
	return fmt.Errorf("%q is not a regular file (%v)", info.Name(), info.Mode().Type())
}

// NewRangeReader implements driver.Bucket.
func (b *Bucket) NewRangeReader(ctx context.Context, key string, offset, length int64, opts *driver.ReaderOptions) (driver.Reader, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	file, info, err := b.openObject(key)
	if err != nil {
		return nil, err
	}
	if opts.BeforeRead != nil {
		if err := opts.BeforeRead(noAs); err != nil {
			file.Close() // read only
			return nil, err
		}
	}
	end := int64(math.MaxInt64)
	if length >= 0 && offset <= math.MaxInt64-length {
		end = offset + length
	}
	return &reader{ctx: ctx, file: file, offset: offset, end: end, attrs: driver.ReaderAttributes{
		ContentType: contentType, ModTime: info.ModTime(), Size: info.Size(),
	}}, nil
}

func (b *Bucket) openObject(key string) (File, fs.FileInfo, error) {
	path, name := splitKey(key)
	dir, err := b.fs.OpenDir(path)
	if err != nil {
		return nil, nil, notFound(err)
	}
	defer dir.Close() // read only
	file, err := dir.Open(name)
	if err != nil {
		return nil, nil, notFound(err)
	}
	info, err := file.Stat()
	if err == nil {
		err = checkObject(info)
	}
	if err != nil {
		file.Close() // read only
		return nil, nil, err
	}
	return file, info, nil
}

// A reader reads the bytes from offset to end of one object. It holds a
// descriptor until Close, so a concurrent overwrite or deletion does not show.
type reader struct {
	ctx         context.Context
	file        File
	offset, end int64
	attrs       driver.ReaderAttributes
}

func (r *reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	p = p[:min(int64(len(p)), r.end-r.offset)]
	if r.offset == r.end {
		return 0, io.EOF
	}
	n, err := r.file.ReadAt(p, r.offset)
	r.offset += int64(n)
	if n > 0 && err == io.EOF {
		err = nil // the next call says it
	}
	return n, err
}

func (r *reader) Attributes() *driver.ReaderAttributes { return &r.attrs }
func (r *reader) As(any) bool                          { return false }
func (r *reader) Close() error                         { return r.file.Close() }
