// Package store reads and writes the objects of a bucket: a folder now, the
// buckets of cloud providers behind the same type.
//
// A [Store] is a thin layer over gocloud.dev/blob. It states once what a
// repository may rely on, and package storetest holds every kind of bucket to
// it:
//
//   - PutNew creates a key for exactly one of all concurrent callers.
//   - An object is absent or whole, and durable when its put returned nil.
//   - A read gives the bytes asked for or an error, never fewer.
//   - A listing is complete or ends with an error.
//   - No size that a bucket reports is allocated beyond the caller's bound.
//
// Reads are repeated when it may help, within a budget of attempts and time;
// writes never are, because only the caller can tell an unknown outcome from a
// lost race, by reading back. [MayPass] and [Store.Pause] are for who has done so.
// Methods of a Store may be called concurrently.
package store

import (
	"bytes"
	"context"
	"iter"
	"strings"
	"sync/atomic"
	"time"

	"gocloud.dev/blob"
	"gocloud.dev/blob/memblob"
)

// pageSize is how many entries a listing asks for at a time: the most that S3
// gives.
const pageSize = 1000

// contentType is stored with every object; without one gocloud.dev would guess
// it from the bytes.
const contentType = "application/octet-stream"

// A Store is an open bucket.
type Store struct {
	bucket   *blob.Bucket
	location string
	retry    retry
	closed   atomic.Bool
}

// An Entry describes an object without its bytes.
type Entry struct {
	Key     string
	Size    int64     // in bytes
	ModTime time.Time // by the bucket's clock
}

// New makes a Store of an open bucket, which it closes with [Store.Close].
// location names it in messages; it must hold no secret.
func New(bucket *blob.Bucket, location string) *Store {
	return &Store{bucket: bucket, location: location, retry: defaultRetry()}
}

// NewImpatient is New for tests whose bucket fails by chance: reads are repeated
// as often, without a wait between them.
func NewImpatient(bucket *blob.Bucket, location string) *Store {
	s := New(bucket, location)
	s.retry.base, s.retry.max = 0, 0
	return s
}

// NewMemory makes an empty Store in memory, for tests.
func NewMemory() *Store {
	return New(memblob.OpenBucket(&memblob.Options{NoMD5: true}), "memory")
}

// Location names the bucket for messages: an absolute path or a URL, without
// credentials or parameters.
func (s *Store) Location() string { return s.location }

// PutNew creates an object. It is visible to nobody before it is whole, and
// durable when PutNew returns nil; of any number of concurrent calls for a key,
// in any process, exactly one does. data is not kept.
//
// The error wraps [ErrExists] when the key exists. After any other error, a
// cancelled ctx included, the outcome is unknown: the key is absent or holds
// data whole. Nothing is tried again here; the caller reads back and compares.
// Only if the error wraps [ErrNotDurable] must it not trust what it reads.
func (s *Store) PutNew(ctx context.Context, key string, data []byte) error {
	return s.put(ctx, "create", key, data, true)
}

// Put creates an object or replaces it in one step: readers see the old bytes
// or the new ones. Durability, errors and ownership are as for [Store.PutNew],
// except that an existing key is no error.
func (s *Store) Put(ctx context.Context, key string, data []byte) error {
	return s.put(ctx, "put", key, data, false)
}

func (s *Store) put(ctx context.Context, op, key string, data []byte, exclusive bool) error {
	if err := s.check(ctx, op, key); err != nil {
		return err
	}
	// Upload, because the writer of the azure driver panics when it loses a
	// race.
	err := s.bucket.Upload(ctx, key, bytes.NewReader(data), &blob.WriterOptions{
		ContentType: contentType,
		IfNotExist:  exclusive,
	})
	if exclusive && isConflict(err) {
		return s.wrap(op, key, ErrExists, err)
	}
	return s.wrap(op, key, nil, err)
}

// Stat describes an object. The error wraps [ErrNotFound] when there is none.
func (s *Store) Stat(ctx context.Context, key string) (Entry, error) {
	if err := s.check(ctx, "stat", key); err != nil {
		return Entry{}, err
	}
	attrs, err := repeat(ctx, s.retry, func(ctx context.Context, _ *pulse) (*blob.Attributes, error) {
		return s.bucket.Attributes(ctx, key)
	})
	if err != nil {
		return Entry{}, s.wrap("stat", key, nil, err)
	}
	return Entry{Key: key, Size: attrs.Size, ModTime: attrs.ModTime}, nil
}

// List gives the objects whose keys begin with prefix, in bytewise order of
// their keys. An error ends the sequence; a sequence that ended without one was
// complete. What is created or deleted meanwhile may be in it or not. Keys that
// others put into the bucket come as they are, whether or not this package
// would accept them.
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		if err := s.checkList(ctx, prefix); err != nil {
			yield(Entry{}, err)
			return
		}
		for token := blob.FirstPageToken; len(token) > 0; {
			page, err := s.page(ctx, prefix, token)
			if err != nil {
				yield(Entry{}, s.wrap("list", prefix, nil, err))
				return
			}
			for _, o := range page.objects {
				if !yield(Entry{Key: o.Key, Size: o.Size, ModTime: o.ModTime}, nil) {
					return
				}
			}
			token = page.next
		}
	}
}

type page struct {
	objects []*blob.ListObject
	next    []byte
}

func (s *Store) page(ctx context.Context, prefix string, token []byte) (page, error) {
	return repeat(ctx, s.retry, func(ctx context.Context, p *pulse) (page, error) {
		// A driver may have smaller pages, and is asked until this one is full.
		beat := func(func(any) bool) error { p.beat(); return nil }
		objects, next, err := s.bucket.ListPage(ctx, token, pageSize, &blob.ListOptions{Prefix: prefix, BeforeList: beat})
		return page{objects, next}, err
	})
}

// Delete removes an object. The error wraps [ErrNotFound] when there is none,
// which may be because another caller was faster.
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := s.check(ctx, "delete", key); err != nil {
		return err
	}
	return s.wrap("delete", key, nil, s.bucket.Delete(ctx, key))
}

// Close releases the bucket. Later calls fail with [ErrClosed]; a second Close
// does nothing.
func (s *Store) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	if err := s.bucket.Close(); err != nil {
		return &opError{op: "close", key: s.location, err: cause(err)}
	}
	return nil
}

// check refuses what must not reach a driver. Some look at the context late.
func (s *Store) check(ctx context.Context, op, key string) error {
	if err := checkKey(key); err != nil {
		return &opError{op: op, err: err}
	}
	return s.usable(ctx, op, key)
}

func (s *Store) checkList(ctx context.Context, prefix string) error {
	if err := checkPrefix(prefix); err != nil {
		return &opError{op: "list", err: err}
	}
	return s.usable(ctx, "list", prefix)
}

func (s *Store) usable(ctx context.Context, op, key string) error {
	if s.closed.Load() {
		return &opError{op: op, key: key, kind: ErrClosed}
	}
	if err := ctx.Err(); err != nil {
		return &opError{op: op, key: key, err: err}
	}
	return nil
}

// MaxKey is the most bytes that a key has.
const MaxKey = 255

// checkKey accepts the keys that every kind of bucket stores as they are.
func checkKey(key string) error {
	if key == "" {
		return keyError(key, "it is empty")
	}
	if err := checkPrefix(key); err != nil {
		return err
	}
	for element := range strings.SplitSeq(key, "/") {
		if element == "" || element == "." || element == ".." {
			return keyError(key, `an element between slashes is empty, "." or ".."`)
		}
	}
	return nil
}

func checkPrefix(prefix string) error {
	if len(prefix) > MaxKey {
		return keyError(prefix[:MaxKey], "it is longer than 255 bytes")
	}
	for i := range len(prefix) {
		c := prefix[i]
		if !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '.' || c == '_' || c == '-' || c == '/') {
			return keyError(prefix, "it has other characters than a-z, 0-9, dot, underscore, hyphen and slash")
		}
	}
	return nil
}
