package chunk

import (
	"context"
	"io"

	"github.com/restic/chunker"
)

// readSize is how much is read and scanned at a time: little enough to be in
// the cache still when it is scanned.
const readSize = 512 << 10

// firstBuffer is the length in bytes of the buffer that a Cutter starts with.
// It holds most chunks whole and several small files' worth of reads; what is
// left of a chunk at its end is moved to its front, a fourth of all bytes with
// the default parameters.
const firstBuffer = 2 << 20

// maxEmptyReads bounds a Reader that returns neither bytes nor an error.
const maxEmptyReads = 100

// A Cutter cuts one stream after another. It keeps one buffer, of 2 MiB as long
// as no chunk is longer, and of at most Max and readSize bytes. A Cutter is not safe for concurrent use: each goroutine has
// its own.
//
// In the buffer:
//
//	| given out | current chunk            | free |
//	            start      scanned      end
type Cutter struct {
	params  Params
	scanner *scanner

	r       io.Reader
	buf     []byte
	start   int   // where the current chunk begins
	scanned int   // how far the scanner has seen it
	end     int   // how far it was read
	begun   bool  // more than Min bytes were seen: the scanner is needed
	err     error // of r, io.EOF included; holds once all before it was given out
}

// NewCutter returns a Cutter that cuts with pol, the secret polynomial of the
// repository. It has no stream yet: Next returns io.EOF until Reset.
func NewCutter(pol chunker.Pol, p Params) (*Cutter, error) {
	s, err := newScanner(pol, p)
	if err != nil {
		return nil, err
	}
	return &Cutter{params: p, scanner: s, err: io.EOF}, nil
}

// Reset makes r the stream, from where it stands. What was left of the stream
// before is forgotten.
func (c *Cutter) Reset(r io.Reader) {
	if c.begun {
		c.scanner.reset()
	}
	*c = Cutter{params: c.params, scanner: c.scanner, buf: c.buf, r: r}
}

// Next returns the next chunk of the stream, never an empty one, and io.EOF
// once all were returned. The chunk lies in the Cutter's buffer: it holds until
// the next call of Next or Reset, and may be changed until then.
//
// An error of the stream comes as it is, once the chunks that end before it are
// given out; the chunk that it interrupts is lost, and the error stays until
// Reset. ctx is looked at before each read.
func (c *Cutter) Next(ctx context.Context) ([]byte, error) {
	for {
		if chunk := c.cut(); chunk != nil {
			return chunk, nil
		}
		if c.err == io.EOF && c.end > c.start {
			return c.give(c.end), nil
		}
		if c.err != nil {
			return nil, c.err
		}
		if err := c.fill(ctx); err != nil {
			return nil, err
		}
	}
}

// cut returns the current chunk if what was read holds its end.
func (c *Cutter) cut() []byte {
	// A stream that ends within Min is one chunk, and most files do. They
	// never meet the scanner.
	if !c.begun && c.end-c.start <= c.params.Min {
		return nil
	}
	c.begun = true
	if n := c.scanner.next(c.buf[c.scanned:c.end]); n >= 0 {
		return c.give(c.scanned + n)
	}
	c.scanned = c.end
	return nil
}

// give returns the current chunk, which ends at end, and begins the next.
func (c *Cutter) give(end int) []byte {
	chunk := c.buf[c.start:end:end]
	c.start, c.scanned = end, end
	return chunk
}

// fill reads once, behind what is there. The chunk given out last is dead.
func (c *Cutter) fill(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	c.makeRoom()
	for range maxEmptyReads {
		n, err := c.r.Read(c.buf[c.end:min(c.end+readSize, len(c.buf))])
		c.end += n
		c.err = err
		if n > 0 || err != nil {
			return nil
		}
	}
	c.err = io.ErrNoProgress
	return nil
}

// makeRoom makes room for a read: it moves the current chunk to the front of
// the buffer, and of a larger one if it fills it. The chunk is shorter than Max,
// or it would have been cut.
func (c *Cutter) makeRoom() {
	if c.end < len(c.buf) && c.start < c.end {
		return
	}
	current := c.buf[c.start:c.end]
	if len(current) == len(c.buf) {
		c.buf = make([]byte, min(max(firstBuffer, 2*len(c.buf)), c.params.Max+readSize))
	}
	n := copy(c.buf, current)
	c.scanned -= c.start
	c.start, c.end = 0, n
}
