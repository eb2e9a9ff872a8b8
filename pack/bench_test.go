package pack

import (
	"testing"

	"bluesky/object"
)

// BenchmarkBuild fills a data segment of 16 MiB with 1,600 objects of 10 KiB,
// with one builder again and again.
func BenchmarkBuild(b *testing.B) {
	m := newMaker(1)
	s := m.session(object.ClassData)
	objects := make([]object.Sealed, 1600)
	for i := range objects {
		objects[i] = m.object(object.KindBlock, s, 10<<10)
	}
	build(b, NewBuilder(repository, object.ClassData, 16<<20), objects, s)
}

// BenchmarkBuildSmall fills a data segment of 16 MiB with 9,000 objects of
// 1.7 KiB, as many small files make them.
func BenchmarkBuildSmall(b *testing.B) {
	m := newMaker(4)
	s := m.session(object.ClassData)
	objects := make([]object.Sealed, 9000)
	for i := range objects {
		objects[i] = m.object(object.KindBlock, s, 1700)
	}
	build(b, NewBuilder(repository, object.ClassData, 16<<20), objects, s)
}

// BenchmarkBuildMeta fills a metadata segment with 3,000 objects of 2 KiB and 50
// refs each, half of them to objects of the segment.
func BenchmarkBuildMeta(b *testing.B) {
	objects, s := metaObjects(3000, 50, 2<<10)
	build(b, NewBuilder(repository, object.ClassMeta, 16<<20), objects, s)
}

func build(b *testing.B, builder *Builder, objects []object.Sealed, s object.Session) {
	b.ReportAllocs()
	for b.Loop() {
		builder.Reset()
		for _, o := range objects {
			if !builder.Fits(o) {
				b.Fatal("does not fit")
			}
			mustAdd(b, builder, o, s)
		}
		seg := mustFinish(b, builder, Name{1})
		b.SetBytes(int64(len(seg.Bytes)))
	}
}

func metaObjects(n, refs, size int) ([]object.Sealed, object.Session) {
	m := newMaker(2)
	s := m.session(object.ClassMeta)
	objects := make([]object.Sealed, n)
	for i := range objects {
		objects[i] = m.object(object.KindInodes, s, size, m.ids(refs)...)
		for j := 0; j < min(i, refs/2); j++ {
			objects[i].Refs[j] = objects[i-1-j].ID
		}
	}
	return objects, s
}

// BenchmarkDecodeHeader decodes a header of 3,000 objects with 50 refs each.
func BenchmarkDecodeHeader(b *testing.B) {
	objects, s := metaObjects(3000, 50, 2<<10)
	builder := NewBuilder(repository, object.ClassMeta, 16<<20)
	for _, o := range objects {
		mustAdd(b, builder, o, s)
	}
	seg := mustFinish(b, builder, Name{1})
	head := seg.Bytes[:seg.Header.HeadSize()]
	b.SetBytes(int64(len(head)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := DecodeHeader(head, int64(len(seg.Bytes))); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkReadMany reads objects of a segment of 16 MiB with 1,600 of them in
// reads of up to 4 MiB: all, and every tenth, which are then a read each.
func BenchmarkReadMany(b *testing.B) {
	m := newMaker(5)
	s := m.session(object.ClassData)
	builder := NewBuilder(repository, object.ClassData, 17<<20)
	for range 1600 {
		mustAdd(b, builder, m.object(object.KindBlock, s, 10<<10), s)
	}
	seg := mustFinish(b, builder, Name{1})
	source := stored(seg)
	for _, c := range []struct {
		name string
		step int
		gap  int64
	}{{"all", 1, 256 << 10}, {"tenth", 10, 16 << 10}} {
		b.Run(c.name, func(b *testing.B) {
			var ordinals []int
			for i := 0; i < 1600; i += c.step {
				ordinals = append(ordinals, i)
			}
			b.SetBytes(int64(len(ordinals)) * 10 << 10)
			b.ReportAllocs()
			for b.Loop() {
				got := 0
				err := seg.Header.ReadMany(b.Context(), source, ordinals, Coalesce{Gap: c.gap, Max: 4 << 20}, func(it Item) error {
					got++
					return it.Err
				})
				if err != nil || got != len(ordinals) {
					b.Fatal(got, err)
				}
			}
		})
	}
}

// BenchmarkVerify verifies a segment of 16 MiB with 1,600 objects.
func BenchmarkVerify(b *testing.B) {
	m := newMaker(3)
	s := m.session(object.ClassData)
	builder := NewBuilder(repository, object.ClassData, 17<<20)
	for range 1600 {
		mustAdd(b, builder, m.object(object.KindBlock, s, 10<<10), s)
	}
	seg := mustFinish(b, builder, Name{1})
	b.SetBytes(int64(len(seg.Bytes)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Verify(b.Context(), stored(seg), seg.Ref()); err != nil {
			b.Fatal(err)
		}
	}
}
