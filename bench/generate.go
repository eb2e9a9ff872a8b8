package main

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
)

// A generator makes content that is the same for the same name.
type generator struct {
	noise  *rand.ChaCha8 // incompressible
	random *rand.Rand    // decisions
	prose  *prose
}

func newGenerator(name string) *generator {
	random := rand.New(rand.NewChaCha8(sha256.Sum256([]byte("decisions " + name))))
	return &generator{
		noise:  rand.NewChaCha8(sha256.Sum256([]byte("noise " + name))),
		random: random,
		prose:  newProse(random),
	}
}

// fill fills buffer with noise or prose.
func (g *generator) fill(buffer []byte, noise bool) {
	if noise {
		_, _ = g.noise.Read(buffer) // it has no errors
	} else {
		g.prose.fill(buffer)
	}
}

// smallFiles makes n small files, 100 in a folder.
func (g *generator) smallFiles(ctx context.Context, root string, n int) error {
	for i := range n {
		if err := ctx.Err(); err != nil {
			return err
		}
		folder := filepath.Join(root, fmt.Sprintf("%02d", i/10_000), fmt.Sprintf("%02d", i/100%100))
		if i%100 == 0 {
			if err := os.MkdirAll(folder, 0o755); err != nil {
				return err
			}
		}
		if err := g.smallFile(filepath.Join(folder, fmt.Sprintf("file-%06d", i))); err != nil {
			return err
		}
	}
	return nil
}

// smallFile makes a file of 0.5 to 8 KiB.
func (g *generator) smallFile(path string) error {
	data := make([]byte, 512+g.random.IntN(8<<10-512+1))
	g.fill(data, g.random.IntN(4) == 0)
	return os.WriteFile(path, data, 0o644)
}

// An imageFile is a tree of one large file, of extents of 64 KiB to maxExtent.
// What is neither text nor random is holes.
type imageFile struct {
	size         int64
	text, random float64 // parts of it
	insert       int     // bytes that the changed version has more
}

const (
	imageName = "image"
	maxExtent = 4 << 20
)

func (f *imageFile) build(ctx context.Context, g *generator, root string) error {
	if err := os.MkdirAll(root, 0o755); err != nil {
		return err
	}
	return f.write(ctx, g, filepath.Join(root, imageName), 0)
}

// alter makes the changed version: the same file once more, from a generator
// that begins anew, and then the changes.
func (f *imageFile) alter(ctx context.Context, g *generator, v *versions) error {
	to, err := v.stash()
	if err != nil {
		return err
	}
	v.swaps = append(v.swaps, swap{filepath.Join(v.root, imageName), to})
	if err := f.write(ctx, newGenerator(filepath.Base(filepath.Dir(v.root))), to, f.insert); err != nil {
		return err
	}
	return f.overwrite(g, to)
}

// write writes the file, with insert bytes of noise in the middle.
func (f *imageFile) write(ctx context.Context, g *generator, path string, insert int) (err error) {
	out, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := out.Close(); err == nil {
			err = closeErr
		}
	}()
	buffer := make([]byte, maxExtent)
	shift := int64(0)
	for at := int64(0); at < f.size; {
		if err := ctx.Err(); err != nil {
			return err
		}
		if shift == 0 && insert > 0 && at >= f.size/2 {
			more := make([]byte, insert)
			_, _ = rand.NewChaCha8([32]byte{1}).Read(more) // no errors; and g goes on as without it
			if _, err := out.WriteAt(more, at); err != nil {
				return err
			}
			shift = int64(insert)
		}
		extent := buffer[:min(int64(1+g.random.IntN(maxExtent>>16))<<16, f.size-at)]
		kind := g.random.Float64()
		if kind < f.text+f.random {
			g.fill(extent, kind >= f.text)
			if _, err := out.WriteAt(extent, at+shift); err != nil {
				return err
			}
		}
		at += int64(len(extent))
	}
	return out.Truncate(f.size + shift)
}

// overwrite overwrites a hundredth of the file.
func (f *imageFile) overwrite(g *generator, path string) (err error) {
	out, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := out.Close(); err == nil {
			err = closeErr
		}
	}()
	buffer := make([]byte, 64<<10)
	for left := f.size / 100; left > 0; {
		region := buffer[:4<<10*(1+g.random.IntN(16))]
		g.fill(region, g.random.Float64()*(f.text+f.random) >= f.text)
		at := g.random.Int64N(max(1, (f.size-int64(len(region)))>>12)) << 12
		if _, err := out.WriteAt(region, at); err != nil {
			return err
		}
		left -= int64(len(region))
	}
	return nil
}

// copyTree copies folders, regular files and links. Of a scale below 1 it takes
// that part of the files, chosen by their paths.
func copyTree(ctx context.Context, from, to string, scale float64) error {
	return filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		if err != nil || ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
		below, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, below)
		if e.IsDir() {
			return os.MkdirAll(target, 0o755)
		}
		hash := sha256.Sum256([]byte(below))
		if float64(binary.LittleEndian.Uint32(hash[:])) > scale*(1<<32) {
			return nil
		}
		switch {
		case e.Type()&fs.ModeSymlink != 0:
			link, err := os.Readlink(path)
			if err != nil {
				return err
			}
			return os.Symlink(link, target)
		case e.Type().IsRegular():
			return copyFile(path, target)
		}
		return nil
	})
}

// copyFile copies a file with its mode and time.
func copyFile(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close() // read only
	info, err := in.Stat()
	if err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, info.Mode().Perm())
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if closeErr := out.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	return os.Chtimes(to, info.ModTime(), info.ModTime())
}
