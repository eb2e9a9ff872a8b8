package forget

import (
	"fmt"

	"bluesky/repo"
)

// A Forgotten is a snapshot that is forgotten and not collected.
type Forgotten struct {
	Snapshot
	At uint64             // the generation of the forget
	By *repo.ForgetPolicy // the policy that it names; nil for a forget by id
}

// Load returns what retention knows without a key of the snapshots of s, in log
// order. All need an effective time, which [repo.State.Timed] gives them.
func Load(s *repo.State) (live []Snapshot, forgotten []Forgotten, err error) {
	live = make([]Snapshot, 0, len(s.Snapshots))
	for i := range s.Snapshots {
		snapshot, err := load(&s.Snapshots[i])
		if err != nil {
			return nil, nil, err
		}
		live = append(live, snapshot)
	}
	for i := range s.Forgotten {
		f := &s.Forgotten[i]
		snapshot, err := load(&f.Snapshot)
		if err != nil {
			return nil, nil, err
		}
		forgotten = append(forgotten, Forgotten{snapshot, f.At, f.By})
	}
	InLogOrder(live)
	return live, forgotten, nil
}

func load(s *repo.Snapshot) (Snapshot, error) {
	if s.Effective == nil {
		return Snapshot{}, fmt.Errorf("snapshot %s: the time when it was stored is not known", s.ID.Short())
	}
	return Snapshot{
		ID: s.ID, Line: Line{s.Signer, s.Series}, Generation: s.Generation,
		Claimed: s.Time, Effective: *s.Effective, Pinned: s.Pinned,
	}, nil
}
