package repo

import (
	"context"
	"fmt"
)

// Follow returns the newest state, replayed from s, which was verified in
// another way than by Refresh, and the names that the generations in between have
// condemned. It leaves the state that r knows alone.
func (r *Repo) Follow(ctx context.Context, s *State) (*State, []Name, error) {
	r.mu.Lock() // of what was trusted
	defer r.mu.Unlock()
	head, err := r.findHead(ctx, s.Generation)
	if err != nil {
		return nil, nil, fmt.Errorf("find the newest generation: %w", err)
	}
	var condemned []Name
	err = r.generations(ctx, s.Generation+1, head, func(_ uint64, data []byte) error {
		next, err := s.next(data)
		if err != nil {
			if next, err = r.passOverVoid(ctx, s, data, head, err); err != nil {
				return err
			}
		}
		for _, clean := range next.recent[len(s.recent):] {
			condemned = append(condemned, clean.names...)
		}
		s = next
		return nil
	})
	return s, condemned, err
}
