package prune

import (
	"context"
	"fmt"
	"time"

	"bluesky/repo"
)

// findOrphans lists the bucket for files that no generation names, or whose
// deletion is recorded and which are there again (R6): writers and cleaners that died have
// left them. Nothing else follows from a listing. They are condemned by name like
// everything else, so a writer whose upload it is, after all, finds out.
func (b *base) findOrphans(ctx context.Context, p *Plan, options *Options, progress Progress) ([]repo.Name, error) {
	known := p.named()
	now := options.Now()
	var orphans []repo.Name
	progress.Phase("look for what no generation names", 0)
	for folder := repo.FolderSegments; folder.Valid(); folder++ {
		for entry, err := range b.repo.Store().List(ctx, folder.Prefix()) {
			if err != nil {
				return nil, fmt.Errorf("list %s: %w", folder.Prefix(), err)
			}
			progress.Add(1)
			name, err := repo.ParseName(entry.Key)
			if err != nil || known[name] || b.own[name] {
				continue // foreign, in use, or about to be
			}
			if options.Instant || old(now, entry.ModTime) {
				orphans = append(orphans, name)
			}
			if len(orphans) == options.room().orphans {
				return orphans, nil
			}
		}
	}
	return orphans, nil // in order: listings are
}

func old(now, modified time.Time) bool { return now.Sub(modified) > orphanAge }

// named returns the names that the state knows.
func (p *Plan) named() map[repo.Name]bool {
	names := map[repo.Name]bool{}
	for name := range p.state.Names() {
		names[name] = true
	}
	for s := range p.view.Segments() {
		names[segmentName(s.Name)] = true
	}
	return names
}
