package cmd

import (
	"bluesky/backup"
)

// backupProgress shows what a backup does: the status line, the items with -v,
// and the errors.
type backupProgress struct {
	*progress
	env *env
}

var _ backup.Progress = backupProgress{}

func newBackupProgress(e *env) backupProgress {
	return backupProgress{e.progress(progressSpec{title: "backup", status: backupStatus}), e}
}

func (p backupProgress) File(path string, _ uint64) { p.Begin(path) }
func (p backupProgress) Bytes(n int)                { p.Advance(uint64(n)) }
func (p backupProgress) FileDone(path string)       { p.End(path) }

func (p backupProgress) Item(path string, change backup.Change, dir bool, size uint64) {
	if !dir {
		p.Done(1)
	}
	if p.env.settings.Verbose < 1 || change == backup.Unmodified && p.env.settings.Verbose < 2 {
		return
	}
	if p.env.json() {
		_ = p.env.printJSON(verboseStatus{
			MessageType: "verbose_status", Action: change.String(), Item: path,
			Duration: p.env.now().Sub(p.began).Seconds(), DataSize: size,
		}) // the screen keeps the error
		return
	}
	p.env.message("%-9s  %s", change, quote(path))
}

func (p backupProgress) Error(path string, err error) { p.Fail("archival", path, err) }

func (p backupProgress) Restart(err error) {
	p.update(func(c *counts) { *c = counts{} })
	p.env.warn("starting again: %v", err)
}

type verboseStatus struct {
	MessageType string  `json:"message_type"`
	Action      string  `json:"action"`
	Item        string  `json:"item"`
	Duration    float64 `json:"duration"`
	DataSize    uint64  `json:"data_size"`
}
