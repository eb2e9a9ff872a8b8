package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"
)

// Get returns the bytes of an object, which belong to the caller. The error
// wraps [ErrNotFound] when there is none, and [ErrTooLarge], before anything is
// allocated, when it has more than maxBytes.
func (s *Store) Get(ctx context.Context, key string, maxBytes int64) ([]byte, error) {
	if err := s.check(ctx, "get", key); err != nil {
		return nil, err
	}
	data, err := repeat(ctx, s.retry, func(ctx context.Context, p *pulse) ([]byte, error) {
		return s.get(ctx, p, key, maxBytes)
	})
	return data, s.wrap("get", key, nil, err)
}

func (s *Store) get(ctx context.Context, p *pulse, key string, maxBytes int64) (data []byte, err error) {
	r, err := s.bucket.NewReader(ctx, key, nil)
	if err != nil {
		return nil, err
	}
	defer closing(r, &err)
	if r.Size() > maxBytes {
		return nil, fmt.Errorf("%w: it has %d bytes, at most %d are expected", ErrTooLarge, r.Size(), maxBytes)
	}
	return readExactly(p.of(r), r.Size())
}

// GetRange returns the n bytes of an object that begin at off; they belong to
// the caller, who bounds n. The error wraps [ErrNotFound] when there is no such
// object, and [ErrShort] when it ends before off+n.
func (s *Store) GetRange(ctx context.Context, key string, off, n int64) ([]byte, error) {
	if err := s.check(ctx, "get", key); err != nil {
		return nil, err
	}
	if off < 0 || n < 0 || off > math.MaxInt64-n {
		return nil, s.wrap("get", key, nil, fmt.Errorf("%d bytes at %d are no range", n, off))
	}
	data, err := repeat(ctx, s.retry, func(ctx context.Context, p *pulse) ([]byte, error) {
		return s.getRange(ctx, p, key, off, n)
	})
	return data, s.wrap("get", key, nil, err)
}

func (s *Store) getRange(ctx context.Context, p *pulse, key string, off, n int64) (data []byte, err error) {
	if n == 0 { // HTTP has no empty ranges
		return []byte{}, s.checkEnd(ctx, key, off, 0)
	}
	r, err := s.bucket.NewRangeReader(ctx, key, off, n, nil)
	if err != nil {
		return nil, s.explainRange(ctx, key, off, n, err)
	}
	defer closing(r, &err)
	if off+n > r.Size() {
		return nil, short(off, n, r.Size())
	}
	return readExactly(p.of(r), n)
}

// explainRange finds out whether a range was refused because the object ends
// before it. The clouds answer with status 416, for which gocloud.dev has no
// code.
func (s *Store) explainRange(ctx context.Context, key string, off, n int64, err error) error {
	switch gcerrors.Code(err) {
	case gcerrors.Unknown, gcerrors.InvalidArgument:
		if end := s.checkEnd(ctx, key, off, n); errors.Is(end, ErrShort) {
			return end
		}
	}
	return err
}

func (s *Store) checkEnd(ctx context.Context, key string, off, n int64) error {
	attrs, err := s.bucket.Attributes(ctx, key)
	if err != nil {
		return err
	}
	if off+n > attrs.Size {
		return short(off, n, attrs.Size)
	}
	return nil
}

func short(off, n, size int64) error {
	return fmt.Errorf("%w: it has %d bytes, wanted are %d at %d", ErrShort, size, n, off)
}

// readExactly reads n bytes and makes sure that none follow: a server that
// ignores ranges sends the whole object. A body that is shorter than the bucket
// said was broken off; it says nothing about what is stored.
func readExactly(r io.Reader, n int64) ([]byte, error) {
	if n < 0 {
		return nil, errors.New("the bucket does not say how long the object is")
	}
	data := make([]byte, n)
	switch got, err := io.ReadFull(r, data); err {
	case nil:
	case io.EOF, io.ErrUnexpectedEOF:
		return nil, fmt.Errorf("the bucket broke off after %d of %d bytes: %w", got, n, io.ErrUnexpectedEOF)
	default:
		return nil, err
	}
	var more [1]byte
	k, err := io.ReadFull(r, more[:])
	if k > 0 {
		return nil, fmt.Errorf("the bucket sent more than the %d bytes asked for", n)
	}
	if err != io.EOF {
		return nil, err
	}
	return data, nil
}

func closing(r *blob.Reader, err *error) {
	if cerr := r.Close(); *err == nil {
		*err = cerr
	}
}
