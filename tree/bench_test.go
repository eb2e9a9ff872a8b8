package tree

import (
	"testing"

	"bluesky/object"
)

// typicalInode is a file as a home directory has many of.
func typicalInode(n uint64) Inode {
	at := object.Time{Sec: 1_790_000_000 + int64(n), Nsec: uint32(n*7919) % 1e9}
	return Inode{
		Number: n, Type: TypeFile, Mode: 0o644, UID: 1000, GID: 1000, User: "somebody", Group: "somebody",
		Size: 12345, Links: 1, MTime: at, CTime: at, Source: 1_000_000 + n,
		Extents: []Extent{{testID(n), 0, 12345}},
	}
}

func typicalInodes(first uint64, n int) []Inode {
	inodes := make([]Inode, n)
	for i := range inodes {
		inodes[i] = typicalInode(first + uint64(i))
	}
	return inodes
}

func BenchmarkLeafEncode(b *testing.B) {
	p := DefaultParams()
	inodes := typicalInodes(100_000, 50)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := EncodeLeaf(inodes, p); err != nil {
			b.Fatal(err)
		}
	}
	perInode(b, len(inodes))
}

func BenchmarkLeafDecode(b *testing.B) {
	p := DefaultParams()
	inodes := typicalInodes(100_000, 50)
	refs, payload, err := EncodeLeaf(inodes, p)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := DecodeLeaf(refs, payload, p); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(payload))/float64(len(inodes)), "B/inode")
	perInode(b, len(inodes))
}

// BenchmarkLeafLibrary is what the CBOR library alone takes to decode and to
// check by encoding again.
func BenchmarkLeafLibrary(b *testing.B) {
	inodes := typicalInodes(100_000, 50)
	payload, err := object.EncodeCBOR(toLibrary(inodes))
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		var out []libraryInode
		if err := object.DecodeCBOR(payload, &out); err != nil {
			b.Fatal(err)
		}
	}
	perInode(b, len(inodes))
}

func perInode(b *testing.B, n int) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/inode")
}
