package prune

import (
	"strings"

	"bluesky/index"
	"bluesky/object"
	"bluesky/repo"
)

func (b *bed) explain(id object.ID) {
	r := b.open()
	s := r.State()
	view, _ := r.Index(b.Context(), s)
	for _, l := range view.Remains(id) {
		b.Logf("copy %s kind %s at part %d place %d seg %s reg %d shows %v cleaned %v", id.Short(), l.Row.Kind, l.Part, l.Place, l.Segment.Name, l.Segment.RegisteredAt, view.Shows(l.Part, l.Place), s.Runs[l.Part].Cleaned)
	}
	for n := uint64(1); n <= s.Generation; n++ {
		g, err := r.Generation(b.Context(), n)
		if err != nil {
			continue
		}
		var line []string
		for _, op := range g.Ops {
			_, body, _ := op.Decode()
			switch c := body.(type) {
			case *repo.Clean:
				line = append(line, "clean")
				for _, name := range c.Condemned {
					for _, l := range view.Remains(id) {
						if name == segmentName(l.Segment.Name) {
							line = append(line, "condemns "+l.Segment.Name.String())
						}
					}
				}
				for _, run := range c.Runs {
					line = append(line, "run "+run.Name.String()[:6])
				}
			case *repo.AddRun:
				line = append(line, "add-run "+c.Name.String()[:6])
			case *repo.Deleted:
				line = append(line, "deleted")
			default:
				line = append(line, op.Type.String())
			}
		}
		b.Logf("gen %d: %s", n, strings.Join(line, ", "))
	}
	_ = index.Location{}
}
