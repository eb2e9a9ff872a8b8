package local_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	. "bluesky/store/local"

	"gocloud.dev/blob/driver"
	"gocloud.dev/blob/drivertest"
)

// notStored are the conformance tests that read back a content type, a caching
// header or metadata, none of which a folder keeps. The harness is given the
// subtest's own t, so exactly these are left out and all others run. What else
// TestAttributes covers is in TestAttributesOfWhatIsNoObject.
var notStored = []string{
	"TestAttributes",
	"TestMetadata/valid_metadata",
	"TestMetadata/valid_metadata_with_empty_body",
	"TestMetadata/valid_metadata_with_content_type",
	"TestMetadata/weird_metadata_keys",
	"TestWrite/ContentType_is_discovered_if_not_provided",
	"TestWrite/write_with_explicit_ContentType_overrides_discovery",
	"TestWrite/a_small_text_file_gets_a_ContentType",
	"TestWrite/a_large_jpg_file_gets_a_ContentType",
	"TestWrite/a_large_jpg_file_written_in_two_chunks_gets_a_ContentType",
}

func TestConformance(t *testing.T) {
	left := map[string]bool{}
	for _, name := range notStored {
		left[name] = true
	}
	drivertest.RunConformanceTests(t, func(_ context.Context, t *testing.T) (drivertest.Harness, error) {
		_, name, _ := strings.Cut(t.Name(), "/")
		if left[name] {
			delete(left, name)
			t.Skipf("%s: content types, caching headers and metadata are not stored in folders", name)
		}
		return &harness{dir: fastDir(t)}, nil
	}, nil)
	for name := range left {
		t.Errorf("conformance test %s is to be left out, but there is none of that name", name)
	}
}

type harness struct{ dir string }

func (h *harness) MakeDriver(context.Context) (driver.Bucket, error) { return Open(h.dir) }

func (h *harness) MakeDriverForNonexistentBucket(context.Context) (driver.Bucket, error) {
	return nil, nil // Open refuses it
}

func (h *harness) HTTPClient() *http.Client         { return nil }
func (h *harness) SupportsCopy() bool               { return false }
func (h *harness) SupportsNonSlashDelimiters() bool { return true }
func (h *harness) Close()                           {}
