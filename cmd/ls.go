package cmd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"bluesky/tree"
)

func newLsCommand(e *env) *cobra.Command {
	l := lister{found: map[string]bool{}}
	cmd := &cobra.Command{
		Use:   "ls [flags] SNAPSHOT [DIR ...]",
		Short: "List the files of a snapshot",
		Long: `List the files of a snapshot, named by its id or "latest": all of them, or those
in the given directories.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errors.New(`name a snapshot: an id, or "latest"`)
			}
			for _, dir := range args[1:] {
				if !path.IsAbs(dir) {
					return fmt.Errorf("%s is no path of a snapshot: they begin with a slash", quote(dir))
				}
			}
			return nil
		},
	}
	filter := addSnapshotFilter(cmd.Flags(), e.getenv)
	cmd.Flags().BoolVarP(&l.long, "long", "l", false, "show mode, owner, size and time as well")
	cmd.Flags().BoolVar(&l.recursive, "recursive", false, "show what is below the given directories, too")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		o, err := e.openToRead(cmd.Context())
		if err != nil {
			return err
		}
		defer o.close()
		for _, dir := range args[1:] {
			l.dirs = append(l.dirs, path.Clean("/"+dir))
		}
		return l.list(cmd.Context(), o, args[0], filter)
	}
	return cmd
}

// A lister prints the entries of a snapshot.
type lister struct {
	env             *env
	dirs            []string // absolute; none for everything
	long, recursive bool
	found           map[string]bool // of dirs
}

func (l *lister) list(ctx context.Context, o *opened, name string, filter *snapshotFilter) error {
	l.env = o.env
	s, err := o.snapshot(ctx, name, filter)
	if err != nil {
		return err
	}
	if l.env.json() {
		err := l.env.printJSON(lsSnapshot{snapshotShapeOf(s), "snapshot", "snapshot"})
		if err != nil {
			return err
		}
	} else {
		l.env.message("%s:", describe(s))
	}
	err = tree.Walk(ctx, o.inodes(s), func(names []string, in *tree.Inode) error {
		full := "/" + strings.Join(names, "/")
		if slices.Contains(l.dirs, full) {
			l.found[full] = true
		}
		if len(names) == 0 {
			return nil // it has no name to show
		}
		if l.wants(full) {
			if err := l.print(full, in); err != nil {
				return err
			}
		}
		if in.Type == tree.TypeDir && !l.descends(full) {
			return tree.SkipDir
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, dir := range l.dirs {
		if !l.found[dir] {
			return withHint(fmt.Errorf("%s is not in snapshot %s", quote(dir), s.ID.Short()), "bluesky ls %s shows what is", s.ID.Short())
		}
	}
	return nil
}

// wants reports whether the entry at full is to be shown.
func (l *lister) wants(full string) bool {
	if len(l.dirs) == 0 {
		return true
	}
	for _, dir := range l.dirs {
		if full == dir || path.Dir(full) == dir || l.recursive && below(full, dir) {
			return true
		}
	}
	return false
}

// descends reports whether something below the directory full may be shown.
func (l *lister) descends(full string) bool {
	if len(l.dirs) == 0 {
		return true
	}
	for _, dir := range l.dirs {
		if full == dir || below(dir, full) || l.recursive && below(full, dir) {
			return true
		}
	}
	return false
}

// below reports whether the path full leads below dir.
func below(full, dir string) bool {
	return strings.HasPrefix(full, strings.TrimSuffix(dir, "/")+"/")
}

func (l *lister) print(full string, in *tree.Inode) error {
	if l.env.json() {
		return l.env.printJSON(nodeOf(full, in))
	}
	shown := quote(full)
	if !l.long {
		l.env.printf("%s\n", shown)
		return nil
	}
	if in.Type == tree.TypeSymlink {
		shown += " -> " + quote(in.Target)
	}
	at := "-" // directories above what was backed up have no time
	if !in.Waypoint() {
		at = formatTime(in.MTime.Time().Local())
	}
	l.env.printf("%s %5d %5d %10d %-19s %s\n", fileMode(in), in.UID, in.GID, in.Size, at, shown)
	return nil
}

// nodeOf returns the entry at full as restic prints it.
func nodeOf(full string, in *tree.Inode) lsNode {
	mode := fileMode(in)
	node := lsNode{
		Name: path.Base(full), Type: nodeType(in.Type), Path: full, UID: in.UID, GID: in.GID,
		Mode: mode, Permissions: mode.String(),
		Inode: in.Source, Links: in.Links, Target: in.Target, MessageType: "node", StructType: "node",
	}
	if in.Type == tree.TypeFile {
		node.Size = &in.Size
	}
	if !in.Waypoint() { // which has no times
		node.ModTime, node.ChangeTime = jsonTime(in.MTime), jsonTime(in.CTime)
	}
	if in.ATime != nil {
		at := jsonTime(*in.ATime)
		node.AccessTime = &at
	}
	return node
}

type lsSnapshot struct {
	snapshotShape
	MessageType string `json:"message_type"`
	StructType  string `json:"struct_type"`
}

type lsNode struct {
	Name        string      `json:"name"`
	Type        string      `json:"type"`
	Path        string      `json:"path"`
	UID         uint32      `json:"uid"`
	GID         uint32      `json:"gid"`
	Size        *uint64     `json:"size,omitempty"`
	Mode        fs.FileMode `json:"mode,omitempty"`
	Permissions string      `json:"permissions,omitempty"`
	ModTime     time.Time   `json:"mtime"` // as Go's zero time where there is none
	AccessTime  *time.Time  `json:"atime,omitempty"`
	ChangeTime  time.Time   `json:"ctime"`
	Inode       uint64      `json:"inode,omitempty"`
	Links       uint32      `json:"links,omitempty"`      // not restic's
	Target      string      `json:"linktarget,omitempty"` // not restic's
	MessageType string      `json:"message_type"`
	StructType  string      `json:"struct_type"`
}

// nodeType returns what restic calls a type.
func nodeType(t tree.Type) string {
	switch t {
	case tree.TypeBlockDevice:
		return "dev"
	case tree.TypeCharDevice:
		return "chardev"
	case tree.TypeDir:
		return "dir"
	}
	return t.String()
}

// fileMode returns the mode of in as Go has it.
func fileMode(in *tree.Inode) fs.FileMode {
	mode := fs.FileMode(in.Mode & 0o777)
	for bit, flag := range map[uint32]fs.FileMode{
		0o4000: fs.ModeSetuid, 0o2000: fs.ModeSetgid, 0o1000: fs.ModeSticky,
	} {
		if in.Mode&bit != 0 {
			mode |= flag
		}
	}
	switch in.Type {
	case tree.TypeDir:
		mode |= fs.ModeDir
	case tree.TypeSymlink:
		mode |= fs.ModeSymlink
	case tree.TypeFIFO:
		mode |= fs.ModeNamedPipe
	case tree.TypeSocket:
		mode |= fs.ModeSocket
	case tree.TypeCharDevice:
		mode |= fs.ModeDevice | fs.ModeCharDevice
	case tree.TypeBlockDevice:
		mode |= fs.ModeDevice
	}
	return mode
}
