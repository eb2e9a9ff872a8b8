package seal

import (
	"fmt"
	"testing"

	"bluesky/object"
)

var benchSizes = []int{4 << 10, 64 << 10, 1 << 20}

func benchPayloads(b *testing.B, run func(b *testing.B, payload []byte)) {
	for _, content := range []struct {
		name string
		make func(byte, int) []byte
	}{{"text", textBytes}, {"random", randomBytes}} {
		for _, size := range benchSizes {
			b.Run(fmt.Sprintf("%s/%dKiB", content.name, size>>10), func(b *testing.B) {
				payload := content.make(1, size)
				b.SetBytes(int64(size))
				b.ReportAllocs()
				b.ResetTimer()
				run(b, payload)
			})
		}
	}
}

func BenchmarkID(b *testing.B) {
	k := testKeys(b)
	benchPayloads(b, func(b *testing.B, payload []byte) {
		for b.Loop() {
			k.ID(object.KindBlock, nil, payload)
		}
	})
}

func BenchmarkSeal(b *testing.B) {
	k := testKeys(b)
	for _, c := range []struct {
		name    string
		options SealerOptions
	}{
		{"off", SealerOptions{Compression: CompressionOff}},
		{"fastest", SealerOptions{Compression: CompressionFastest}},
		{"default", SealerOptions{}},
		{"default+verify", SealerOptions{Verify: true}},
		{"better", SealerOptions{Compression: CompressionBetter}},
	} {
		b.Run(c.name, func(b *testing.B) {
			benchPayloads(b, func(b *testing.B, payload []byte) {
				s := k.NewSealer(testSession, c.options)
				id := s.ID(object.KindBlock, nil, payload)
				var sealed int
				for b.Loop() {
					o, err := s.Seal(id, object.KindBlock, nil, payload)
					if err != nil {
						b.Fatal(err)
					}
					sealed = len(o.Bytes)
				}
				b.ReportMetric(float64(sealed)/float64(len(payload)), "sealed/byte")
			})
		})
	}
}

func BenchmarkOpen(b *testing.B) {
	k := testKeys(b)
	session := k.NewSession(testSession, object.ClassData)
	benchPayloads(b, func(b *testing.B, payload []byte) {
		o := mustSeal(b, k, object.KindBlock, nil, payload, SealerOptions{})
		var dst []byte
		for b.Loop() {
			var err error
			if dst, err = k.Open(dst[:0], session, &o); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkSmall(b *testing.B) {
	k := testKeys(b)
	secret := k.derivedSecret(object.ClassMeta, 0, testSession)
	name := []byte("a name of usual length.txt")
	for _, c := range []struct {
		name string
		run  func()
	}{
		{"MapHash", func() { k.MapHash(0, 12345) }},
		{"NameHash", func() { k.NameHash(name) }},
		{"ID of 64 bytes", func() { k.ID(object.KindBlock, nil, testRoot[:]) }},
		{"object cipher", func() { objectCipher(&secret, object.KindBlock, object.ID{}) }},
		{"object key", func() { kdf(secret[:], "object key", testRoot[:], 32) }},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				c.run()
			}
		})
	}
}

func BenchmarkNewKeys(b *testing.B) {
	for b.Loop() {
		testKeys(b)
	}
}

func BenchmarkUnwrapSession(b *testing.B) {
	k := testKeys(b)
	row := mustWrap(b, k, object.ClassMeta, 0)
	for b.Loop() {
		if _, err := k.unwrap(&row); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpenSlotDefault(b *testing.B) {
	id, data, err := NewSlot(newRand(1), testPassword, testBundle(), testInfo, DefaultSlotParams())
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := OpenSlot(id, data, testRepo, testPassword, testLimit); err != nil {
			b.Fatal(err)
		}
	}
}
