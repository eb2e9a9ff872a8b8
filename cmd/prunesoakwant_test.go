package cmd

import (
	"context"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"bluesky/object"
	"bluesky/pack"
	"bluesky/repo"
)

// finish checks what the campaign has left.
func (c *pruneCampaign) finish() {
	c.t.Helper()
	for _, w := range c.writers { // alone; and who was killed last ends its session now
		w.backUp(false)
	}
	if list := c.state().Unfinished(); len(list) > 0 {
		c.t.Errorf("sessions %v are unfinished after the last backups", list)
	}
	c.wantHistory()
	c.restoreAll()
	cleaner := c.cleaner[0]
	cleaner.forget(false)
	for range 2 {
		cleaner.prune(false, "--instant", "--max-unused", "0")
	}
	c.wantHistory()
	c.wantSpace()
	c.restoreAll()
	for _, a := range []*actor{c.reader, cleaner} {
		for _, args := range [][]string{{"check", "-q"}, {"check", "-q", "--read-data"}} {
			got, _ := a.start(false, "", 0, args...)
			if got.code != 0 || got.stderr != "" || !strings.HasPrefix(got.stdout, "OK, checked: ") {
				c.t.Errorf("%q at the end: %+v", args, got)
			}
		}
	}
	c.wantTidy()
}

// restoreAll restores all snapshots that are live.
func (c *pruneCampaign) restoreAll() {
	c.t.Helper()
	for i := range c.state().Snapshots {
		id := c.state().Snapshots[i].ID
		if _, known := c.saved[id]; !known {
			c.t.Errorf("snapshot %s is of nobody", id)
			continue
		}
		c.reader.restore(false, id)
	}
}

// wantHistory goes through all generations and checks that every snapshot that
// was reported is live unless somebody has forgotten it, that nobody has
// collected what was not forgotten, and that each forget has kept what it should.
func (c *pruneCampaign) wantHistory() {
	c.t.Helper()
	state := c.state()
	live, forgotten, added := map[object.ID]repo.Series{}, map[object.ID]repo.Series{}, map[object.ID]bool{}
	move := func(ids []object.ID, from, to map[object.ID]repo.Series) {
		for _, id := range ids {
			if series, ok := from[id]; ok && to != nil {
				to[id] = series
			} else if !ok {
				c.t.Errorf("snapshot %s was not there to be forgotten, brought back or collected", id)
			}
			delete(from, id)
		}
	}
	for n := uint64(0); n <= state.Generation; n++ {
		g, err := c.log.Generation(c.t.Context(), n)
		if err != nil {
			c.t.Fatal(err)
		}
		for _, op := range g.Ops {
			switch op.Type {
			case repo.OpAddSnapshot:
				var s repo.Statement
				var add repo.AddSnapshot
				decodeOp(c.t, op.Body, &s)
				decodeOp(c.t, s.Body, &add)
				live[add.ID], added[add.ID] = add.Series, true
			case repo.OpForget:
				var f repo.Forget
				decodeOp(c.t, op.Body, &f)
				move(f.Snapshots, live, forgotten)
				left := map[repo.Series]int{}
				for _, series := range live {
					left[series]++
				}
				for _, id := range f.Snapshots {
					if n := left[forgotten[id]]; n < keepLast {
						c.t.Errorf("generation %d: a forget has left %d snapshots of a series", n, n)
					}
				}
			case repo.OpUndoForget:
				var list repo.SnapshotList
				decodeOp(c.t, op.Body, &list)
				move(list.Snapshots, forgotten, live)
			case repo.OpClean:
				var clean repo.Clean
				decodeOp(c.t, op.Body, &clean)
				move(clean.Collected, forgotten, nil)
			}
		}
	}
	for id := range c.saved {
		if !added[id] {
			c.t.Errorf("snapshot %s was reported and never added", id)
		}
	}
	for id := range live {
		if _, ok := state.Snapshot(id); !ok {
			c.t.Errorf("snapshot %s was not forgotten and is gone", id)
		}
	}
	if len(live) != len(state.Snapshots) {
		c.t.Errorf("%d snapshots are live, the log says %d", len(state.Snapshots), len(live))
	}
}

func decodeOp(t testing.TB, data []byte, into any) {
	t.Helper()
	if err := object.DecodeCBOR(data, into); err != nil {
		t.Fatal(err)
	}
}

// wantSpace compares the bytes of all objects in the bucket with those that the
// snapshots reach, by the headers of the segments alone; and checks that there is
// no file that the state does not name, and nothing condemned.
func (c *pruneCampaign) wantSpace() {
	c.t.Helper()
	state := c.state()
	if len(state.Condemned) > 0 {
		c.t.Errorf("%d files are still condemned", len(state.Condemned))
	}
	type stored struct {
		length uint64
		refs   []object.ID
	}
	objects := map[object.ID]stored{}
	var body, files uint64
	eachFile(c.t, c.m.repo+"/seg", func(path string, info fs.FileInfo) {
		name, err := pack.ParseName(info.Name())
		if err != nil {
			return // a temporary file
		}
		segment, err := pack.ReadHeaderUnindexed(c.t.Context(), c.log.Store(), name, info.Size())
		if err != nil {
			c.t.Fatal(err)
		}
		files += uint64(info.Size())
		for i := range segment.Header.Objects {
			o := &segment.Header.Objects[i]
			objects[o.ID] = stored{uint64(o.Length), segment.Header.Refs(i, nil)}
			body += uint64(o.Length)
		}
	})
	var live uint64
	seen := map[object.ID]bool{}
	queue := slices.Collect(state.Roots())
	for len(queue) > 0 {
		id := queue[len(queue)-1]
		queue = queue[:len(queue)-1]
		if o, ok := objects[id]; !ok {
			c.t.Errorf("object %s is nowhere", id)
		} else if !seen[id] {
			live += o.length
			queue = append(queue, o.refs...)
		}
		seen[id] = true
	}
	c.t.Logf("%d generations, %d snapshots live of %d; %d bytes of %d objects needed, %d stored in %d bytes of segments",
		state.Generation, len(state.Snapshots), len(c.saved), live, len(seen), body, files)
	if body > live+live/20 {
		c.t.Errorf("%d bytes of objects are stored, and %d are needed", body, live)
	}
	c.wantNamed(state)
}

// wantNamed checks that the state names every file of the bucket, and that all
// are there.
func (c *pruneCampaign) wantNamed(state *repo.State) {
	c.t.Helper()
	view, err := c.log.Index(context.Background(), state)
	if err != nil {
		c.t.Fatal(err)
	}
	named := map[string]bool{}
	for s := range view.Segments() {
		named[s.Name.Key()] = true
	}
	for i := range state.Runs {
		named[state.Runs[i].Name.Key()] = true
	}
	for _, list := range [][]repo.TableRef{state.Marks, state.Counts, state.Space} {
		for _, ref := range list {
			named[repo.TableName(ref.Name).Key()] = true
		}
	}
	if state.Checkpoint != nil {
		named[repo.CheckpointNamed(state.Checkpoint.Name).Key()] = true
	}
	eachFile(c.t, c.m.repo, func(path string, info fs.FileInfo) {
		key := strings.TrimPrefix(path, c.m.repo+"/")
		folder, _, nested := strings.Cut(key, "/")
		if nested && folder != "gen" && folder != "keys" && !strings.HasPrefix(info.Name(), ".tmp-") && !named[key] {
			c.t.Errorf("%s is left over", key)
		}
		delete(named, key)
	})
	for key := range named {
		c.t.Errorf("%s is not there", key)
	}
}

// wantTidy checks that backups and a prune of the next week leave nothing lying
// about that a killed process has not finished.
func (c *pruneCampaign) wantTidy() {
	c.t.Helper()
	actors := []*actor{c.cleaner[0], c.cleaner[1], c.reader}
	dirs := []string{c.m.repo}
	for _, w := range c.writers {
		actors = append(actors, w.actor)
	}
	for _, a := range actors {
		dirs = append(dirs, a.home)
	}
	for _, dir := range dirs {
		ageFiles(c.t, dir)
	}
	for _, w := range c.writers {
		w.tree.change()
		w.backUp(false)
	}
	for _, a := range c.cleaner {
		a.prune(false)
	}
	for _, dir := range dirs {
		wantNoneLeft(c.t, dir)
	}
}
