package forget

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"bluesky/object"
)

// TestAgreesWithRestic compares with what restic answered, reasons included.
// testdata/restic.go has made the file.
func TestAgreesWithRestic(t *testing.T) {
	files, err := filepath.Glob("testdata/restic*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no answers of restic: %v", err)
	}
	for _, file := range files {
		agreesWithRestic(t, file)
	}
}

func agreesWithRestic(t *testing.T, file string) {
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var golden struct {
		Histories [][]struct {
			Time time.Time
			Tags []string
		}
		Cases []struct {
			Flags []string
			Kept  []map[int][]string
		}
	}
	if err := json.Unmarshal(data, &golden); err != nil {
		t.Fatal(err)
	}
	answers, kept, removed := 0, 0, 0
	for _, c := range golden.Cases {
		policy := policyOfFlags(t, c.Flags)
		for h, history := range golden.Histories {
			var list []Snapshot
			for i, s := range history {
				at := object.TimeOf(s.Time)
				list = append(list, Snapshot{ID: object.ID{byte(i)}, Generation: uint64(i), Claimed: at, Effective: at, Tags: s.Tags})
			}
			got := Apply(list, &policy)
			answer := map[int][]string{}
			for i, s := range got.Keep {
				answer[int(s.Generation)] = got.Reasons[i]
			}
			if !reflect.DeepEqual(answer, c.Kept[h]) {
				t.Fatalf("%s: policy %q, history %d:\ngot  %v\nwant %v", file, c.Flags, h, answer, c.Kept[h])
			}
			if len(got.Keep)+len(got.Remove) != len(list) {
				t.Fatalf("%d kept and %d removed of %d", len(got.Keep), len(got.Remove), len(list))
			}
			answers++
			kept += len(got.Keep)
			removed += len(got.Remove)
		}
	}
	if answers < 1000 || kept < 1000 || removed < 1000 {
		t.Errorf("%s: %d answers that keep %d and remove %d: too few to say something", file, answers, kept, removed)
	}
	t.Logf("%s: %d answers; %d snapshots kept, %d removed", file, answers, kept, removed)
}
