package backup

import (
	"context"
	"errors"
	"io"
	"runtime"
	"sync"

	"bluesky/object"
)

// parallelFrom is the length in bytes of content from which the chunks of one
// file are sealed by several goroutines. Below, the other workers have files
// of their own to do.
const parallelFrom = 32 << 20

// sealing are the chunks that all files together have between being cut and
// being sealed. Each holds a buffer of up to the chunker's maximum.
type sealing struct {
	slots   chan struct{}
	buffers sync.Pool // of *[]byte
}

func newSealing() *sealing {
	return &sealing{slots: make(chan struct{}, runtime.GOMAXPROCS(0)+1)}
}

// A pendingChunk is a chunk on its way to the repository.
type pendingChunk struct {
	length uint64
	done   chan struct{} // closed when id and err are set
	id     object.ID
	err    error
}

// cutParallel stores the content of r as cut does, with the same chunks in the
// same order, while several chunks at once are hashed and sealed.
func (w *worker) cutParallel(ctx context.Context, r io.Reader, to *content) error {
	w.cutter.Reset(r)
	var pending []*pendingChunk
	defer func() {
		for _, c := range pending {
			<-c.done // none outlives its file
		}
	}()
	collect := func() error {
		c := pending[0]
		<-c.done
		pending = pending[1:]
		if c.err != nil {
			return c.err
		}
		return to.add(ctx, c.id, c.length)
	}
	for {
		data, err := w.cutter.Next(ctx)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		c, err := w.submit(ctx, data)
		if err != nil {
			return err
		}
		pending = append(pending, c)
		if len(pending) > cap(w.sealing.slots) {
			if err := collect(); err != nil {
				return err
			}
		}
	}
	for len(pending) > 0 {
		if err := collect(); err != nil {
			return err
		}
	}
	return nil
}

// submit stores a copy of data in the background, once there is a slot.
func (w *worker) submit(ctx context.Context, data []byte) (*pendingChunk, error) {
	select {
	case w.sealing.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	buffer, ok := w.sealing.buffers.Get().(*[]byte)
	if !ok {
		buffer = new([]byte)
	}
	*buffer = append((*buffer)[:0], data...)
	c := &pendingChunk{length: uint64(len(data)), done: make(chan struct{})}
	go func() {
		defer close(c.done)
		defer func() { <-w.sealing.slots }()
		c.id, c.err = w.sink.Put(ctx, object.KindBlock, nil, *buffer)
		w.sealing.buffers.Put(buffer)
	}()
	return c, nil
}
