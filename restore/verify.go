package restore

import (
	"bytes"
	"errors"
	"fmt"

	"bluesky/object"
	"bluesky/tree"

	"golang.org/x/sys/unix"
)

// verify reads the open file of f again, from the disk if the system lets it,
// and compares size, holes and every block. It needs f.mu.
func (s *restorer) verify(f *file, in *tree.Inode) error {
	if err := unix.Fsync(f.fd); err != nil {
		return fmt.Errorf("sync: %w", err)
	}
	_ = unix.Fadvise(f.fd, 0, 0, unix.FADV_DONTNEED) // else it is read from memory
	var st unix.Stat_t
	if err := unix.Fstat(f.fd, &st); err != nil {
		return err
	}
	if uint64(st.Size) != in.Size {
		return fmt.Errorf("it has %d bytes, not %d", st.Size, in.Size)
	}
	buffer := buffers.Get().(*[]byte)
	defer buffers.Put(buffer)
	at := uint64(0)
	for e, err := range s.tree.Content(s.ctx, in) {
		if err != nil {
			return err
		}
		same, err := s.holds(f.fd, f.layout, at, e, buffer)
		if err == nil && !same {
			same, err = s.holdsPart(*buffer, e)
		}
		if err != nil {
			return err
		}
		if !same {
			return fmt.Errorf("what was written at offset %d of the content is not block %s", at, e.Block.Short())
		}
		at += e.Length
	}
	if len(in.Inline) > 0 {
		if err := s.verifyInline(f, in.Inline); err != nil {
			return err
		}
	}
	return zeros(f.fd, in.Holes, buffer)
}

// holdsPart reports whether data is what e takes of its block, which it asks
// the repository for: an id says nothing of a part.
func (s *restorer) holdsPart(data []byte, e tree.Extent) (bool, error) {
	_, payload, err := s.source.Object(s.ctx, e.Block, object.KindBlock)
	if err != nil {
		return false, err
	}
	end := e.Offset + e.Length
	return end <= uint64(len(payload)) && bytes.Equal(data, payload[e.Offset:end]), nil
}

func (s *restorer) verifyInline(f *file, want []byte) error {
	rest := want
	for p := range f.layout.parts(0, uint64(len(want))) {
		got := make([]byte, p.length)
		if _, err := readFull(f.fd, got, int64(p.offset)); err != nil {
			return err
		}
		if !bytes.Equal(got, rest[:p.length]) {
			return fmt.Errorf("what was written at offset %d differs", p.offset)
		}
		rest = rest[p.length:]
	}
	return nil
}

// zeros checks that an open file reads as zeros in its holes.
func zeros(fd int, holes []tree.Hole, buffer *[]byte) error {
	if holesAreEmpty(fd, holes) {
		return nil
	}
	const size = 1 << 20
	if cap(*buffer) < size {
		*buffer = make([]byte, size)
	}
	for _, h := range holes {
		for done := uint64(0); done < h.Length; {
			b := (*buffer)[:min(h.Length-done, size)]
			if whole, err := readFull(fd, b, int64(h.Offset+done)); err != nil || !whole {
				return errors.Join(errors.New("it ends too early"), err)
			}
			if len(bytes.Trim(b, "\x00")) != 0 {
				return fmt.Errorf("the hole at offset %d is not empty", h.Offset)
			}
			done += uint64(len(b))
		}
	}
	return nil
}
