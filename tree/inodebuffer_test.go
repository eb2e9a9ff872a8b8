package tree

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// What an InodeBuffer gives back is what it was given, wherever it stands.
func TestInodeBuffer(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := testParams()
		buffer := InodeBuffer{Params: p}
		var inodes []Inode
		var places []BufferedInode
		for number := range rapid.Uint64Range(1, 50).Draw(t, "inodes") {
			in := genInode(1+number, p).Draw(t, fmt.Sprint("inode ", number))
			at, err := buffer.Add(&in)
			if err != nil {
				t.Fatal(err)
			}
			inodes, places = append(inodes, in), append(places, at)
		}
		for i := range inodes {
			got, err := buffer.Get(places[i])
			if err != nil {
				t.Fatal(err)
			}
			if !got.Equal(&inodes[i]) {
				t.Fatalf("got %+v, want %+v", got, inodes[i])
			}
		}
	})
}

// An inode larger than a slab has one of its own, and others fill the one
// before and the next.
func TestInodeBufferLargeInode(t *testing.T) {
	buffer := InodeBuffer{Params: DefaultParams()}
	var places []BufferedInode
	sizes := []int{4000, 3 * slabSize, 1, 4000}
	for i, size := range sizes {
		in := largeInode(uint64(1+i), size)
		at, err := buffer.Add(&in)
		if err != nil {
			t.Fatal(err)
		}
		places = append(places, at)
	}
	for i, size := range sizes {
		want := largeInode(uint64(1+i), size)
		if got, err := buffer.Get(places[i]); err != nil || !got.Equal(&want) {
			t.Errorf("inode %d of %d bytes: %v, or not equal", 1+i, size, err)
		}
	}
	if len(buffer.slabs) != 3 {
		t.Errorf("%d slabs, want 3", len(buffer.slabs))
	}
}

// largeInode returns an inode whose attributes take about size bytes.
func largeInode(number uint64, size int) Inode {
	in := Inode{Number: number, Type: TypeFIFO}
	for i := 0; size > 0; i++ {
		n := min(size, 200)
		in.Xattrs = append(in.Xattrs, Xattr{Name: fmt.Sprintf("user.%06d", i), Value: []byte(strings.Repeat("v", n))})
		size -= n
	}
	return in
}

func TestInodeBufferRefuses(t *testing.T) {
	buffer := InodeBuffer{Params: DefaultParams()}
	if _, err := buffer.Add(&Inode{Number: 1, Type: TypeFile, Target: "a file has none"}); err == nil {
		t.Error("a file with a target was taken")
	}
}

// Most of a backup of many small files is their inodes.
func BenchmarkInodeBufferAdd(b *testing.B) {
	in := typicalInode(1)
	buffer := InodeBuffer{Params: DefaultParams()}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := buffer.Add(&in); err != nil {
			b.Fatal(err)
		}
	}
}
