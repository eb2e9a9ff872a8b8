package restore

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"bluesky/tree"

	"golang.org/x/sys/unix"
)

const (
	xattrAccess     = "system.posix_acl_access"
	xattrDefault    = "system.posix_acl_default"
	xattrCapability = "security.capability"
)

// A stage is when an attribute is set.
type stage int

const (
	beforeMode stage = iota
	accessList
	capability
)

func stageOf(name string) stage {
	switch name {
	case xattrAccess, xattrDefault:
		return accessList
	case xattrCapability:
		return capability
	}
	return beforeMode
}

// An xattrError is one of setting an attribute. Its numbers mean other things
// than those of a write.
type xattrError struct {
	name string
	err  error
}

func (e *xattrError) Error() string { return fmt.Sprintf("extended attribute %q: %v", e.name, e.err) }
func (e *xattrError) Unwrap() error { return e.err }

// An attribute is one that is to be set.
type attribute struct {
	name  string
	value []byte
}

// loadAttributes returns the attributes that e should have. It leaves out those
// that cannot be read, for the error.
func (s *restorer) loadAttributes(e entry, in *tree.Inode) ([]attribute, error) {
	var list []attribute
	var failed []error
	for i := range in.Xattrs {
		x := &in.Xattrs[i]
		if x.Name == xattrCapability && !s.special {
			s.warn(e.path(), fmt.Errorf("its capabilities are left out: %w", errSpecial))
			continue
		}
		value, err := x.Load(s.ctx, s.source, s.params)
		if err != nil {
			failed = append(failed, err)
			continue
		}
		list = append(list, attribute{x.Name, value})
	}
	return list, errors.Join(failed...)
}

// setAttributes sets the attributes of one stage. What only root may set, and
// what the file system does not have, is a warning.
func (s *restorer) setAttributes(e entry, list []attribute, when stage) error {
	var failed []error
	for _, x := range list {
		if stageOf(x.name) != when {
			continue
		}
		err := e.setAttribute(x)
		if err == nil {
			continue
		}
		problem := &xattrError{x.name, err}
		if errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.EPERM) && privileged(x.name) {
			s.warn(e.path(), problem)
		} else {
			failed = append(failed, problem)
		}
	}
	return errors.Join(failed...)
}

// privileged reports whether only the system, or root, may set the attribute.
func privileged(name string) bool {
	return strings.HasPrefix(name, "trusted.") || strings.HasPrefix(name, "security.")
}

// removeOthers removes attributes that the snapshot does not have: they were
// there before, or come of the default ACL of a directory above. Those by which
// the system labels every file stay.
func removeOthers(e entry, in *tree.Inode) error {
	names, err := e.listAttributes()
	if err != nil {
		return fmt.Errorf("list extended attributes: %w", err)
	}
	var failed []error
	for _, name := range names {
		if !removable(name) || hasAttribute(in, name) {
			continue
		}
		err := e.removeAttribute(name)
		if err != nil && !errors.Is(err, unix.ENODATA) {
			failed = append(failed, &xattrError{name, fmt.Errorf("remove: %w", err)})
		}
	}
	return errors.Join(failed...)
}

func removable(name string) bool {
	return strings.HasPrefix(name, "user.") || strings.HasPrefix(name, "trusted.") || stageOf(name) != beforeMode
}

func hasAttribute(in *tree.Inode, name string) bool {
	return slices.ContainsFunc(in.Xattrs, func(x tree.Xattr) bool { return x.Name == name })
}

// The calls that take a descriptor refuse one of O_PATH; there the way leads
// over /proc, which ends at the file itself, be it a link.

func (e entry) setAttribute(x attribute) error {
	if e.byPath {
		return unix.Setxattr(procPath(e.fd), x.name, x.value, 0)
	}
	return unix.Fsetxattr(e.fd, x.name, x.value, 0)
}

func (e entry) removeAttribute(name string) error {
	if e.byPath {
		return unix.Removexattr(procPath(e.fd), name)
	}
	return unix.Fremovexattr(e.fd, name)
}

func (e entry) listInto(buffer []byte) (int, error) {
	if e.byPath {
		return unix.Listxattr(procPath(e.fd), buffer)
	}
	return unix.Flistxattr(e.fd, buffer)
}

// listAttributes returns the names of all attributes.
func (e entry) listAttributes() ([]string, error) {
	for {
		n, err := e.listInto(nil)
		if errors.Is(err, unix.ENOTSUP) || err == nil && n == 0 {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		buffer := make([]byte, n)
		n, err = e.listInto(buffer)
		if errors.Is(err, unix.ERANGE) {
			continue // there are more by now
		}
		if err != nil || n == 0 {
			return nil, err
		}
		return strings.Split(string(bytes.TrimSuffix(buffer[:n], []byte{0})), "\x00"), nil
	}
}
