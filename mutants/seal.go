package main

func sealMutations() []mutation {
	const pkg = "seal"
	const cipher, session, slot = "seal/cipher.go", "seal/session.go", "seal/slotrecord.go"
	const wrap, info, summary, hash = "seal/session.go", "seal/slotinfo.go", "seal/summary.go", "seal/hash.go"
	return []mutation{
		instead("aad of an object without label", cipher, "b = append(b, labelSeal...)", "_ = labelSeal", pkg, "TestObjectVectors"),
		instead("aad of an object without suite", cipher, "b = append(b, suite, byte(o.Kind))", "b = append(b, byte(o.Kind))", pkg, "TestObjectVectors"),
		instead("aad of an object without kind", cipher, "b = append(b, suite, byte(o.Kind))", "b = append(b, suite)", pkg, "TestObjectVectors"),
		without("aad of an object without repository", cipher, "	b = append(b, repo[:]...)\n", pkg, "TestObjectVectors", "TestOpenIsBoundToEverything"),
		without("aad of an object without session", cipher, "	b = append(b, o.Session[:]...)\n", pkg, "TestObjectVectors"),
		without("aad of an object without id", cipher, "	b = append(b, o.ID[:]...)\n", pkg, "TestObjectVectors"),
		instead("aad of an object without refs", cipher, "return object.AppendRefs(b, o.Refs)", "return b", pkg, "TestObjectVectors"),
		instead("key of an object without kind", cipher, "	x[0] = byte(kind)\n", "	_ = kind\n", pkg, "TestObjectVectors"),
		without("key of an object without id", cipher, "	copy(x[1:], id[:])\n", pkg, "TestObjectVectors"),

		instead("secret of a session without epoch", session, "x := binary.LittleEndian.AppendUint32(nil, epoch)", "x := binary.LittleEndian.AppendUint32(nil, 0)", pkg, "TestDerivedSecretsFollowTheFormat"),
		instead("secret of a session without id", session, "append(x, id[:]...)", "x", pkg, "TestDerivedSecretsFollowTheFormat"),
		never("one secret for both classes", session, "class == object.ClassData", pkg, "TestDerivedSecretsFollowTheFormat"),
		without("hpke info without repository", wrap, "	info = append(info, repo[:]...)\n", pkg, "TestHPKESessionIsBoundToItsRow", "TestWrapFollowsTheFormat"),
		without("hpke info without session", wrap, "	info = append(info, row.ID[:]...)\n", pkg, "TestHPKESessionIsBoundToItsRow"),
		without("hpke info without class", wrap, "	info = append(info, byte(row.Class))\n", pkg, "TestHPKESessionIsBoundToItsRow"),
		without("hpke info without epoch", wrap, "	info = binary.LittleEndian.AppendUint32(info, row.Epoch)\n", pkg, "TestHPKESessionIsBoundToItsRow"),
		instead("hpke info without writer", wrap, "return append(info, writer...)", "return info", pkg, "TestHPKESessionIsBoundToItsRow"),
		instead("cache of session secrets ignores the wrap", wrap, "func (c *sessionCache) get(row *object.Session) ([32]byte, bool) {\n", "func (c *sessionCache) get(row *object.Session) ([32]byte, bool) {\n\tfor k, s := range c.secrets {\n\t\tif k.id == row.ID {\n\t\t\treturn s, true\n\t\t}\n\t}\n",
			pkg, "TestHPKESessionIsBoundToItsRow"),

		without("aad of a slot without repository", slot, "	b = append(b, repo[:]...)\n", pkg, "TestSlotFollowsTheFormat", "TestOpenSlotRefuses"),
		without("aad of a slot without id", slot, "	b = append(b, id[:]...)\n", pkg, "TestSlotFollowsTheFormat", "TestOpenSlotRefuses"),
		without("aad of a slot without type", slot, "	b = append(b, byte(r.Type))\n", pkg, "TestSlotFollowsTheFormat"),
		without("aad of a slot without time", slot, "	b = binary.LittleEndian.AppendUint32(b, r.Time)\n", pkg, "TestSlotFollowsTheFormat"),
		without("aad of a slot without memory", slot, "	b = binary.LittleEndian.AppendUint32(b, r.Memory)\n", pkg, "TestSlotFollowsTheFormat"),
		without("aad of a slot without lanes", slot, "	b = append(b, r.Lanes)\n", pkg, "TestSlotFollowsTheFormat"),
		instead("aad of a slot without salt", slot, "return append(b, r.Salt[:]...)", "return b", pkg, "TestSlotFollowsTheFormat"),
		instead("aad of a slot's info without repository", info, "append([]byte(object.Label(\"slot info\")), repo[:]...)", "[]byte(object.Label(\"slot info\"))", pkg, "TestSlotFollowsTheFormat"),
		instead("aad of a slot's info without id", info, "return append(aad, id[:]...)", "return aad", pkg, "TestSlotFollowsTheFormat"),
		instead("aad of a summary without its name", summary, "return append(aad, k.summaryName(session, snapshot)...)", "return aad", pkg, "TestSummaryFollowsTheFormat", "TestSummaryVectors"),
		instead("key of a summary without its name", summary, "kdf(k.meta[:], \"summary\", k.summaryName(session, snapshot), 32)", "kdf(k.meta[:], \"summary\", nil, 32)", pkg, "TestSummaryFollowsTheFormat", "TestSummaryVectors"),
		never("a bundle of another repository is taken", "seal/slot.go", "b.Repository != repo", pkg, "TestOpenSlotFindsBundleOfAnotherRepository"),
		never("a bundle whose admin key is not its root's is taken", "seal/bundle.go", "err := b.check(); err != nil {\n\t\treturn Bundle{}, fmt.Errorf(\"%w: %w\"", pkg, "TestBundleVectors"),
		never("cost parameters of a slot are not capped", "seal/slot.go", "need := uint64(r.Memory) << 10; need > memoryLimit", pkg, "TestOpenSlotRefuses"),

		without("id without label", hash, "	h.WriteString(label)\n", pkg, "TestIDFollowsTheFormat"),
		without("id without kind", hash, "	head[0] = byte(kind)\n", pkg, "TestIDFollowsTheFormat", "TestIDsDiffer"),
		instead("id without refs", hash, "		h.Write(refs[i][:])\n", "		_ = refs[i]\n", pkg, "TestIDFollowsTheFormat", "TestIDsDiffer"),
		without("id without the number of refs", hash, "	binary.LittleEndian.PutUint32(head[1:], uint32(len(refs)))\n", pkg, "TestIDFollowsTheFormat", "TestIDsDiffer"),
		without("id without payload", hash, "	h.Write(payload)\n", pkg, "TestIDFollowsTheFormat", "TestIDsDiffer"),
		instead("one nonce for all objects", "seal/sealer.go", "io.ReadFull(s.options.Rand, s.buffer[:nonceSize])", "io.ReadFull(s.options.Rand, make([]byte, nonceSize))", pkg, "TestNoncesAreFresh"),
		never("id is not recomputed on opening", "seal/open.go", "k.ID(o.Kind, o.Refs, dst[start:]) != o.ID", pkg, "TestObjectVectors", "TestOpenIsBoundToEverything"),
		never("sealed objects are not opened again", "seal/sealer.go", "s.options.Verify", pkg, "TestVerifyFindsDamage"),
		instead("a backup does not have sealed objects opened again", "backup/sink.go", "Verify: !o.NoVerify", "Verify: false", "backup", "TestSealedObjectsAreOpenedAgain"),
		never("padding is not checked", "seal/plain.go", "!isZero(plain[end:])", pkg, "TestObjectVectors", "TestPlaintextVectors"),
		never("another object than asked for is taken", "seal/reader.go", "o.ID != id || o.Kind != kind", pkg, "TestReader"),
		never("a slot of another generation 0 is trusted", "keyring/ring.go", "err := r.Pin(identity(bundle)); err != nil", "keyring", "TestOpen"),
		instead("a new slot is not opened again", "keyring/slots.go", "return slot, verify(slot, n.Password, b)", "return slot, nil", "keyring", "TestNewSlotDamagedInMemory"),
		instead("who deletes a slot relies on one that was there before", "keyring/slots.go",
			"	former := seal.SlotID(g.slot.ID)\n	if err := g.move(ctx); err != nil {\n		return fmt.Errorf(\"key slot %s was not removed, as there is no new one for the given password: %w\", id, err)\n	}\n",
			"	former := id\n", "keyring", "TestLateDeletion", "TestKeyRemoversMeet"),
		instead("a slot that came while another was removed goes unnoticed", "keyring/slots.go", "	return isNew\n", "	return false\n", "keyring", "TestAddedWhileRemoved"),
		instead("a slot that a removed one has moved to goes unnoticed", "keyring/slots.go", "sameInfo(&b.Info, &s.Info)", "false", "keyring", "TestRemovedWhileItMoves"),
		without("a new slot is not compared with what was stored", "keyring/slots.go", "	if !bytes.Equal(slot.Data, data) { // also where only its info is damaged\n		return repo.KeySlot{}, fmt.Errorf(\"key slot %s: read back: %w: it is not what was stored\", id, object.ErrCorrupt)\n	}\n", "keyring", "TestNewSlotIsReadBack", "TestCreateReadsTheSlotBack"),
	}
}
