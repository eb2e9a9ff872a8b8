package repo

import (
	"bytes"
	"maps"
	"testing"

	"bluesky/object"
)

// defects returns vectors that have one defect each, made of valid ones.
func defects(t testing.TB, valid map[string][]byte) map[string][]byte {
	t.Helper()
	d := defector{t, valid, map[string][]byte{}}
	d.generations()
	d.checkpoints()
	d.cleanedCheckpoints()
	d.cleanBodies()
	d.statements()
	d.bodies()
	d.localFiles()
	return d.made
}

type defector struct {
	t     testing.TB
	valid map[string][]byte
	made  map[string][]byte
}

// edit makes a vector of another by changing the members of its record, which
// is encoded as it should be.
func (d *defector) edit(name, of string, fn func(m map[uint64]any)) {
	d.t.Helper()
	var m map[uint64]any
	if err := object.DecodeCBOR(d.valid[of], &m); err != nil {
		d.t.Fatalf("%s: %v", of, err)
	}
	fn(m)
	data, err := object.EncodeCBOR(m)
	if err != nil {
		d.t.Fatal(err)
	}
	d.made[name] = data
}

// raw makes a vector of another by replacing bytes, which stand there first.
func (d *defector) raw(name, of string, old, new []byte) {
	d.t.Helper()
	if !bytes.Contains(d.valid[of], old) {
		d.t.Fatalf("%s does not hold %x", of, old)
	}
	d.made[name] = bytes.Replace(d.valid[of], old, new, 1)
}

func (d *defector) generations() {
	const of = "valid-generation-ops"
	d.edit("corrupt-generation-unknown-member", of, func(m map[uint64]any) { m[10] = 1 })
	d.edit("corrupt-generation-no-version", of, func(m map[uint64]any) { delete(m, 1) })
	d.edit("corrupt-generation-no-previous", of, func(m map[uint64]any) { delete(m, 3) })
	d.edit("corrupt-generation-no-nonce", of, func(m map[uint64]any) { delete(m, 5) })
	d.edit("corrupt-generation-previous-of-31", of, func(m map[uint64]any) { m[3] = make([]byte, 31) })
	d.edit("corrupt-generation-author-of-33", of, func(m map[uint64]any) { m[4] = make([]byte, 33) })
	d.edit("corrupt-generation-number-as-text", of, func(m map[uint64]any) { m[2] = "3" })
	d.edit("corrupt-generation-number-negative", of, func(m map[uint64]any) { m[2] = -3 })
	d.edit("corrupt-generation-number-0-written", of, func(m map[uint64]any) { m[2] = 0 })
	d.edit("corrupt-generation-floor-0-written", of, func(m map[uint64]any) { m[7] = 0 })
	d.edit("corrupt-generation-no-ops-written", of, func(m map[uint64]any) { m[8] = []any{} })
	d.edit("corrupt-generation-op-type-of-17-bits", of, func(m map[uint64]any) {
		m[8] = []any{map[uint64]any{1: 1 << 16, 2: 1, 3: []byte{1}}}
	})
	d.edit("corrupt-generation-op-without-body", of, func(m map[uint64]any) { m[8] = []any{map[uint64]any{1: 10, 2: 1}} })
	d.edit("corrupt-generation-checkpoint-empty", of, func(m map[uint64]any) { m[6] = map[uint64]any{} })
	d.edit("corrupt-generation-signature-of-63", of, func(m map[uint64]any) { m[9] = make([]byte, 63) })
	d.raw("corrupt-generation-long-version", of, []byte{0x01, 0x01}, []byte{0x01, 0x18, 0x01})
	d.raw("corrupt-generation-version-twice", of, []byte{0x01, 0x01}, []byte{0x01, 0x01, 0x01, 0x01})
	d.made["corrupt-generation-ops-past-end"] = []byte{0xa2, 0x01, 0x01, 0x08, 0x9a, 0x00, 0xff, 0xff, 0xff}
}

func (d *defector) checkpoints() {
	const of = "valid-checkpoint-full"
	entry := func(m map[uint64]any, key uint64, i int) map[any]any { return m[key].([]any)[i].(map[any]any) }
	d.edit("corrupt-checkpoint-unknown-member", of, func(m map[uint64]any) { m[99] = 1 })
	d.edit("corrupt-checkpoint-no-repository", of, func(m map[uint64]any) { delete(m, 2) })
	d.edit("corrupt-checkpoint-hash-of-33", of, func(m map[uint64]any) { m[4] = make([]byte, 33) })
	d.edit("corrupt-checkpoint-floor-0-written", of, func(m map[uint64]any) { m[8] = 0 })
	d.edit("corrupt-checkpoint-of-its-own-checkpoint", of, func(m map[uint64]any) { m[7].(map[any]any)[uint64(1)] = m[3] })
	d.edit("corrupt-checkpoint-another-repository", of, func(m map[uint64]any) { m[2] = make([]byte, 16) })
	d.edit("corrupt-checkpoint-admin-of-no-role", of, func(m map[uint64]any) { m[6] = bytes.Repeat([]byte{7}, 32) })
	d.edit("corrupt-checkpoint-role-later-than-it", of, func(m map[uint64]any) { entry(m, 9, len(m[9].([]any))-1)[uint64(1)] = 1000 })
	d.edit("corrupt-checkpoint-statement-signature", of, func(m map[uint64]any) {
		op := entry(m, 10, 0)[uint64(2)].(map[any]any)
		body := bytes.Clone(op[uint64(3)].([]byte))
		body[len(body)-1] ^= 1
		op[uint64(3)] = body
	})
	d.edit("corrupt-checkpoint-run-among-roles", of, func(m map[uint64]any) { m[9] = m[10] })
	d.edit("corrupt-checkpoint-run-twice", of, func(m map[uint64]any) {
		runs := m[10].([]any)
		m[10] = append([]any{runs[0]}, runs...)
	})
	d.edit("corrupt-checkpoint-sessions-out-of-order", of, func(m map[uint64]any) {
		s := m[12].([]any)
		s[0], s[1] = s[1], s[0]
	})
	d.edit("corrupt-checkpoint-condemned-twice", of, func(m map[uint64]any) { m[13].([]any)[1] = m[13].([]any)[0] })
	d.edit("corrupt-checkpoint-unknown-op-is-known", of, func(m map[uint64]any) { m[14] = m[10] })
	d.made["corrupt-checkpoint-runs-past-end"] = []byte{0xa2, 0x01, 0x01, 0x0a, 0x9a, 0x00, 0xff, 0xff, 0xff}
}

func (d *defector) statements() {
	const of = "valid-statement-addrun"
	d.edit("corrupt-statement-unknown-member", of, func(m map[uint64]any) { m[7] = 1 })
	d.edit("corrupt-statement-no-sequence", of, func(m map[uint64]any) { delete(m, 4) })
	d.edit("corrupt-statement-no-signature", of, func(m map[uint64]any) { delete(m, 6) })
	d.edit("corrupt-statement-session-of-15", of, func(m map[uint64]any) { m[2] = make([]byte, 15) })
	d.edit("corrupt-statement-body-as-text", of, func(m map[uint64]any) { m[5] = "body" })
	d.raw("corrupt-statement-long-sequence", of, []byte{0x04, 0x01}, []byte{0x04, 0x18, 0x01})
	d.made["corrupt-statement-body-past-end"] = []byte{0xa1, 0x05, 0x5a, 0x7f, 0xff, 0xff, 0xff}
}

func (d *defector) bodies() {
	d.edit("corrupt-addsnapshot-unknown-member", "valid-addsnapshot-full", func(m map[uint64]any) { m[7] = 1 })
	d.edit("corrupt-addsnapshot-no-root", "valid-addsnapshot-full", func(m map[uint64]any) { delete(m, 2) })
	d.edit("corrupt-addsnapshot-no-time", "valid-addsnapshot-full", func(m map[uint64]any) { delete(m, 3) })
	d.edit("corrupt-addsnapshot-time-of-3", "valid-addsnapshot-full", func(m map[uint64]any) { m[3] = []any{1, 1, 1} })
	d.edit("corrupt-addsnapshot-not-pinned-written", "valid-addsnapshot-full", func(m map[uint64]any) { m[5] = false })
	d.edit("corrupt-addsnapshot-empty-summary-written", "valid-addsnapshot-full", func(m map[uint64]any) { m[6] = []byte{} })
	d.edit("corrupt-addrun-unknown-member", "valid-addrun-1", func(m map[uint64]any) { m[4] = 1 })
	d.edit("corrupt-addrun-hash-of-31", "valid-addrun-1", func(m map[uint64]any) { m[3] = make([]byte, 31) })
	d.edit("corrupt-addrun-size-negative", "valid-addrun-1", func(m map[uint64]any) { m[2] = -1 })
	d.edit("corrupt-sessionend-of-15", "valid-sessionend-1", func(m map[uint64]any) { m[1] = make([]byte, 15) })
	d.edit("corrupt-sessionend-unknown-member", "valid-sessionend-1", func(m map[uint64]any) { m[2] = 1 })
	d.edit("corrupt-role-of-nine-bits", "valid-role-granted", func(m map[uint64]any) { m[2] = 256 })
	d.edit("corrupt-role-not-removed-written", "valid-role-granted", func(m map[uint64]any) { m[3] = false })
	d.edit("corrupt-role-key-of-31", "valid-role-granted", func(m map[uint64]any) { m[1] = make([]byte, 31) })
	d.edit("corrupt-checkpointref-no-hash", "valid-checkpointref-1", func(m map[uint64]any) { delete(m, 3) })
	d.edit("corrupt-checkpointref-name-of-17", "valid-checkpointref-1", func(m map[uint64]any) { m[2] = make([]byte, 17) })
}

func (d *defector) localFiles() {
	for kind, good := range localFiles(d.t) {
		text := func(name, old, new string) {
			if !bytes.Contains(good, []byte(old)) {
				d.t.Fatalf("%s: no %s", kind, old)
			}
			d.made[name] = bytes.Replace(good, []byte(old), []byte(new), 1)
		}
		d.made["valid-"+kind+"-1"] = good
		text("version-"+kind+"-2", `"version": 1`, `"version": 2`)
		text("corrupt-"+kind+"-version-0", `"version": 1`, `"version": 0`)
		text("corrupt-"+kind+"-format", `"bluesky `, `"another `)
		text("corrupt-"+kind+"-admin-short", `"admin": "02`, `"admin": "`)
		text("corrupt-"+kind+"-admin-upper-case", `"admin": "02`, `"admin": "0A`)
		text("corrupt-"+kind+"-unknown-member", `"version": 1,`, "\"version\": 1,\n  \"more\": 1,")
		text("corrupt-"+kind+"-member-twice", `"version": 1,`, "\"version\": 1,\n  \"version\": 1,")
		text("corrupt-"+kind+"-behind", "\n}\n", "\n}\n\n")
		text("corrupt-"+kind+"-cut", "\n}\n", "\n")
	}
}

// withDefects adds them.
func withDefects(t testing.TB, vectors map[string][]byte) map[string][]byte {
	t.Helper()
	for name := range defects(t, vectors) {
		if _, twice := vectors[name]; twice {
			t.Fatalf("two vectors %s", name)
		}
	}
	maps.Copy(vectors, defects(t, vectors))
	return vectors
}
