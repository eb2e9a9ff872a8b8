package repo

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"bluesky/object"
)

// ConfigKey is the name of the repository's identity in the bucket.
const ConfigKey = "bluesky.json"

const (
	configFormat  = "bluesky repository"
	configVersion = 1
	configMax     = 64 << 10
)

// A Config is bluesky.json: the identity of a repository and the parameters
// that never change. docs/format.md, "bluesky.json".
type Config struct {
	ID      object.RepositoryID
	Created time.Time // UTC, whole seconds
	Padding string
	Chunker ChunkerConfig
	Tree    TreeConfig
	Segment SegmentConfig
	Bundle  BundleConfig
}

// A ChunkerConfig says how file content is cut; sizes in bytes.
type ChunkerConfig struct {
	ID   int `json:"id"`
	Min  int `json:"min"`
	Bits int `json:"bits"`
	Max  int `json:"max"`
}

// A TreeConfig says where the nodes of the metadata trees end.
type TreeConfig struct {
	LeafBits    int `json:"leaf_bits"`
	LeafBytes   int `json:"leaf_bytes"`
	ListBits    int `json:"list_bits"`
	ListMax     int `json:"list_max"`
	ExtentsMax  int `json:"extents_max"`
	DirBits     int `json:"dir_bits"`
	DirMax      int `json:"dir_max"`
	XattrInline int `json:"xattr_inline"`
	InlineLimit int `json:"inline_limit"`
}

// A SegmentConfig holds the sizes in bytes that writers fill segments to.
type SegmentConfig struct {
	DataTarget int `json:"data_target"`
	MetaTarget int `json:"meta_target"`
}

// A BundleConfig says which small files may share a block; 0 is off.
type BundleConfig struct {
	Limit  int `json:"limit"`
	Target int `json:"target"`
	Cap    int `json:"cap"`
}

// DefaultConfig returns the parameters of a new repository.
func DefaultConfig(id object.RepositoryID, created time.Time) Config {
	return Config{
		ID:      id,
		Created: created.UTC().Truncate(time.Second),
		Padding: "padme",
		Chunker: ChunkerConfig{ID: 1, Min: 768 << 10, Bits: 18, Max: 8 << 20},
		Tree: TreeConfig{
			LeafBits: 5, LeafBytes: 1 << 20,
			ListBits: 6, ListMax: 1024, ExtentsMax: 64,
			DirBits: 4, DirMax: 4096,
			XattrInline: 256,
		},
		Segment: SegmentConfig{DataTarget: 16<<20 - 1, MetaTarget: 8 << 20},
	}
}

// configRecord is the JSON form of a Config.
type configRecord struct {
	Format  string        `json:"format"`
	Version int           `json:"version"`
	ID      string        `json:"id"`
	Created string        `json:"created"`
	Suite   int           `json:"suite"`
	Padding string        `json:"padding"`
	Chunker ChunkerConfig `json:"chunker"`
	Tree    TreeConfig    `json:"tree"`
	Segment SegmentConfig `json:"segment"`
	Bundle  BundleConfig  `json:"bundle"`
}

// EncodeConfig returns the bytes of bluesky.json.
func EncodeConfig(c Config) ([]byte, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	data, err := json.MarshalIndent(configRecord{
		Format: configFormat, Version: configVersion,
		ID: c.ID.String(), Created: c.Created.Format(time.RFC3339),
		Suite: 1, Padding: c.Padding,
		Chunker: c.Chunker, Tree: c.Tree, Segment: c.Segment, Bundle: c.Bundle,
	}, "", "  ")
	return append(data, '\n'), err
}

// DecodeConfig reads bluesky.json. A member it does not know is
// [object.ErrVersion], since ignoring a parameter would break it; other bytes
// than [EncodeConfig] makes of the result are [object.ErrCorrupt].
func DecodeConfig(data []byte) (Config, error) {
	c, err := decodeConfig(data)
	if err != nil {
		return Config{}, fmt.Errorf("%s: %w", ConfigKey, err)
	}
	return c, nil
}

func decodeConfig(data []byte) (Config, error) {
	if len(data) > configMax {
		return Config{}, fmt.Errorf("%w: more than %d bytes", object.ErrCorrupt, configMax)
	}
	var head struct {
		Format  string      `json:"format"`
		Version json.Number `json:"version"`
		Suite   json.Number `json:"suite"`
	}
	if err := json.Unmarshal(data, &head); err != nil {
		return Config{}, fmt.Errorf("%w: %w", object.ErrCorrupt, err)
	}
	if head.Format != configFormat {
		return Config{}, fmt.Errorf("%w: format is %q, not %q", object.ErrCorrupt, head.Format, configFormat)
	}
	if head.Version != "1" || head.Suite != "1" {
		return Config{}, fmt.Errorf("version %q, suite %q: %w", head.Version, head.Suite, object.ErrVersion)
	}
	var rec configRecord
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&rec); err != nil {
		if strings.Contains(err.Error(), "unknown field") {
			return Config{}, fmt.Errorf("%w: %w", object.ErrVersion, err)
		}
		return Config{}, fmt.Errorf("%w: %w", object.ErrCorrupt, err)
	}
	c, err := rec.config()
	if err != nil {
		return Config{}, err
	}
	if again, err := EncodeConfig(c); err != nil || !bytes.Equal(again, data) {
		return Config{}, fmt.Errorf("%w: not the canonical encoding", object.ErrCorrupt)
	}
	return c, nil
}

func (rec configRecord) config() (Config, error) {
	c := Config{
		Padding: rec.Padding, Chunker: rec.Chunker,
		Tree: rec.Tree, Segment: rec.Segment, Bundle: rec.Bundle,
	}
	if len(rec.ID) != 2*len(c.ID) || strings.ToLower(rec.ID) != rec.ID {
		return Config{}, fmt.Errorf("%w: id %q", object.ErrCorrupt, rec.ID)
	}
	if _, err := hex.Decode(c.ID[:], []byte(rec.ID)); err != nil {
		return Config{}, fmt.Errorf("%w: id: %w", object.ErrCorrupt, err)
	}
	var err error
	if c.Created, err = time.Parse(time.RFC3339, rec.Created); err != nil {
		return Config{}, fmt.Errorf("%w: created: %w", object.ErrCorrupt, err)
	}
	c.Created = c.Created.UTC()
	return c, c.validate()
}

func (c Config) validate() error {
	between := func(name string, v, low, high int) error {
		if v < low || v > high {
			return fmt.Errorf("%w: %s is %d, want %d to %d", object.ErrCorrupt, name, v, low, high)
		}
		return nil
	}
	if c.Padding != "padme" && c.Padding != "none" {
		return fmt.Errorf("padding %q: %w", c.Padding, object.ErrVersion)
	}
	if c.Chunker.ID != 1 {
		return fmt.Errorf("chunker %d: %w", c.Chunker.ID, object.ErrVersion)
	}
	return errors.Join(
		between("chunker.max", c.Chunker.Max, 128, 8<<20),
		between("chunker.min", c.Chunker.Min, 64, c.Chunker.Max-1),
		between("chunker.bits", c.Chunker.Bits, 8, 24),
		between("tree.leaf_bits", c.Tree.LeafBits, 1, 16),
		between("tree.leaf_bytes", c.Tree.LeafBytes, 4096, 8<<20),
		between("tree.list_bits", c.Tree.ListBits, 1, 16),
		between("tree.list_max", c.Tree.ListMax, 2, 1<<16),
		between("tree.extents_max", c.Tree.ExtentsMax, 2, 1<<16),
		between("tree.dir_bits", c.Tree.DirBits, 4, 4),
		between("tree.dir_max", c.Tree.DirMax, 2, 1<<16),
		between("tree.xattr_inline", c.Tree.XattrInline, 0, 1<<16),
		between("tree.inline_limit", c.Tree.InlineLimit, 0, 1<<16),
		between("segment.data_target", c.Segment.DataTarget, 1<<16, 1<<30),
		between("segment.meta_target", c.Segment.MetaTarget, 1<<16, 1<<30),
		between("bundle.limit", c.Bundle.Limit, 0, 8<<20),
		between("bundle.target", c.Bundle.Target, 0, 8<<20),
		between("bundle.cap", c.Bundle.Cap, 0, 8<<20),
	)
}
