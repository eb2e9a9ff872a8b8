package index

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"bluesky/object"
	"bluesky/pack"
)

// Stored is a segment as a listing of the bucket shows it, with what the state
// knows of it and its header does not tell.
type Stored struct {
	Name         pack.Name
	Size         int64
	RegisteredAt uint64           // 0 = the generation whose op adds the run
	Session      object.SessionID // that registers it
}

// A Failure is a segment that a rebuilt run lacks, and why.
type Failure struct {
	Name pack.Name
	Err  error
}

// FromHeaders reads the headers of segments, limit of them at a time, and
// returns a builder that has their rows: those that it had when the segments
// were written. No key is needed.
//
// A segment whose header cannot be read, does not decode, or belongs to another
// repository is left out and among the failures, which are in order of name.
// Whoever registers the run decides whether that is bearable: objects that only
// such segments hold are lost to it. Bodies are not looked at ([pack.Verify]
// does). The error is that of ctx alone.
//
// Memory is that of the builder and of limit headers.
func FromHeaders(ctx context.Context, r pack.ReaderAt, repository object.RepositoryID, segments []Stored, limit int) (*Builder, []Failure, error) {
	var mu sync.Mutex // guards b and failed
	b := &Builder{}
	var failed []Failure
	var group errgroup.Group
	group.SetLimit(max(limit, 1))
	for _, stored := range segments {
		if ctx.Err() != nil {
			break
		}
		group.Go(func() error {
			s, err := readStored(ctx, r, repository, stored)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				seg := SegmentOf(s, stored.Session)
				seg.RegisteredAt = stored.RegisteredAt
				err = b.AddSegment(seg, s.Header)
			}
			if err != nil {
				failed = append(failed, Failure{stored.Name, err})
			}
			return nil
		})
	}
	group.Wait()
	if err := ctx.Err(); err != nil {
		return nil, nil, fmt.Errorf("rebuild the index: %w", err)
	}
	slices.SortFunc(failed, func(a, b Failure) int { return bytes.Compare(a.Name[:], b.Name[:]) })
	return b, failed, nil
}

func readStored(ctx context.Context, r pack.ReaderAt, repository object.RepositoryID, stored Stored) (*pack.Segment, error) {
	s, err := pack.ReadHeaderUnindexed(ctx, r, stored.Name, stored.Size)
	if err != nil {
		return nil, err
	}
	if s.Header.Repository != repository {
		return nil, corruptf("segment %s: it belongs to repository %s", stored.Name, s.Header.Repository)
	}
	return s, nil
}
