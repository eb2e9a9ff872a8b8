package cmd

import (
	"time"

	"bluesky/object"
	"bluesky/snapshot"
	"bluesky/tree"
)

// The JSON shapes of snapshots and summaries, which are restic's.

// jsonTime converts t to what JSON can hold, years 0 to 9999, as restic does: a
// file may have any time, and one that has is no reason to list nothing.
func jsonTime(t object.Time) time.Time {
	at := t.Time()
	switch year := at.Year(); {
	case year < 0:
		return at.AddDate(-year, 0, 0)
	case year > 9999:
		return at.AddDate(9999-year, 0, 0)
	}
	return at
}

// summaryCounts are the counts of a backup.
type summaryCounts struct {
	BackupStart         time.Time `json:"backup_start"`
	BackupEnd           time.Time `json:"backup_end"`
	FilesNew            uint64    `json:"files_new"`
	FilesChanged        uint64    `json:"files_changed"`
	FilesUnmodified     uint64    `json:"files_unmodified"`
	DirsNew             uint64    `json:"dirs_new"`
	DirsChanged         uint64    `json:"dirs_changed"`
	DirsUnmodified      uint64    `json:"dirs_unmodified"`
	DataBlobs           uint64    `json:"data_blobs"`
	TreeBlobs           uint64    `json:"tree_blobs"`
	DataAdded           uint64    `json:"data_added"`
	DataAddedPacked     uint64    `json:"data_added_packed"`
	TotalFilesProcessed uint64    `json:"total_files_processed"`
	TotalBytesProcessed uint64    `json:"total_bytes_processed"`
}

func countsOf(c *tree.Counts) summaryCounts {
	return summaryCounts{
		BackupStart: jsonTime(c.BackupStart), BackupEnd: jsonTime(c.BackupEnd),
		FilesNew: c.FilesNew, FilesChanged: c.FilesChanged, FilesUnmodified: c.FilesUnmodified,
		DirsNew: c.DirsNew, DirsChanged: c.DirsChanged, DirsUnmodified: c.DirsUnmodified,
		DataBlobs: c.DataBlobs, TreeBlobs: c.TreeBlobs,
		DataAdded: c.DataAdded, DataAddedPacked: c.DataAddedPacked,
		TotalFilesProcessed: c.TotalFilesProcessed, TotalBytesProcessed: c.TotalBytesProcessed,
	}
}

// backupSummary is the last message of backup.
type backupSummary struct {
	MessageType string `json:"message_type"`
	DryRun      bool   `json:"dry_run,omitempty"`
	summaryCounts
	// Taken over from a backup that was interrupted; in bytes but for the files.
	FilesResumed  uint64  `json:"files_resumed,omitempty"`
	BytesResumed  uint64  `json:"bytes_resumed,omitempty"`
	UploadResumed uint64  `json:"upload_resumed,omitempty"`
	TotalDuration float64 `json:"total_duration"` // seconds
	SnapshotID    string  `json:"snapshot_id,omitempty"`
}

// snapshotShape is a snapshot, as snapshots, ls and cat print it.
type snapshotShape struct {
	Time           time.Time     `json:"time"`
	Parent         string        `json:"parent,omitempty"`
	Tree           string        `json:"tree"` // the root of the inode map
	Paths          []string      `json:"paths"`
	Hostname       string        `json:"hostname,omitempty"`
	Username       string        `json:"username,omitempty"`
	UID            uint32        `json:"uid,omitempty"`
	GID            uint32        `json:"gid,omitempty"`
	Excludes       []string      `json:"excludes,omitempty"`
	Tags           []string      `json:"tags,omitempty"`
	Description    string        `json:"description,omitempty"` // not restic's
	ProgramVersion string        `json:"program_version,omitempty"`
	Summary        summaryCounts `json:"summary"`
	Pinned         bool          `json:"pinned,omitempty"` // not restic's
	ID             string        `json:"id"`
	ShortID        string        `json:"short_id"`
}

func shapeOf(id, root object.ID, r *tree.Snapshot) snapshotShape {
	return snapshotShape{
		Time: jsonTime(r.Time), Parent: idOrEmpty(r.Parent), Tree: root.String(),
		Paths: r.Paths, Hostname: r.Host, Username: r.User, UID: r.UID, GID: r.GID,
		Excludes: r.Excludes, Tags: r.Tags, Description: r.Description, ProgramVersion: r.Program,
		Summary: countsOf(&r.Counts), ID: id.String(), ShortID: id.Short(),
	}
}

func snapshotShapeOf(s *snapshot.Snapshot) snapshotShape {
	shape := shapeOf(s.ID, s.Root, &s.Record)
	shape.Pinned = s.Pinned
	return shape
}

func idOrEmpty(id object.ID) string {
	if id.IsZero() {
		return ""
	}
	return id.String()
}
