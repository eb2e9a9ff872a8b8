package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
)

// probeRacers is how many callers a probe lets race for one key.
const probeRacers = 4

// Probe tries whether the bucket keeps what [Store] promises: that of several
// callers creating a key exactly one succeeds, that the object can be listed at
// once, and that a range of it can be read. It uses key, which nobody else
// must, and deletes it again if it may; what stays behind without that right is
// a few bytes.
//
// A bucket that ignores the condition of a put, as some that resemble S3 do,
// would lose data under concurrent writers. The error says what it ignores.
func (s *Store) Probe(ctx context.Context, key string) error {
	winner, err := s.probeRace(ctx, key)
	if err != nil {
		return fmt.Errorf("probe the bucket: %w", err)
	}
	err = errors.Join(s.probeRange(ctx, key, winner), s.probeList(ctx, key))
	if deleted := s.Delete(ctx, key); deleted != nil && !errors.Is(deleted, ErrPermission) {
		err = errors.Join(err, deleted)
	}
	if err != nil {
		return fmt.Errorf("probe the bucket: %w", err)
	}
	return nil
}

// probeRace creates key from several goroutines and returns the bytes of the
// one that won.
func (s *Store) probeRace(ctx context.Context, key string) ([]byte, error) {
	var results [probeRacers]error
	var racers sync.WaitGroup
	for i := range results {
		racers.Go(func() { results[i] = s.PutNew(ctx, key, probeBody(i)) })
	}
	racers.Wait()
	winner := -1
	for i, err := range results {
		switch {
		case err == nil && winner >= 0:
			return nil, errors.New("two writers have created the same object: it ignores the condition of a put, and cannot hold a repository")
		case err == nil:
			winner = i
		case !errors.Is(err, ErrExists):
			return nil, err
		}
	}
	if winner < 0 {
		return nil, errors.New("of several writers of a new object none has succeeded")
	}
	return probeBody(winner), nil
}

func probeBody(writer int) []byte { return fmt.Appendf(nil, "bluesky probe by writer %d", writer) }

func (s *Store) probeRange(ctx context.Context, key string, want []byte) error {
	got, err := s.GetRange(ctx, key, 1, int64(len(want)-2))
	if err == nil && !bytes.Equal(got, want[1:len(want)-1]) {
		err = errors.New("a range of an object has other bytes than were put")
	}
	return err
}

func (s *Store) probeList(ctx context.Context, key string) error {
	for entry, err := range s.List(ctx, key) {
		if err != nil {
			return err
		}
		if entry.Key == key {
			return nil
		}
	}
	return errors.New("an object that was just put is not in the listing")
}
