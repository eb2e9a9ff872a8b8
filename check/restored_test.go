package check

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"bluesky/object"
	"bluesky/repo"
	"bluesky/restore"
	"bluesky/snapshot"
	"bluesky/store"

	"golang.org/x/sys/unix"
)

// An image is a tree as it stands on a disk: what a restore must give, by
// absolute path in the snapshot.
type image map[string]pictured

type pictured struct {
	meta    string // type, mode, owner, time, links, attributes, target
	content string
}

// scan returns the image of the tree below dir, whose path in the snapshot is
// root.
func scan(t testing.TB, dir, root string) image {
	t.Helper()
	m := image{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		e := pictured{meta: fmt.Sprintf("%o %d:%d %d.%d", st.Mode, st.Uid, st.Gid, st.Mtim.Sec, st.Mtim.Nsec)}
		if !d.IsDir() {
			e.meta += fmt.Sprintf(" %d links", st.Nlink)
		}
		switch d.Type() {
		case 0:
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			e.content = string(data)
			e.meta += attributes(t, path)
		case fs.ModeSymlink:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			e.content = target
		}
		m[root+strings.TrimPrefix(path, dir)] = e
		return nil
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return m
}

func attributes(t testing.TB, path string) string {
	t.Helper()
	buffer := make([]byte, 1024)
	n, err := unix.Listxattr(path, buffer)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for name := range strings.SplitSeq(strings.TrimSuffix(string(buffer[:n]), "\x00"), "\x00") {
		if !strings.HasPrefix(name, "user.") {
			continue
		}
		value := make([]byte, 1024)
		n, err := unix.Getxattr(path, name, value)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, fmt.Sprintf(" %s=%x", name, value[:n]))
	}
	slices.Sort(list)
	return strings.Join(list, "")
}

// A restored is what came of restoring all snapshots of a repository.
type restored struct {
	wrong   []string        // what breaks the promise
	err     error           // of what comes before any snapshot
	whole   bool            // every snapshot was there, without a word
	failed  map[string]bool // paths that some snapshot lacks, and said so
	refused map[object.ID]error
}

// restoreAll opens the repository in st as the restore command does, but for the
// password, and restores every snapshot of want. Those that are left out of want
// may be there.
func (f *rich) restoreAll(t testing.TB, st *store.Store, options repo.Options) (out restored) {
	t.Helper()
	out = restored{failed: map[string]bool{}, refused: map[object.ID]error{}}
	r, err := repo.Open(t.Context(), st, options)
	if err != nil {
		out.err = err
		return out
	}
	admin := repo.PublicKey(f.keys.Admin().Public().(ed25519.PublicKey))
	if id := r.Identity(); id.Repository != f.keys.Repository() || id.Admin != admin {
		out.err = repo.ErrForeign // as keyring.Open says
		return out
	}
	state, err := r.Refresh(t.Context())
	if err != nil {
		out.err = err
		return out
	}
	r.PassOverLostRuns()
	list, listErr := snapshot.List(t.Context(), r, f.keys, state)
	for id := range f.want {
		at := slices.IndexFunc(list, func(s snapshot.Snapshot) bool { return s.ID == id })
		switch {
		case at >= 0:
			out.restore(t, f, r, list[at])
		case listErr != nil && strings.Contains(listErr.Error(), id.Short()):
			out.refused[id] = listErr
		default:
			out.wrong = append(out.wrong, fmt.Sprintf("snapshot %s is not listed, and nothing says so (%v)", id.Short(), listErr))
		}
	}
	out.whole = len(out.refused) == 0 && len(out.failed) == 0
	return out
}

// restore restores one snapshot and compares what is there with what should be.
func (out *restored) restore(t testing.TB, f *rich, r *repo.Repo, from snapshot.Snapshot) {
	t.Helper()
	target, err := os.MkdirTemp(f.scratch, "target")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(target)
	said := &said{paths: map[string]bool{}}
	result, err := restore.Run(t.Context(), r, f.keys, from, restore.Options{Target: target}, said)
	if err != nil {
		out.refused[from.ID] = err
	}
	if result.Errors+result.Warnings != said.calls {
		out.wrong = append(out.wrong, fmt.Sprintf("%d errors and %d warnings counted, %d reported", result.Errors, result.Warnings, said.calls))
	}
	out.compare(f.want[from.ID], scan(t, target+f.tree, f.tree), said.paths, err)
	maps.Copy(out.failed, said.paths)
}

// compare judges one target. What was reported may be missing or without its
// metadata; it is never there with other bytes.
func (out *restored) compare(want, got image, reported map[string]bool, err error) {
	excused := func(path string) bool {
		for ; path != "/" && path != "."; path = filepath.Dir(path) {
			if reported[path] {
				return true
			}
		}
		return err != nil || reported["/"]
	}
	for path, w := range want {
		g, there := got[path]
		switch {
		case !there && !excused(path):
			out.wrong = append(out.wrong, path+" is missing, and nothing says so")
		case there && g.content != w.content:
			out.wrong = append(out.wrong, path+" has wrong bytes")
		case there && g.meta != w.meta && !excused(path) && !(err == nil && len(reported) > 0 && sameButLinks(g.meta, w.meta)):
			out.wrong = append(out.wrong, fmt.Sprintf("%s has %s, want %s, and nothing says so", path, g.meta, w.meta))
		}
	}
	for path := range got {
		if _, ok := want[path]; !ok {
			out.wrong = append(out.wrong, path+" is not of this snapshot")
		}
	}
}

// sameButLinks: where one of two names of a file could not be made, and that was
// said, the other has one link.
func sameButLinks(a, b string) bool {
	return strings.ReplaceAll(a, " 1 links", " 2 links") == strings.ReplaceAll(b, " 1 links", " 2 links")
}

// said remembers what a restore reports.
type said struct {
	restore.NoProgress
	mu    sync.Mutex
	calls int
	paths map[string]bool
}

func (s *said) Error(path string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	s.paths[path] = true
	if err == nil || err.Error() == "" {
		s.calls += 1000 // an error that says nothing is none
	}
}

func (s *said) Warning(path string, err error) { s.Error(path, err) }
