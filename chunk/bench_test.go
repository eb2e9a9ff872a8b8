package chunk

import (
	"bytes"
	"fmt"
	"io"
	"testing"

	"github.com/restic/chunker"
)

func BenchmarkCutter(b *testing.B) {
	for _, p := range []Params{DefaultParams(), {512 << 10, 8 << 20, 20}} {
		for _, content := range []struct {
			name string
			data []byte
		}{{"random", randomBytes(1, 64<<20)}, {"text", textBytes(64 << 20)}, {"zeros", make([]byte, 64<<20)}} {
			b.Run(fmt.Sprintf("min=%dKiB,bits=%d/%s", p.Min>>10, p.Bits, content.name), func(b *testing.B) {
				c, data := newCutter(b, p), content.data
				b.SetBytes(int64(len(data)))
				b.ReportAllocs()
				chunks := 0
				for b.Loop() {
					c.Reset(bytes.NewReader(data))
					for {
						if _, err := c.Next(b.Context()); err == io.EOF {
							break
						} else if err != nil {
							b.Fatal(err)
						}
						chunks++
					}
				}
				b.ReportMetric(float64(len(data))*float64(b.N)/float64(chunks)/1024, "KiB/chunk")
			})
		}
	}
}

// textBytes returns n bytes of lines that are never the same.
func textBytes(n int) []byte {
	text := make([]byte, 0, n+100)
	for i := uint64(0); len(text) < n; i++ {
		text = fmt.Appendf(text, "line %d holds %x and ends\n", i, i*0x9e3779b97f4a7c15)
	}
	return text[:n]
}

// BenchmarkLibrary is the library's own reader, for comparison.
func BenchmarkLibrary(b *testing.B) {
	p := DefaultParams()
	data := randomBytes(1, 64<<20)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	buf := make([]byte, p.Max)
	for b.Loop() {
		c := chunker.New(bytes.NewReader(data), testPol,
			chunker.WithBoundaries(uint(p.Min), uint(p.Max)), chunker.WithAverageBits(int(p.Bits)))
		for {
			if _, err := c.Next(buf); err == io.EOF {
				break
			} else if err != nil {
				b.Fatal(err)
			}
		}
	}
}

func BenchmarkSmallFiles(b *testing.B) {
	for _, size := range []int{100, 10 << 10, 500 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("%dB", size), func(b *testing.B) {
			c := newCutter(b, DefaultParams())
			data := randomBytes(1, size)
			r := bytes.NewReader(nil)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				r.Reset(data)
				c.Reset(r)
				for {
					if _, err := c.Next(b.Context()); err != nil {
						break
					}
				}
			}
		})
	}
}
