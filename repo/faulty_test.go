package repo

import (
	"testing"

	"bluesky/store"
	"bluesky/store/fault"

	"gocloud.dev/blob"
)

// A faulty bucket keeps objects in memory and fails as its hooks say. They may
// use the bucket.
type faulty struct {
	*fault.Bucket
	put  func(key string, data []byte) fault.Effect // of a put
	read func(key string) error                     // before a read or stat
	list fault.Effect                               // of listings
}

func newFaulty() *faulty { return over(fault.NewMemory()) }

func over(objects *fault.Memory) *faulty {
	f := &faulty{Bucket: fault.Over(objects)}
	f.Inject(f.plan)
	return f
}

func (f *faulty) plan(op fault.Op) fault.Effect {
	switch {
	case op.Kind&(fault.Create|fault.Put) != 0 && f.put != nil:
		return f.put(op.Key, op.Data)
	case op.Kind&(fault.Get|fault.Range|fault.Stat) != 0 && f.read != nil:
		if err := f.read(op.Key); err != nil {
			return fault.Refuse.With(err)
		}
	case op.Kind == fault.List:
		return f.list
	}
	return fault.None
}

// open returns a Store of the bucket.
func (f *faulty) open(t testing.TB) *store.Store {
	t.Helper()
	st := store.New(blob.NewBucket(f.Bucket), "faulty")
	t.Cleanup(func() { st.Close() })
	return st
}

// snapshot returns a bucket with the objects of now and no faults.
func (f *faulty) snapshot() *faulty { return over(f.Objects.Clone()) }
