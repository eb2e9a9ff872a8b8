package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// sameTree returns an error that names the first difference between what is
// below two folders: names, types, permissions, contents, targets of links, and
// the times of regular files.
func sameTree(ctx context.Context, want, got string) error {
	return sameBelow(ctx, want, got, [2][]byte{make([]byte, 128<<10), make([]byte, 128<<10)})
}

func sameBelow(ctx context.Context, want, got string, buffers [2][]byte) error {
	wanted, err := os.ReadDir(want)
	if err != nil {
		return err
	}
	gotten, err := os.ReadDir(got)
	if err != nil {
		return err
	}
	name := func(e fs.DirEntry) string { return e.Name() }
	if a, b := mapped(wanted, name), mapped(gotten, name); !slices.Equal(a, b) {
		return fmt.Errorf("%s: it has %d entries, and should have %d; or they have other names", got, len(b), len(a))
	}
	for _, e := range wanted {
		if err := ctx.Err(); err != nil {
			return err
		}
		a, b := filepath.Join(want, e.Name()), filepath.Join(got, e.Name())
		if err := sameEntry(a, b, buffers); err != nil {
			return fmt.Errorf("%s: %w", b, err)
		}
		if e.IsDir() {
			if err := sameBelow(ctx, a, b, buffers); err != nil {
				return err
			}
		}
	}
	return nil
}

func mapped[A, B any](list []A, fn func(A) B) []B {
	out := make([]B, len(list))
	for i, v := range list {
		out[i] = fn(v)
	}
	return out
}

// sameEntry compares all but what is in folders.
func sameEntry(want, got string, buffers [2][]byte) error {
	a, err := os.Lstat(want)
	if err != nil {
		return err
	}
	b, err := os.Lstat(got)
	if err != nil {
		return err
	}
	if a.Mode() != b.Mode() {
		return fmt.Errorf("mode %v, want %v", b.Mode(), a.Mode())
	}
	switch {
	case a.Mode().IsRegular():
		if a.Size() != b.Size() || !a.ModTime().Equal(b.ModTime()) {
			return fmt.Errorf("%d bytes of %v, want %d of %v", b.Size(), b.ModTime(), a.Size(), a.ModTime())
		}
		return sameContent(want, got, buffers)
	case a.Mode()&fs.ModeSymlink != 0:
		from, errA := os.Readlink(want)
		to, errB := os.Readlink(got)
		if from != to {
			return fmt.Errorf("a link to %q, want %q", to, from)
		}
		return errors.Join(errA, errB)
	}
	return nil
}

func sameContent(want, got string, buffers [2][]byte) error {
	var files [2]*os.File
	for i, path := range []string{want, got} {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close() // read only
		files[i] = f
	}
	for {
		n, errA := io.ReadFull(files[0], buffers[0])
		m, errB := io.ReadFull(files[1], buffers[1])
		if !bytes.Equal(buffers[0][:n], buffers[1][:m]) {
			return errors.New("other content")
		}
		for _, err := range []error{errA, errB} {
			if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
				return err
			}
		}
		if errA != nil {
			return nil // the end, of both since they are equal so far and equally long
		}
	}
}

// readAll reads all files below root, so that the first program finds as much
// of them in memory as the others.
func readAll(ctx context.Context, root string) error {
	paths, err := regularFiles(ctx, root)
	if err != nil {
		return err
	}
	buffer := make([]byte, 128<<10)
	for _, path := range paths {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		_, err = io.CopyBuffer(struct{ io.Writer }{io.Discard}, f, buffer)
		f.Close() // read only
		if err = errors.Join(err, ctx.Err()); err != nil {
			return err
		}
	}
	return nil
}
