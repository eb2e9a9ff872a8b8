package cmd

import "time"

// backupStatus is restic's JSON status message of backup.
func backupStatus(c counts, elapsed time.Duration) any {
	return struct {
		MessageType      string   `json:"message_type"`
		SecondsElapsed   uint64   `json:"seconds_elapsed,omitempty"`
		SecondsRemaining uint64   `json:"seconds_remaining,omitempty"`
		PercentDone      float64  `json:"percent_done"`
		TotalFiles       uint64   `json:"total_files,omitempty"`
		FilesDone        uint64   `json:"files_done,omitempty"`
		TotalBytes       uint64   `json:"total_bytes,omitempty"`
		BytesDone        uint64   `json:"bytes_done,omitempty"`
		ErrorCount       uint64   `json:"error_count,omitempty"`
		CurrentFiles     []string `json:"current_files,omitempty"`
	}{
		"status", seconds(elapsed), seconds(c.remaining(elapsed)), c.percent(),
		c.itemsTotal, c.itemsDone, c.bytesTotal, c.bytesDone, c.errors, c.current,
	}
}

// restoreStatus is restic's JSON status message of restore.
func restoreStatus(c counts, elapsed time.Duration) any {
	return struct {
		MessageType    string  `json:"message_type"`
		SecondsElapsed uint64  `json:"seconds_elapsed,omitempty"`
		PercentDone    float64 `json:"percent_done"`
		TotalFiles     uint64  `json:"total_files,omitempty"`
		FilesRestored  uint64  `json:"files_restored,omitempty"`
		TotalBytes     uint64  `json:"total_bytes,omitempty"`
		BytesRestored  uint64  `json:"bytes_restored,omitempty"`
	}{
		"status", seconds(elapsed), c.percent(),
		c.itemsTotal, c.itemsDone, c.bytesTotal, c.bytesDone,
	}
}

func seconds(d time.Duration) uint64 { return uint64(max(d, 0) / time.Second) }
