package tree

import (
	"context"
	"fmt"
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

// discard is a Sink that computes ids and keeps nothing.
type discard struct{}

func (discard) Put(_ context.Context, kind object.Kind, refs []object.ID, payload []byte) (object.ID, error) {
	return idOf(kind, refs, payload), nil
}

const manyInodes = 100_000

func BenchmarkMapBuild(b *testing.B) {
	ctx, p := context.Background(), DefaultParams()
	inodes := typicalInodes(1, manyInodes)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := buildMap(ctx, discard{}, p, inodes); err != nil {
			b.Fatal(err)
		}
	}
	perInode(b, manyInodes)
}

// BenchmarkMapUpdate changes inodes of a map none of whose nodes is decoded yet:
// one, and every hundredth, which changes about every fourth leaf.
func BenchmarkMapUpdate(b *testing.B) {
	for _, c := range []struct{ inodes, step int }{{manyInodes, manyInodes}, {10 * manyInodes, 10 * manyInodes}, {manyInodes, 100}} {
		b.Run(fmt.Sprintf("%d-of-%d", c.inodes/c.step, c.inodes), func(b *testing.B) {
			ctx, m := context.Background(), newMemory()
			old := mustBuild(b, m, DefaultParams(), typicalInodes(1, c.inodes))
			var changes []Change
			for n := c.step / 2; n < c.inodes; n += c.step {
				changed := typicalInode(uint64(n))
				changed.Mode = 0o600
				changes = append(changes, Change{changed.Number, &changed})
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Update(ctx, OpenMap(m, testHasher{}, DefaultParams(), old.Root()), discard{}, changesOf(changes)); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(changes)), "ns/change")
		})
	}
}

func BenchmarkMapDiffOne(b *testing.B) {
	ctx, p, m := context.Background(), DefaultParams(), newMemory()
	inodes := typicalInodes(1, manyInodes)
	old := mustBuild(b, m, p, inodes)
	inodes[manyInodes/2].Mode = 0o600
	new := mustBuild(b, m, p, inodes)
	for b.Loop() {
		n := 0
		for _, err := range Diff(ctx, old, new) {
			if err != nil {
				b.Fatal(err)
			}
			n++
		}
		if n != 1 {
			b.Fatalf("%d differences", n)
		}
	}
}

func BenchmarkMapAll(b *testing.B) {
	ctx := context.Background()
	m := mustBuild(b, newMemory(), DefaultParams(), typicalInodes(1, manyInodes))
	for b.Loop() {
		for _, err := range m.All(ctx) {
			if err != nil {
				b.Fatal(err)
			}
		}
	}
	perInode(b, manyInodes)
}

func BenchmarkMapGet(b *testing.B) {
	ctx := context.Background()
	m := mustBuild(b, newMemory(), DefaultParams(), typicalInodes(1, manyInodes))
	n := uint64(0)
	for b.Loop() {
		n = n%manyInodes + 1
		if _, ok, err := m.Get(ctx, n); !ok || err != nil {
			b.Fatal(ok, err)
		}
	}
}

func BenchmarkDirRead(b *testing.B) {
	for _, n := range []int{4000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			ctx, p, m := context.Background(), DefaultParams(), newMemory()
			id, err := BuildDir(ctx, m, testHasher{}, p, numberedEntries(n))
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				for _, err := range SortedEntries(ctx, m, testHasher{}, p, id) {
					if err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/entry")
		})
	}
}

func BenchmarkDirBuild(b *testing.B) {
	for _, n := range []int{4000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			ctx, p := context.Background(), DefaultParams()
			entries := numberedEntries(n)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := BuildDir(ctx, discard{}, testHasher{}, p, entries); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/entry")
		})
	}
}
