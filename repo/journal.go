package repo

import (
	"crypto"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"bluesky/journal"
	"bluesky/object"
)

// A sessionJournal is how the runs of one machine know of each other:
// <state>/sessions/<session>.journal, locked by flock(2) while its run lives,
// with a record for each segment that the run has uploaded. Who can lock
// another's has found the remains of a run that did not end well: it takes over
// what that one has uploaded, and ends its session in the log (R10). A nil one
// is that of a machine that keeps no state.
type sessionJournal struct {
	own       *journal.File
	abandoned []*abandoned
}

// abandoned is a session whose run is gone; its lock is held here, so that no
// two runs end it.
type abandoned struct {
	file    *journal.File
	session object.SessionID
	uploads []upload
	// settled: each of its uploads is registered, or of no use.
	settled bool
}

const (
	journalSuffix = ".journal"
	// journalAge is how old a journal gets: after that time a cleaner takes for
	// orphans what nobody has registered.
	journalAge = 7 * 24 * time.Hour
	// unlockedAge is that of a journal over whose making a run was killed: no run
	// takes a part of it from open to rename.
	unlockedAge = time.Hour
)

// openJournal creates and locks the journal of a new session and picks up
// those that earlier runs have left.
func openJournal(r *Repo, session object.SessionID, signer crypto.Signer) (*sessionJournal, error) {
	if r.options.StateDir == "" {
		return nil, nil
	}
	key, err := publicKey(signer)
	if err != nil {
		return nil, err
	}
	format := func(session object.SessionID) journal.Format {
		return journalFormat(r.config.ID, session, signatures{signer, key})
	}
	dir := filepath.Join(r.options.StateDir, "sessions")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	j := &sessionJournal{}
	if j.abandoned, err = findAbandoned(dir, r.options.Now(), format); err != nil {
		return nil, err
	}
	j.own, err = journal.Create(filepath.Join(dir, session.String()+journalSuffix), format(session))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("session journal: %w", err), j.release())
	}
	return j, nil
}

// findAbandoned locks and reads every journal that no live run holds.
func findAbandoned(dir string, now time.Time, format func(object.SessionID) journal.Format) ([]*abandoned, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var found []*abandoned
	for _, entry := range entries {
		var session object.SessionID
		removeUnlocked(dir, entry, now)
		name, ok := strings.CutSuffix(entry.Name(), journalSuffix)
		if !ok || hexField(session[:], name) != nil {
			continue
		}
		// One that vanished belonged to a run that has just ended.
		if file, err := journal.Open(filepath.Join(dir, entry.Name()), format(session), false); err == nil {
			a := &abandoned{file: file, session: session}
			a.read(now)
			found = append(found, a)
		}
	}
	return found, nil
}

// removeUnlocked removes what a run that was killed has left of a journal that
// it had not locked yet. What stays, the next run removes.
func removeUnlocked(dir string, entry fs.DirEntry, now time.Time) {
	if !strings.HasSuffix(entry.Name(), journalSuffix+journal.UnlockedSuffix) {
		return
	}
	if info, err := entry.Info(); err == nil && now.Sub(info.ModTime()) > unlockedAge {
		_ = os.Remove(filepath.Join(dir, entry.Name()))
	}
}

// read reads the uploads. A journal that another key or a newer bluesky has
// written is left to them until it is old.
func (a *abandoned) read(now time.Time) {
	age, err := a.file.Age(now)
	if a.settled = err == nil && age > journalAge; a.settled {
		return
	}
	err = a.file.Scan(func(_ int64, body []byte) {
		var u upload
		if object.DecodeCBOR(body, &u) == nil {
			a.uploads = append(a.uploads, u)
		}
	})
	a.settled = err == nil && len(a.uploads) == 0
}

// record notes that u is in the bucket.
func (j *sessionJournal) record(u upload) error {
	if j == nil {
		return nil
	}
	body, err := object.EncodeCBOR(&u)
	if err == nil {
		err = j.own.Append(body)
	}
	return err
}

// ends returns the ops that end the abandoned sessions which base knows as
// unfinished and which signer may end.
func (j *sessionJournal) ends(base *State, signer crypto.Signer) ([]Op, error) {
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

// finish removes the journals of abandoned sessions that are of no more use
// after a commit: their uploads are settled, and their sessions not unfinished.
func (j *sessionJournal) finish(after *State) error {
	if j == nil {
		return nil
	}
	var err error
	j.abandoned = slices.DeleteFunc(j.abandoned, func(a *abandoned) bool {
		if state, ok := after.sessions[a.session]; !a.settled || ok && !state.ended {
			return false
		}
		err = errors.Join(err, a.file.Remove(), a.file.Close())
		return true
	})
	return err
}

// close releases the journal. It stays behind, for the next run, if keep says
// that this one has left something to it.
func (j *sessionJournal) close(keep bool) error {
	if j == nil {
		return nil
	}
	var err error
	if !keep {
		err = j.own.Remove()
	}
	return errors.Join(err, j.release())
}

func (j *sessionJournal) release() error {
	var err error
	for _, a := range j.abandoned {
		err = errors.Join(err, a.file.Close())
	}
	if j.own != nil {
		err = errors.Join(err, j.own.Close())
	}
	return err
}
