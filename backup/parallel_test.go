package backup

import (
	"errors"
	"io"
	"testing"

	"bluesky/object"
	"bluesky/repo"
	"bluesky/tree"
)

// A brokenTarget takes no object, and says so only when after is closed.
type brokenTarget struct {
	target
	after chan struct{}
}

var errBroken = errors.New("no object is taken")

func (b *brokenTarget) Add(object.Sealed, object.Session) error {
	<-b.after
	return errBroken
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// A file cannot be read to its end, and what came before could not be stored:
// that is what ends the backup. It is no file that is left out.
func TestStoreErrorBehindReadError(t *testing.T) {
	b := newBedWith(t, func(c *repo.Config) { c.Chunker.Min, c.Chunker.Max = 32*kib, 64*kib })
	dry, err := newDryTarget(t.Context(), b.repo)
	must(t, err)
	broken := &brokenTarget{target: dry, after: make(chan struct{})}
	w, err := newBackup(b.repo, b.keys, paths("/"), broken, nil, NoProgress{}).newWorker()
	must(t, err)
	data := random(1, 64*kib+1) // one chunk or two, and they can wait
	r := readerFunc(func(p []byte) (int, error) {
		if len(data) == 0 {
			close(broken.after)
			return 0, &sourceReadError{io.ErrUnexpectedEOF}
		}
		n := copy(p, data)
		data = data[n:]
		return n, nil
	})
	err = w.cutParallel(t.Context(), r, &content{list: tree.NewListBuilder(w.sink, w.params)})
	var source *sourceReadError
	if errors.As(err, &source) || !errors.Is(err, errBroken) {
		t.Errorf("it ends with: %v", err)
	}
}
