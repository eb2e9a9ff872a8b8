package backup

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"bluesky/keyring"
	"bluesky/object"
	"bluesky/pack"
	"bluesky/repo"
	"bluesky/store"

	"gocloud.dev/blob"
	"gocloud.dev/blob/driver"
	"gocloud.dev/gcerrors"
)

// A mortal is a bucket as a process sees it that dies: after some operations
// nothing reaches the bucket any more.
type mortal struct {
	driver.Bucket

	mu    sync.Mutex
	left  int  // operations before it dies
	lost  bool // the one that it dies of is applied
	acked map[string]bool

	uploads  int  // it dies when so many segments are acknowledged, unless it is 0
	atCommit bool // it dies instead of creating a generation
}

var errDead = errors.New("the process is dead")

// die counts an operation. It returns errDead for one that is not applied, and
// whether one that is applied is acknowledged.
func (m *mortal) die() (acknowledged bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.left--
	if m.left < -1 || m.left == -1 && !m.lost {
		return false, errDead
	}
	return m.left >= 0, nil
}

func (m *mortal) dead() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.left < 0
}

func (m *mortal) ErrorCode(err error) gcerrors.ErrorCode {
	if errors.Is(err, errDead) {
		return gcerrors.PermissionDenied // not repeated
	}
	return m.Bucket.ErrorCode(err)
}

func (m *mortal) ErrorAs(err error, target any) bool { return m.Bucket.ErrorAs(err, target) }

func (m *mortal) Attributes(ctx context.Context, key string) (*driver.Attributes, error) {
	if ok, err := m.die(); !ok {
		return nil, errors.Join(errDead, err)
	}
	return m.Bucket.Attributes(ctx, key)
}

func (m *mortal) ListPaged(ctx context.Context, o *driver.ListOptions) (*driver.ListPage, error) {
	if ok, err := m.die(); !ok {
		return nil, errors.Join(errDead, err)
	}
	return m.Bucket.ListPaged(ctx, o)
}

func (m *mortal) NewRangeReader(ctx context.Context, key string, off, n int64, o *driver.ReaderOptions) (driver.Reader, error) {
	if ok, err := m.die(); !ok {
		return nil, errors.Join(errDead, err)
	}
	return m.Bucket.NewRangeReader(ctx, key, off, n, o)
}

func (m *mortal) NewTypedWriter(ctx context.Context, key, contentType string, o *driver.WriterOptions) (driver.Writer, error) {
	ctx, cancel := context.WithCancel(ctx)
	w, err := m.Bucket.NewTypedWriter(ctx, key, contentType, o)
	return &mortalWriter{w, m, key, cancel}, err
}

type mortalWriter struct {
	driver.Writer
	m      *mortal
	key    string
	cancel context.CancelFunc
}

func (w *mortalWriter) Close() error {
	defer w.cancel()
	w.m.dieAtCommit(w.key)
	acknowledged, err := w.m.die()
	if err != nil {
		w.cancel() // by which a writer is told to drop what it has
		_ = w.Writer.Close()
		return err
	}
	if err := w.Writer.Close(); err != nil || !acknowledged {
		return errors.Join(err, errDead)
	}
	w.m.mu.Lock()
	defer w.m.mu.Unlock()
	w.m.acked[w.key] = true
	if w.m.uploads--; w.m.uploads == 0 {
		w.m.left = 0
	}
	return nil
}

func (m *mortal) dieAtCommit(key string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.atCommit && strings.HasPrefix(key, "gen/") {
		m.left = 0
	}
}

// mortal returns b as a process sees it that dies after some operations.
func (b *bed) mortal(t testing.TB, left int, lost bool) (*bed, *mortal) {
	t.Helper()
	m := &mortal{Bucket: b.bucket, left: 1 << 30, lost: lost, acked: map[string]bool{}}
	st := store.New(blob.NewBucket(m), "mortal")
	t.Cleanup(func() { st.Close() })
	r, err := repo.Open(t.Context(), st, repo.Options{StateDir: b.state})
	must(t, err)
	keys, err := keyring.Open(t.Context(), r, []byte("secret"))
	must(t, err)
	m.left = left
	return &bed{bucket: b.bucket, state: b.state, repo: r, keys: keys}, m
}

// segments returns the headers of the segments that the state registers.
func (b *bed) segments(t testing.TB) map[string]*pack.Header {
	t.Helper()
	state, err := b.repo.Refresh(t.Context())
	must(t, err)
	view, err := b.repo.Index(t.Context(), state)
	must(t, err)
	found := map[string]*pack.Header{}
	for segment := range view.Segments() {
		h, _, err := b.repo.Header(t.Context(), &segment)
		must(t, err)
		found[segment.Name.Key()] = h
	}
	return found
}

// objects returns the segments that hold each object.
func objects(segments map[string]*pack.Header) map[object.ID][]string {
	where := map[object.ID][]string{}
	for key, h := range segments {
		for i := range h.Objects {
			where[h.Objects[i].ID] = append(where[h.Objects[i].ID], key)
		}
	}
	return where
}
