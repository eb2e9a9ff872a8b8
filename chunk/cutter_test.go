package chunk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"testing/iotest"

	"github.com/restic/chunker"
	"pgregory.net/rapid"
)

const testPol = chunker.Pol(0x3DA3358B4DC173)

// small cuts often, so that short inputs have many chunks.
var small = Params{Min: 256, Max: 4096, Bits: 9}

func randomBytes(seed byte, n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{seed}).Read(b)
	return b
}

func newCutter(t testing.TB, p Params) *Cutter {
	t.Helper()
	c, err := NewCutter(testPol, p)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// plainCuts are the lengths that the library's own reader cuts.
func plainCuts(t testing.TB, p Params, data []byte) []int {
	t.Helper()
	c := chunker.New(bytes.NewReader(data), testPol,
		chunker.WithBoundaries(uint(p.Min), uint(p.Max)), chunker.WithAverageBits(int(p.Bits)))
	var lengths []int
	buf := make([]byte, p.Max)
	for {
		got, err := c.Next(buf)
		if err == io.EOF {
			return lengths
		}
		if err != nil {
			t.Fatal(err)
		}
		lengths = append(lengths, int(got.Length))
	}
}

// cutAll returns the lengths of r's chunks and all their bytes.
func cutAll(c *Cutter, r io.Reader) (lengths []int, all []byte, err error) {
	c.Reset(r)
	for {
		chunk, err := c.Next(context.Background())
		if err == io.EOF {
			return lengths, all, nil
		}
		if err != nil {
			return lengths, all, err
		}
		lengths = append(lengths, len(chunk))
		all = append(all, chunk...)
		clear(chunk) // it is the caller's, and may not matter for what follows
	}
}

// A ragged reader returns what it likes of what it is asked for.
type raggedReader struct {
	r   io.Reader
	rng *rand.Rand
	max int
}

func (r *raggedReader) Read(p []byte) (int, error) {
	n := r.rng.IntN(min(r.max, len(p)) + 1) // 0 too
	return r.r.Read(p[:n])
}

// content draws data whose cuts are of every kind: none, all at the minimum,
// all at the maximum, repeated.
func content(t *rapid.T) []byte {
	n := rapid.IntRange(0, 60_000).Draw(t, "size")
	seed := rapid.Byte().Draw(t, "seed")
	switch rapid.SampledFrom([]string{"random", "zeros", "ones", "repeated", "mixed"}).Draw(t, "content") {
	case "zeros":
		return make([]byte, n)
	case "ones":
		return bytes.Repeat([]byte{1}, n)
	case "repeated":
		unit := randomBytes(seed, rapid.IntRange(1, 1000).Draw(t, "unit"))
		return bytes.Repeat(unit, n/len(unit)+1)[:n]
	case "mixed":
		b := randomBytes(seed, n)
		clear(b[n/4 : n/2])
		return b
	}
	return randomBytes(seed, n)
}

func params(t *rapid.T) Params {
	p := Params{Min: rapid.IntRange(64, 1500).Draw(t, "min"), Bits: uint(rapid.IntRange(8, 11).Draw(t, "bits"))}
	p.Max = p.Min + rapid.IntRange(1, 6000).Draw(t, "spread")
	return p
}

func TestCutsEqualTheLibrarys(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		p := params(rt)
		c := newCutter(t, p)
		for range rapid.IntRange(1, 4).Draw(rt, "streams") { // one Cutter for all
			data := content(rt)
			var r io.Reader = bytes.NewReader(data)
			switch rapid.SampledFrom([]string{"whole", "ragged", "data with EOF"}).Draw(rt, "reader") {
			case "ragged":
				seed := rapid.Uint64().Draw(rt, "reads")
				r = &raggedReader{r, rand.New(rand.NewPCG(seed, 1)), rapid.IntRange(1, 2000).Draw(rt, "most")}
			case "data with EOF":
				r = iotest.DataErrReader(r)
			}
			got, all, err := cutAll(c, r)
			if err != nil {
				rt.Fatal(err)
			}
			if want := plainCuts(t, p, data); fmt.Sprint(got) != fmt.Sprint(want) {
				rt.Fatalf("got cuts %v, want %v", got, want)
			}
			if !bytes.Equal(all, data) {
				rt.Fatal("the chunks are not the stream")
			}
			checkBounds(rt, p, got)
		}
	})
}

func checkBounds(t *rapid.T, p Params, lengths []int) {
	for i, n := range lengths {
		if n == 0 || n > p.Max || n < p.Min && i < len(lengths)-1 {
			t.Fatalf("chunk %d of %d has %d bytes, want %d to %d", i, len(lengths), n, p.Min, p.Max)
		}
	}
}

// With the parameters of a repository, past several lengths of the buffer.
func TestDefaultCutsEqualTheLibrarys(t *testing.T) {
	p := DefaultParams()
	c := newCutter(t, p)
	for name, data := range map[string][]byte{
		"random": randomBytes(1, 40<<20),
		"zeros":  make([]byte, 20<<20),
		"ones":   bytes.Repeat([]byte{1}, 20<<20), // never cuts before the maximum
	} {
		got, all, err := cutAll(c, bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		if want := plainCuts(t, p, data); fmt.Sprint(got) != fmt.Sprint(want) || len(got) < 3 {
			t.Errorf("%s: got %v, want %v", name, got, want)
		}
		if !bytes.Equal(all, data) {
			t.Errorf("%s: the chunks are not the stream", name)
		}
	}
	if most := p.Max + readSize; cap(c.buf) > most || cap(c.buf) < p.Max {
		t.Errorf("a buffer of %d bytes, want at most %d", cap(c.buf), most)
	}
}

// The buffer grows with the longest chunk, and not for what is shorter.
func TestBufferGrowsWithChunks(t *testing.T) {
	c := newCutter(t, DefaultParams())
	for range 5 {
		data := randomBytes(1, 700<<10)
		if _, all, err := cutAll(c, bytes.NewReader(data)); err != nil || !bytes.Equal(all, data) {
			t.Fatalf("%v, or the chunks are not the stream", err)
		}
	}
	if cap(c.buf) != firstBuffer {
		t.Errorf("after chunks of 700 KiB a buffer of %d bytes, want %d", cap(c.buf), firstBuffer)
	}
}

func TestSizesAroundTheBounds(t *testing.T) {
	c := newCutter(t, small)
	for _, n := range []int{0, 1, 63, 64, 255, 256, 257, 319, 320, 4095, 4096, 4097} {
		for name, data := range map[string][]byte{"random": randomBytes(2, n), "zeros": make([]byte, n)} {
			got, all, err := cutAll(c, iotest.OneByteReader(bytes.NewReader(data)))
			if want := plainCuts(t, small, data); err != nil || fmt.Sprint(got) != fmt.Sprint(want) || !bytes.Equal(all, data) {
				t.Errorf("%s, %d bytes: got %v, %v, want %v", name, n, got, err, want)
			}
			if n <= small.Min && n > 0 && (len(got) != 1 || c.begun) {
				t.Errorf("%s, %d bytes: got %v and the scanner begun: %v, want one chunk without it", name, n, got, c.begun)
			}
		}
	}
}

func TestNextWithoutStream(t *testing.T) {
	if chunk, err := newCutter(t, small).Next(t.Context()); chunk != nil || err != io.EOF {
		t.Errorf("got %d bytes, %v, want EOF", len(chunk), err)
	}
}

func TestEOFStays(t *testing.T) {
	c := newCutter(t, small)
	for _, n := range []int{0, 10, 10_000} {
		if _, _, err := cutAll(c, bytes.NewReader(make([]byte, n))); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if chunk, err := c.Next(t.Context()); chunk != nil || err != io.EOF {
				t.Errorf("%d bytes: got %d bytes, %v behind the end", n, len(chunk), err)
			}
		}
	}
}

// What ends before the error is given out, what the error interrupts is not,
// and the next stream starts afresh.
func TestReadError(t *testing.T) {
	broken := errors.New("input/output error")
	c := newCutter(t, small)
	data := randomBytes(3, 20_000)
	whole := plainCuts(t, small, data)
	for _, n := range []int{0, 100, 5000, 19_999, 20_000} {
		r := io.MultiReader(bytes.NewReader(data[:n]), iotest.ErrReader(broken))
		for range 2 { // the error stays
			got, all, err := cutAll(c, r)
			if err != broken {
				t.Fatalf("after %d bytes: got %v, want the reader's error", n, err)
			}
			if fmt.Sprint(got) != fmt.Sprint(whole[:len(got)]) || !bytes.Equal(all, data[:len(all)]) || len(all) > n {
				t.Errorf("after %d bytes: got %v, want the first of %v", n, got, whole)
			}
			if _, err := c.Next(t.Context()); err != broken {
				t.Errorf("after the error: got %v", err)
			}
			r = io.MultiReader(bytes.NewReader(data[:n]), iotest.ErrReader(broken))
		}
		if got, _, err := cutAll(c, bytes.NewReader(data)); err != nil || fmt.Sprint(got) != fmt.Sprint(whole) {
			t.Errorf("the next stream: got %v, %v, want %v", got, err, whole)
		}
	}
}

func TestErrorBesideData(t *testing.T) {
	broken := errors.New("input/output error")
	c := newCutter(t, small)
	data := randomBytes(3, 20_000)
	got, _, err := cutAll(c, readerFunc(func(p []byte) (int, error) { return copy(p, data), broken }))
	if want := plainCuts(t, small, data); err != broken || fmt.Sprint(got) != fmt.Sprint(want[:len(want)-1]) {
		t.Errorf("got %v, %v, want all of %v but the last", got, err, want)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestReaderWithoutProgress(t *testing.T) {
	c := newCutter(t, small)
	if _, _, err := cutAll(c, readerFunc(func([]byte) (int, error) { return 0, nil })); err != io.ErrNoProgress {
		t.Errorf("got %v, want io.ErrNoProgress", err)
	}
}

// A cancelled context stops before a read, and loses nothing.
func TestCancel(t *testing.T) {
	c := newCutter(t, small)
	data := randomBytes(4, 2*readSize)
	c.Reset(bytes.NewReader(data))
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if chunk, err := c.Next(cancelled); chunk != nil || !errors.Is(err, context.Canceled) {
		t.Fatalf("got %d bytes, %v, want context.Canceled", len(chunk), err)
	}
	var all []byte
	for i := 0; ; i++ {
		ctx := t.Context()
		if i%2 == 0 {
			ctx = cancelled
		}
		chunk, err := c.Next(ctx)
		if err == io.EOF {
			break
		}
		all = append(all, chunk...)
	}
	if !bytes.Equal(all, data) {
		t.Error("cancelling lost some of the stream")
	}
}

func TestParamsCheck(t *testing.T) {
	for _, tt := range []struct {
		name string
		p    Params
		ok   bool
	}{
		{"default", DefaultParams(), true},
		{"smallest", Params{64, 65, 8}, true},
		{"largest", Params{8<<20 - 1, 8 << 20, 24}, true},
		{"minimum below the window", Params{63, 100, 8}, false},
		{"maximum at the minimum", Params{100, 100, 8}, false},
		{"maximum above 8 MiB", Params{64, 8<<20 + 1, 8}, false},
		{"7 bits", Params{64, 100, 7}, false},
		{"25 bits", Params{64, 100, 25}, false},
		{"negative", Params{-1, 100, 8}, false},
	} {
		if err := tt.p.Check(); (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.name, err)
		}
		if _, err := NewCutter(testPol, tt.p); (err == nil) != tt.ok {
			t.Errorf("%s: NewCutter: %v", tt.name, err)
		}
	}
	for _, pol := range []chunker.Pol{0, 1, 0x3DA3358B4DC173 << 1} {
		if _, err := NewCutter(pol, small); err == nil {
			t.Errorf("polynomial %v was accepted", pol)
		}
	}
}

// The cuts of the default parameters, frozen: what moves one deduplicates
// nothing in repositories that exist.
func TestFrozenCuts(t *testing.T) {
	got, _, err := cutAll(newCutter(t, DefaultParams()), bytes.NewReader(randomBytes(5, 6<<20)))
	want := []int{904415, 833625, 1033976, 967991, 1156675, 804424, 590350}
	if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
}

func TestSmallStreamsDoNotAllocate(t *testing.T) {
	c := newCutter(t, DefaultParams())
	data := make([]byte, 100)
	r := bytes.NewReader(nil)
	ctx := t.Context()
	got := testing.AllocsPerRun(100, func() {
		r.Reset(data)
		c.Reset(r)
		for {
			if _, err := c.Next(ctx); err != nil {
				return
			}
		}
	})
	if got != 0 {
		t.Errorf("%v allocations for each", got)
	}
}
