package check

import (
	"context"
	"errors"
	"fmt"

	"bluesky/object"
	"bluesky/repo"
	"bluesky/seal"
	"bluesky/store"
)

// checkLog reads the whole log and verifies it.
func (c *checker) checkLog(ctx context.Context) error {
	c.progress.Phase("read the log", 0)
	audit, err := c.repo.Audit(ctx, func(f repo.Finding) {
		severity := Error
		if f.Harmless {
			severity = Note
		}
		c.book.add(severity, f.Key, f.Err.Error())
	})
	if err != nil {
		if ctx.Err() == nil && isDamage(err) {
			c.book.add(Error, repo.ConfigKey, err.Error())
		}
		return fmt.Errorf("read the log: %w", err)
	}
	c.state, c.checkpoints = audit.State, audit.Named
	c.counts.generations, c.counts.checkpoints = audit.Generations, audit.Checkpoints
	c.bytes.Add(audit.Bytes)
	if audit.State.Generation < audit.Head {
		c.book.add(Error, repo.GenerationKey(audit.Head), fmt.Sprintf(
			"the log cannot be read beyond generation %d: what the generations up to %d add is not checked",
			audit.State.Generation, audit.Head))
	}
	if audit.State.ReadOnly() {
		c.book.add(Error, repo.GenerationKey(audit.State.Unknown[0].Generation), fmt.Sprintf(
			"it holds %s, which this program does not know (%d such ops): upgrade to check this repository",
			audit.State.Unknown[0].Op.Type, len(audit.State.Unknown)))
	}
	return nil
}

// checkSlots checks the form of the key slots and, with the key, that they
// belong to it.
func (c *checker) checkSlots(ctx context.Context) error {
	opened := 0
	for _, slot := range c.listed.slots {
		key := slotKey(slot)
		data, err := c.store.Get(ctx, key, maxSlot)
		if err == nil {
			c.bytes.Add(uint64(len(data)))
			err = c.checkSlot(slot, data)
		}
		switch {
		case err == nil:
			opened++
		case errors.Is(err, store.ErrNotFound): // removed since it was listed
		case errors.Is(err, errStranger):
			c.book.add(Warning, key, err.Error())
		case errors.Is(err, object.ErrVersion):
			c.book.add(Note, key, "it is of a newer version, which this program cannot judge")
		default:
			if err := c.failed(ctx, key, nil, err); err != nil {
				return err
			}
		}
	}
	c.counts.slots = opened
	if opened == 0 {
		c.book.add(Error, "keys/", "there is no key slot that is right: no password opens this repository")
	}
	return nil
}

const maxSlot = 64 << 10

var errStranger = errors.New("it does not belong to this key: an interrupted init left it, or it was damaged")

// checkSlot judges a slot as far as can be without its password.
func (c *checker) checkSlot(slot seal.SlotID, data []byte) error {
	// No memory is enough for Argon2, which runs only when all else is right.
	_, err := seal.OpenSlot(slot, data, c.state.Repository, nil, 0)
	if !errors.Is(err, seal.ErrMemory) {
		return err
	}
	if c.keys == nil {
		return nil
	}
	if _, err := c.keys.SlotInfo(slot, data); err != nil {
		return errStranger
	}
	return nil
}
