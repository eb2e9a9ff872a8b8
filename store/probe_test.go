package store

import (
	"context"
	"testing"

	"bluesky/store/local"

	"gocloud.dev/blob"
	"gocloud.dev/blob/driver"
)

func TestProbeAcceptsGoodBuckets(t *testing.T) {
	folder, err := Create(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string]*Store{"folder": folder, "memory": NewMemory()} {
		t.Run(name, func(t *testing.T) {
			defer s.Close()
			if err := s.Probe(t.Context(), "state/probe"); err != nil {
				t.Fatal(err)
			}
			for entry, err := range s.List(t.Context(), "") {
				t.Errorf("the probe has left %v, %v", entry, err)
			}
		})
	}
}

// A heedless bucket ignores the condition of a put.
type heedless struct{ driver.Bucket }

func (h heedless) NewTypedWriter(ctx context.Context, key, contentType string, opts *driver.WriterOptions) (driver.Writer, error) {
	unconditional := *opts
	unconditional.IfNotExist = false
	return h.Bucket.NewTypedWriter(ctx, key, contentType, &unconditional)
}

func TestProbeRefusesBucketThatIgnoresConditions(t *testing.T) {
	folder, err := local.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	s := New(blob.NewBucket(heedless{folder}), "heedless")
	defer s.Close()
	if err := s.Probe(t.Context(), "state/probe"); err == nil {
		t.Fatal("a bucket in which two writers win passed the probe")
	}
}
