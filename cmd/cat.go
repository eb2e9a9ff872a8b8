package cmd

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"bluesky/index"
	"bluesky/pack"
	"bluesky/repo"
	"bluesky/snapshot"
)

func newCatCommand(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "cat config | generation N | snapshot ID | segment NAME",
		Short: "Print a record of the repository as JSON",
		Long: `Print a record of the repository as JSON: its parameters, an entry of the log
(a number, or "head"), a snapshot, or the header of a segment. All but a
snapshot needs no password.`,
		Args: catArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			switch args[0] {
			case "snapshot":
				return e.catSnapshot(cmd.Context(), args[1])
			case "config":
				return e.catConfig(cmd.Context())
			case "generation":
				return e.catGeneration(cmd.Context(), args[1])
			}
			return e.catSegment(cmd.Context(), args[1])
		},
	}
}

func catArgs(_ *cobra.Command, args []string) error {
	if len(args) == 0 {
		return errors.New("say what to print: config, generation, snapshot or segment")
	}
	want, known := map[string]int{"config": 1, "generation": 2, "snapshot": 2, "segment": 2}[args[0]]
	if !known {
		return fmt.Errorf("there is nothing called %s to print: name config, generation, snapshot or segment", quote(args[0]))
	}
	if len(args) != want {
		return fmt.Errorf("cat %s takes %s", args[0], plural(uint64(want-1), "argument", "arguments"))
	}
	return nil
}

// printIndented prints v on stdout for a person or a program to read.
func (e *env) printIndented(v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	_, err = e.stdout.Write(append(escapeJSON(data), '\n'))
	return err
}

func (e *env) catConfig(ctx context.Context) error {
	o, err := e.openKeyless(ctx)
	if err != nil {
		return err
	}
	defer o.close()
	raw, err := o.repo.RawConfig(ctx)
	if err != nil {
		return err
	}
	_, err = e.stdout.Write(raw)
	return err
}

func (e *env) catSnapshot(ctx context.Context, name string) error {
	o, err := e.openToRead(ctx)
	if err != nil {
		return err
	}
	defer o.close()
	s, err := o.snapshot(ctx, name, &snapshotFilter{})
	if err != nil {
		return err
	}
	record, err := snapshot.Load(ctx, o.reader(s), s.Snapshot)
	if err != nil {
		return err
	}
	return e.printIndented(shapeOf(s.ID, s.Root, record))
}

func (e *env) catGeneration(ctx context.Context, name string) error {
	o, err := e.openKeyless(ctx)
	if err != nil {
		return err
	}
	defer o.close()
	n := o.state.Generation
	if name != "head" {
		if n, err = strconv.ParseUint(name, 10, 64); err != nil {
			return fmt.Errorf("%s is no number of a generation, nor \"head\"", quote(name))
		}
	}
	if n > o.state.Generation {
		return fmt.Errorf("the log has no generation %d yet: the newest is %d", n, o.state.Generation)
	}
	g, err := o.repo.Generation(ctx, n)
	if err != nil {
		return err
	}
	return e.printIndented(generationShapeOf(g))
}

type generationShape struct {
	Number     uint64           `json:"number"`
	Previous   string           `json:"previous"`
	Author     string           `json:"author"`
	Nonce      string           `json:"nonce"`
	Checkpoint *checkpointShape `json:"checkpoint,omitempty"`
	Floor      uint64           `json:"floor"`
	Ops        []opShape        `json:"ops"`
	Signature  string           `json:"signature"`
}

type checkpointShape struct {
	Number uint64 `json:"number"`
	Name   string `json:"name"`
	Hash   string `json:"hash"`
}

type opShape struct {
	Type     string         `json:"type"`
	Version  uint16         `json:"version"`
	Session  string         `json:"session,omitempty"`
	Signer   string         `json:"signer,omitempty"`
	Sequence uint64         `json:"sequence,omitempty"`
	Body     map[string]any `json:"body,omitempty"`
	Raw      string         `json:"raw,omitempty"` // hex, of an op that this version does not know
}

func generationShapeOf(g *repo.Generation) generationShape {
	shape := generationShape{
		Number: g.Number, Previous: hex.EncodeToString(g.Previous[:]), Author: g.Author.String(),
		Nonce: hex.EncodeToString(g.Nonce[:]), Floor: g.Floor, Ops: []opShape{},
		Signature: hex.EncodeToString(g.Signature[:]),
	}
	if c := g.Checkpoint; c != nil {
		shape.Checkpoint = &checkpointShape{c.Number, hex.EncodeToString(c.Name[:]), hex.EncodeToString(c.Hash[:])}
	}
	for _, op := range g.Ops {
		shape.Ops = append(shape.Ops, opShapeOf(op))
	}
	return shape
}

func opShapeOf(op repo.Op) opShape {
	shape := opShape{Type: op.Type.String(), Version: op.Version}
	st, body, err := op.Decode()
	if err != nil {
		shape.Raw = hex.EncodeToString(op.Body)
		return shape
	}
	if st != nil {
		shape.Session, shape.Signer, shape.Sequence = st.Session.String(), st.Signer.String(), st.Sequence
	}
	switch b := body.(type) {
	case *repo.AddRun:
		shape.Body = map[string]any{"name": b.Name.String(), "size": b.Size, "hash": hex.EncodeToString(b.Hash[:])}
	case *repo.AddSnapshot:
		shape.Body = map[string]any{
			"id": b.ID.String(), "root": b.Root.String(), "time": jsonTime(b.Time), "series": b.Series.String(),
			"pinned": b.Pinned, "summary_bytes": len(b.Summary),
		}
	case *repo.SessionEnd:
		shape.Body = map[string]any{"session": b.Session.String()}
	case *repo.RoleChange:
		shape.Body = map[string]any{"key": b.Key.String(), "role": b.Role.String(), "removed": b.Removed}
	case *repo.CheckpointRef:
		shape.Body = map[string]any{"number": b.Number, "name": hex.EncodeToString(b.Name[:]), "hash": hex.EncodeToString(b.Hash[:])}
	}
	return shape
}

func (e *env) catSegment(ctx context.Context, text string) error {
	name, err := pack.ParseName(text)
	if err != nil {
		return err
	}
	o, err := e.openKeyless(ctx)
	if err != nil {
		return err
	}
	defer o.close()
	_, view, err := o.repo.IndexFrom(ctx, o.state)
	if err != nil {
		return err
	}
	for segment := range view.Segments() {
		if segment.Name == name {
			header, _, err := o.repo.Header(ctx, &segment)
			if err != nil {
				return err
			}
			return e.printIndented(segmentShapeOf(&segment, header))
		}
	}
	return withHint(fmt.Errorf("no run lists a segment %s", name), "bluesky check tells of segments that no run lists")
}

type segmentShape struct {
	Name         string         `json:"name"`
	Class        string         `json:"class"`
	Size         uint64         `json:"size"`
	HeaderLength uint32         `json:"header_length"`
	HeaderHash   string         `json:"header_hash"`
	Hash         string         `json:"hash"`
	RegisteredAt uint64         `json:"registered_at"`
	Session      string         `json:"session"`
	Sessions     []sessionShape `json:"sessions"`
	Objects      []objectShape  `json:"objects"`
}

type sessionShape struct {
	ID    string `json:"id"`
	Class string `json:"class"`
	Type  uint8  `json:"type"`
	Epoch uint32 `json:"epoch"`
}

type objectShape struct {
	ID      string   `json:"id"`
	Kind    string   `json:"kind"`
	Sum     string   `json:"sum"`
	Offset  uint32   `json:"offset"`
	Length  uint32   `json:"length"`
	Session uint16   `json:"session"`
	Refs    []string `json:"refs,omitempty"`
}

func segmentShapeOf(s *index.Segment, h *pack.Header) segmentShape {
	shape := segmentShape{
		Name: s.Name.String(), Class: s.Class.String(), Size: uint64(s.Size), HeaderLength: s.HeaderLength,
		HeaderHash: hex.EncodeToString(s.HeaderHash[:]), Hash: hex.EncodeToString(s.Hash[:]),
		RegisteredAt: s.RegisteredAt, Session: s.Session.String(),
	}
	for _, row := range h.Sessions {
		shape.Sessions = append(shape.Sessions, sessionShape{row.ID.String(), row.Class.String(), uint8(row.Type), row.Epoch})
	}
	for i, object := range h.Objects {
		row := objectShape{
			ID: object.ID.String(), Kind: object.Kind.String(), Sum: object.Sum.String(),
			Offset: object.Offset, Length: object.Length, Session: object.Session,
		}
		for _, ref := range h.Refs(i, nil) {
			row.Refs = append(row.Refs, ref.String())
		}
		shape.Objects = append(shape.Objects, row)
	}
	return shape
}
