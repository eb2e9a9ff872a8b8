package backup

import (
	"errors"
	"fmt"
	"io"

	"bluesky/tree"

	"golang.org/x/sys/unix"
)

// A contentReader reads what lies outside the holes of a file, in order.
type contentReader struct {
	fd       int
	size     int64
	holes    []tree.Hole
	offset   int64 // of the next byte to read
	next     int   // hole that is not passed yet
	sizeless bool  // the size is given as 0, so the file is read to its end
	progress Progress
}

// sizelessMax is how long a file may be whose size is given as 0. Most of such
// files are empty; but those of procfs are not, nor those of a file system that
// learns a size only by reading. Some of procfs have no end worth reaching.
const sizelessMax = 16 << 20

var errSizeless = fmt.Errorf("its size is given as 0, and it has more than %d bytes", sizelessMax)

func newContentReader(fd int, in *tree.Inode, progress Progress) *contentReader {
	r := &contentReader{fd: fd, size: int64(in.Size), holes: in.Holes, progress: progress}
	if r.size == 0 {
		r.size, r.sizeless = sizelessMax+4096, true // procfs has files of records
	}
	return r
}

// Read is an [io.Reader]. Its errors other than io.EOF are *sourceReadError.
func (r *contentReader) Read(p []byte) (int, error) {
	end := r.stretch()
	if r.offset >= end {
		return 0, io.EOF
	}
	p = p[:min(int64(len(p)), end-r.offset)]
	var n int
	err := ignoringEINTR(func() (err error) {
		n, err = unix.Pread(r.fd, p, r.offset)
		return err
	})
	switch {
	case err != nil:
		return 0, &sourceReadError{err}
	case n == 0: // the file has shrunk
		return 0, io.EOF
	case r.sizeless && r.offset == 0 && r.hasSize(): // it was empty, and is written to now
		r.size = 0
		return 0, io.EOF
	}
	r.offset += int64(n)
	if r.sizeless && r.offset > sizelessMax {
		return 0, &sourceReadError{errSizeless}
	}
	r.progress.Bytes(n)
	return n, nil
}

// stretch passes over the holes at the offset, and returns where the data behind
// them ends.
func (r *contentReader) stretch() (end int64) {
	for r.next < len(r.holes) && r.offset == int64(r.holes[r.next].Offset) {
		r.offset += int64(r.holes[r.next].Length)
		r.next++
	}
	if r.next < len(r.holes) {
		return int64(r.holes[r.next].Offset)
	}
	return r.size
}

// skip passes over n bytes outside the holes, of which the file has so many.
func (r *contentReader) skip(n uint64) {
	for n > 0 {
		data := min(n, uint64(r.stretch()-r.offset))
		r.offset += int64(data)
		n -= data
	}
	r.stretch() // the file may end with a hole
}

// hasSize reports whether the file has a size by now.
func (r *contentReader) hasSize() bool {
	var st unix.Stat_t
	return unix.Fstat(r.fd, &st) == nil && st.Size > 0
}

// read returns the size and the holes of the file as it was read: less than
// what was asked for if it has shrunk meanwhile.
func (r *contentReader) read() (size uint64, holes []tree.Hole) {
	return uint64(max(r.offset, r.endOfHoles())), r.holes[:r.next]
}

// endOfHoles returns where the last hole that was passed ends.
func (r *contentReader) endOfHoles() int64 {
	if r.next == 0 {
		return 0
	}
	last := r.holes[r.next-1]
	return int64(last.Offset + last.Length)
}

// maxHoles is about how many holes of a file are recorded. In a file with more
// the small ones are stored as zeros.
const maxHoles = 1024

// findHoles returns the holes of an open file that are worth recording.
func findHoles(fd int, st *unix.Stat_t) ([]tree.Hole, error) {
	smallest := uint64(4 << 10)
	if st.Blocks*512 >= st.Size || uint64(st.Size) < smallest {
		return nil, nil // it has none: all of it takes space
	}
	var holes []tree.Hole
	for offset := int64(0); offset < st.Size; {
		hole, err := seek(fd, offset, unix.SEEK_HOLE, st.Size)
		if err != nil {
			return nil, err
		}
		data, err := seek(fd, hole, unix.SEEK_DATA, st.Size)
		if err != nil {
			return nil, err
		}
		if n := uint64(data - hole); n >= smallest {
			holes = appendHole(holes, tree.Hole{Offset: uint64(hole), Length: n})
		}
		for len(holes) > maxHoles {
			smallest *= 2
			holes = atLeast(holes, smallest)
		}
		offset = data
	}
	return holes, nil
}

// appendHole appends a hole behind the others. One may begin where the last
// ends, if it was made after the end of that was found.
func appendHole(holes []tree.Hole, h tree.Hole) []tree.Hole {
	if n := len(holes); n > 0 && holes[n-1].Offset+holes[n-1].Length == h.Offset {
		holes[n-1].Length += h.Length
		return holes
	}
	return append(holes, h)
}

func atLeast(holes []tree.Hole, length uint64) []tree.Hole {
	kept := holes[:0]
	for _, h := range holes {
		if h.Length >= length {
			kept = append(kept, h)
		}
	}
	return kept
}

// seek is lseek(2) for SEEK_DATA and SEEK_HOLE. There is a hole at the end of
// every file, and a file system that knows no holes has data up to there.
func seek(fd int, offset int64, whence int, size int64) (int64, error) {
	if offset >= size {
		return size, nil
	}
	at, err := unix.Seek(fd, offset, whence)
	switch {
	case errors.Is(err, unix.ENXIO):
		return size, nil
	case errors.Is(err, unix.EINVAL) && whence == unix.SEEK_HOLE:
		return size, nil
	case err != nil:
		return 0, err
	}
	return min(at, size), nil
}
