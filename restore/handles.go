package restore

import (
	"container/list"
	"sync"
)

// maxOpenFiles is how many files that still wait for blocks are kept open,
// besides those that are being written.
const maxOpenFiles = 64

// handles bounds the files that are open at the same time. A file that is
// written is always open; which of the others are, is decided here.
type handles struct {
	limit int

	mu   sync.Mutex
	open *list.List // of *file; the last used first
	at   map[*file]*list.Element
}

func newHandles(limit int) *handles {
	return &handles{limit: limit, open: list.New(), at: map[*file]*list.Element{}}
}

// touch notes that f, whose lock the caller holds, is open and in use. It may
// close another file.
func (h *handles) touch(f *file) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if e, ok := h.at[f]; ok {
		h.open.MoveToFront(e)
		return
	}
	h.at[f] = h.open.PushFront(f)
	for e := h.open.Back(); e != nil && h.open.Len() > h.limit; {
		victim, before := e.Value.(*file), e.Prev()
		// Who holds the lock of a file may be waiting here for this one.
		if victim != f && victim.mu.TryLock() {
			if err := victim.close(); err != nil {
				victim.note(err)
			}
			victim.mu.Unlock()
			h.open.Remove(e)
			delete(h.at, victim)
		}
		e = before
	}
}

// forget takes f, whose lock the caller holds and which it will close, out.
func (h *handles) forget(f *file) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if e, ok := h.at[f]; ok {
		h.open.Remove(e)
		delete(h.at, f)
	}
}

// closeAll closes what a run that was ended has left open.
func (h *handles) closeAll() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for f := range h.at {
		f.mu.Lock() // nobody else is running
		f.close()   // it is incomplete, and looks so
		f.mu.Unlock()
	}
	clear(h.at)
	h.open.Init()
}
