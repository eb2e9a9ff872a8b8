//go:build !linux

package local

import (
	"errors"
	"fmt"
	"os"
)

// The calls that only Linux has. Elsewhere a named temporary file and link(2)
// create a name as exclusively; a crash may leave the temporary file.

func (d *osDir) CreateUnnamed() (File, error) {
	return nil, fmt.Errorf("unnamed file: %w", errors.ErrUnsupported)
}

func (d *osDir) LinkUnnamed(_ File, name string) error {
	return fmt.Errorf("link %s: %w", name, errors.ErrUnsupported)
}

func (d *osDir) RenameNew(_, newName string) error {
	return fmt.Errorf("exclusive rename to %s: %w", newName, errors.ErrUnsupported)
}

func outsideRoot(f *os.File) (*os.File, error) { return f, nil }

func syncData(f *os.File) error { return f.Sync() }
