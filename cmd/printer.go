package cmd

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf16"
	"unicode/utf8"
)

// printJSON prints v on stdout as one line of JSON.
func (e *env) printJSON(v any) error { return e.writeJSON(e.stdout, v) }

func (e *env) writeJSON(w io.Writer, v any) error {
	line, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = w.Write(append(escapeJSON(line), '\n')) // one write: lines of goroutines do not mix
	return err
}

// escapeJSON escapes in a JSON document what a terminal would act on and
// encoding/json leaves as it is: the control characters beyond ASCII, and those
// that turn the direction of writing. They stand in strings only, where the
// escape means the same.
func escapeJSON(document []byte) []byte {
	strange := func(r rune) bool { return r >= 0x7f && !strconv.IsPrint(r) }
	if bytes.IndexFunc(document, strange) < 0 {
		return document
	}
	var out []byte
	for _, r := range string(document) {
		if !strange(r) {
			out = utf8.AppendRune(out, r)
			continue
		}
		for _, unit := range utf16.AppendRune(nil, r) {
			out = fmt.Appendf(out, `\u%04x`, unit)
		}
	}
	return out
}

// printf prints an answer for a person on stdout. Names in args come quoted
// from [quote]; the text is not changed.
func (e *env) printf(format string, args ...any) {
	fmt.Fprintf(e.stdout, format, args...) // the screen keeps the error
}

// itemError reports that something could not be done with one item, usually a
// file, while the command goes on. during is what restic calls it: "archival",
// "scan" or "restore".
func (e *env) itemError(during, item string, err error) {
	if !e.json() {
		fmt.Fprintf(e.stderr, "error: %s: %s\n", quote(item), printable(err.Error()))
		return
	}
	message := errorMessage{MessageType: "error", During: during, Item: item}
	message.Error.Message = err.Error()
	e.writeJSON(e.stderr, message) // strings always marshal
}

type errorMessage struct {
	MessageType string `json:"message_type"`
	Error       struct {
		Message string `json:"message"`
	} `json:"error"`
	During string `json:"during"`
	Item   string `json:"item"`
}

// A table prints rows in columns under a header, with rules as restic draws
// them. Cells hold text of one line; what is not printable is escaped.
type table struct {
	header []string
	rows   [][]string
	footer string // a line below, such as "3 snapshots"
}

func newTable(header ...string) *table { return &table{header: header} }

func (t *table) row(cells ...string) { t.rows = append(t.rows, cells) }

// write prints t to w.
func (t *table) write(w io.Writer) error {
	var text bytes.Buffer
	columns := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	for _, cells := range append([][]string{t.header}, t.rows...) {
		for i, cell := range cells {
			if i > 0 {
				io.WriteString(columns, "\t")
			}
			io.WriteString(columns, printable(cell))
		}
		io.WriteString(columns, "\n")
	}
	columns.Flush() // into memory: no errors, here and above
	lines := strings.Split(strings.TrimSuffix(text.String(), "\n"), "\n")
	longest := 0
	for i, line := range lines {
		lines[i] = strings.TrimRight(line, " ")
		longest = max(longest, utf8.RuneCountInString(lines[i]))
	}
	rule := strings.Repeat("-", longest)
	out := append([]string{lines[0], rule}, lines[1:]...)
	out = append(out, rule)
	if t.footer != "" {
		out = append(out, printable(t.footer))
	}
	_, err := io.WriteString(w, strings.Join(out, "\n")+"\n")
	return err
}

// formatBytes returns a size as restic prints it: "17 B", "1.234 MiB".
func formatBytes(bytes uint64) string {
	units := []string{"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}
	if bytes < 1<<10 {
		return fmt.Sprintf("%d B", bytes)
	}
	value, unit := float64(bytes)/(1<<10), 0
	for value >= 1<<10 && unit < len(units)-1 {
		value /= 1 << 10
		unit++
	}
	return fmt.Sprintf("%.3f %s", value, units[unit])
}

// formatDuration returns whole seconds as restic prints them: "1:02", "1:00:02".
func formatDuration(d time.Duration) string {
	seconds := int64(max(d, 0) / time.Second)
	if seconds >= 3600 {
		return fmt.Sprintf("%d:%02d:%02d", seconds/3600, seconds/60%60, seconds%60)
	}
	return fmt.Sprintf("%d:%02d", seconds/60, seconds%60)
}

// plural returns "1 file", "2 files".
func plural(n uint64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// formatTime returns t as restic prints times, in t's location.
func formatTime(t time.Time) string { return t.Format(time.DateTime) }
