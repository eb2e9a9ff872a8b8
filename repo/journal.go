package repo

import (
	"crypto"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"bluesky/object"

	"github.com/gofrs/flock"
)

// A journal is the file by which the runs of one machine know of each other:
// <state>/sessions/<session>.journal, locked by flock(2) while its run lives.
// Who can lock another's has found the remains of a crash, and ends its session
// in the log (R10). A nil journal is that of a machine that keeps no state.
type journal struct {
	path      string
	file      *flock.Flock
	abandoned []abandoned
}

// abandoned is a session whose run is gone; its lock is held here, so that no
// two runs end it.
type abandoned struct {
	file    *flock.Flock
	session object.SessionID
}

const (
	journalSuffix = ".journal"
	// A journal is locked before it has its name, and has this behind it until
	// then. One that a run was killed over goes when it is unlockedAge old: no run
	// takes a part of that from open to rename.
	unlockedSuffix = ".new"
	unlockedAge    = time.Hour
)

// openJournal creates and locks the journal of a new session and picks up
// those that crashed runs have left.
func openJournal(stateDir string, session object.SessionID, now time.Time) (*journal, error) {
	if stateDir == "" {
		return nil, nil
	}
	dir := filepath.Join(stateDir, "sessions")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	j := &journal{}
	var err error
	if j.abandoned, err = findAbandoned(dir, now); err != nil {
		return nil, err
	}
	j.path = filepath.Join(dir, session.String()+journalSuffix)
	if err := j.create(); err != nil {
		return nil, errors.Join(fmt.Errorf("session journal: %w", err), j.release())
	}
	return j, nil
}

// create makes the file under a name that no other run looks at, locks it, and
// renames it: so nobody finds it unlocked.
func (j *journal) create() error {
	unlocked := j.path + unlockedSuffix
	j.file = flock.New(unlocked, flock.SetPermissions(0o600))
	if ok, err := j.file.TryLock(); err != nil || !ok {
		return errors.Join(err, errors.New("cannot lock it"))
	}
	return os.Rename(unlocked, j.path)
}

// findAbandoned locks every journal that no live run holds.
func findAbandoned(dir string, now time.Time) ([]abandoned, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var found []abandoned
	for _, entry := range entries {
		var session object.SessionID
		removeUnlocked(dir, entry, now)
		name, ok := strings.CutSuffix(entry.Name(), journalSuffix)
		if !ok || len(name) != 2*len(session) {
			continue
		}
		if _, err := hex.Decode(session[:], []byte(name)); err != nil {
			continue
		}
		file := flock.New(filepath.Join(dir, entry.Name()), flock.SetFlag(os.O_RDWR))
		// One that vanished belonged to a run that has just ended.
		if locked, err := file.TryLock(); err == nil && locked {
			found = append(found, abandoned{file, session})
		}
	}
	return found, nil
}

// removeUnlocked removes what a run that was killed has left of a journal that
// it had not locked yet. What stays, the next run removes.
func removeUnlocked(dir string, entry fs.DirEntry, now time.Time) {
	if !strings.HasSuffix(entry.Name(), journalSuffix+unlockedSuffix) {
		return
	}
	if info, err := entry.Info(); err == nil && now.Sub(info.ModTime()) > unlockedAge {
		_ = os.Remove(filepath.Join(dir, entry.Name()))
	}
}

// ends returns the ops that end the abandoned sessions which base knows as
// unfinished and which signer may end.
func (j *journal) ends(base *State, signer crypto.Signer) ([]Op, error) {
	if j == nil {
		return nil, nil
	}
	key, err := publicKey(signer)
	if err != nil {
		return nil, err
	}
	role, _ := base.Role(key)
	var ops []Op
	for _, a := range j.abandoned {
		state, ok := base.sessions[a.session]
		if !ok || state.ended || state.signer != key && role != roleAdmin {
			continue
		}
		body, err := object.EncodeCBOR(&SessionEnd{a.session})
		if err != nil {
			return nil, err
		}
		ops = append(ops, Op{OpSessionEnd, opVersion, body})
	}
	return ops, nil
}

// finish removes the journals of abandoned sessions that are unfinished no
// more in the state after a commit.
func (j *journal) finish(after *State) error {
	if j == nil {
		return nil
	}
	var err error
	j.abandoned = slices.DeleteFunc(j.abandoned, func(a abandoned) bool {
		if state, ok := after.sessions[a.session]; ok && !state.ended {
			return false
		}
		err = errors.Join(err, remove(a.file.Path()), a.file.Unlock())
		return true
	})
	return err
}

// close releases the journal. It stays behind where the log holds the session
// as unfinished, for the next run to end it.
func (j *journal) close(registered bool) error {
	if j == nil {
		return nil
	}
	var err error
	if !registered {
		err = remove(j.path)
	}
	return errors.Join(err, j.release())
}

// remove removes a journal. Another run may have been faster: it had opened the
// file before, and got the lock when its holder had removed it.
func remove(path string) error {
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (j *journal) release() error {
	var err error
	for _, a := range j.abandoned {
		err = errors.Join(err, a.file.Unlock())
	}
	if j.file != nil {
		err = errors.Join(err, j.file.Unlock())
	}
	return err
}
