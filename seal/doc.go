// Package seal holds the secrets of a repository and everything that needs
// them: the ids of objects, their sealing and opening, the keyed hashes that
// place cuts and name series, the keys that sign for a role, and the key slots
// that wrap the root secret under a password.
//
// docs/format.md is the specification ("Keys", "Objects"); testdata/vectors
// holds it and this code to the same answers. What holds throughout:
//
//   - One root secret derives every key. It never leaves a [Keys] or a
//     [Bundle], and neither prints it.
//   - Nothing that was stored is believed before it is authenticated, and
//     nothing that was authenticated is returned before its id is recomputed.
//   - Errors name objects, never keys, passwords or plaintext.
//   - Secrets are not wiped from memory: Go's collector copies and keeps what
//     it likes. Whoever reads this process's memory has the keys.
//
// A sealed object, from the inside out:
//
//	payload → zstd when shorter → codec, length, zeros to Padmé
//	        → AES-256-GCM under a key of its own (session secret, kind, id)
//	        → nonce ‖ ciphertext ‖ tag
//
// It is bound to its repository, session, kind, id and refs, and not to its
// place: whoever has no key can move it, and nobody can exchange it.
package seal
