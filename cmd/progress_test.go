package cmd

import (
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// display shows what stands on a terminal after text was written to it: lines,
// the last one unfinished. It knows what the screen uses.
func display(text string) []string {
	lines := []string{""}
	for text != "" {
		last := len(lines) - 1
		switch {
		case strings.HasPrefix(text, "\r\x1b[K"):
			lines[last] = ""
			text = text[len("\r\x1b[K"):]
		case text[0] == '\n':
			lines = append(lines, "")
			text = text[1:]
		default:
			lines[last] += text[:1]
			text = text[1:]
		}
	}
	return lines
}

func onTerminal(environment map[string]string) *testHost {
	h := newTestHost(environment)
	h.stderrTerminal = true
	h.stdout = &h.err // both are the same terminal
	return h
}

func TestProgressLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := onTerminal(nil)
		e := newEnv(h.host)
		p := e.progress(progressSpec{title: "backup"})
		defer p.finish()
		expect := func(want ...string) {
			t.Helper()
			synctest.Wait()
			if got := display(h.err.String()); strings.Join(got, "|") != strings.Join(want, "|") {
				t.Errorf("after %v:\ngot  %q\nwant %q", e.now().Sub(p.began), got, want)
			}
		}
		time.Sleep(progressInterval - time.Nanosecond)
		expect("") // a quick command shows none
		p.Expect(8, 8<<20)
		p.Begin("/home/a")
		p.Begin("/home/b")
		time.Sleep(time.Nanosecond)
		expect("[0:00] backup  0 / 8 files, 0 B / 8.000 MiB  /home/a")
		p.Advance(1) // too soon to say how long the rest takes
		time.Sleep(time.Second)
		expect("[0:01] backup 0.00%  0 / 8 files, 1 B / 8.000 MiB  /home/a")

		time.Sleep(4*time.Second - progressInterval)
		p.Advance(1<<20 - 1)
		p.End("/home/a")
		p.End("/never/begun")
		p.Done(2)
		time.Sleep(progressInterval)
		expect("[0:05] backup 12.50%  2 / 8 files, 1.000 MiB / 8.000 MiB, ETA 0:35  /home/b")

		// Other output takes the line away until the next tick.
		p.Fail("archival", "/home/c", errors.New("permission denied"))
		e.printf("answer\n")
		expect("error: /home/c: permission denied", "answer", "")
		time.Sleep(progressInterval)
		expect("error: /home/c: permission denied", "answer",
			"[0:05] backup 12.50%  2 / 8 files, 1.000 MiB / 8.000 MiB, 1 error, ETA 0:36")
		c, took := p.finish()
		expect("error: /home/c: permission denied", "answer", "")
		if c.itemsDone != 2 || c.bytesDone != 1<<20 || c.errors != 1 || took != 5*time.Second+2*progressInterval {
			t.Errorf("got %+v, %v", c, took)
		}
	})
}

// The line stays within the terminal, and a name cannot act on it.
func TestProgressLineFits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := onTerminal(nil)
		var columns atomic.Int64
		columns.Store(60)
		h.width = func() int { return int(columns.Load()) }
		e := newEnv(h.host)
		p := e.progress(progressSpec{title: "restore", one: "segment", many: "segments"})
		p.Begin("/日本語\x1b[2J日本語日本語日本語日本語/the end")
		p.Advance(1)
		time.Sleep(progressInterval)
		synctest.Wait()
		line := display(h.err.String())[0]
		if got, want := line, `[0:00] restore  0 segments, 1 B  …本語日本語日本語/the end"`; got != want {
			t.Errorf("got  %q\nwant %q", got, want)
		}
		if used := textColumns(line); used > 59 {
			t.Errorf("%d columns of 60", used)
		}
		columns.Store(40) // too few for a name
		time.Sleep(progressInterval)
		synctest.Wait()
		if got := display(h.err.String())[0]; got != "[0:00] restore  0 segments, 1 B" {
			t.Errorf("narrow: got %q", got)
		}
		columns.Store(10)
		time.Sleep(progressInterval)
		synctest.Wait()
		if got := display(h.err.String())[0]; got != "[0:00] re" {
			t.Errorf("resized: got %q", got)
		}
		p.finish()
	})
}

func TestProgressThrottled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for fps, want := range map[string]int{"": 10, "2": 2, "0": 10, "x": 10, "NaN": 10, "1000": 60} {
			h := onTerminal(map[string]string{"BLUESKY_PROGRESS_FPS": fps})
			p := newEnv(h.host).progress(progressSpec{title: "x"})
			for range 1000 {
				p.Advance(1)
				time.Sleep(time.Millisecond)
			}
			synctest.Wait()
			p.finish()
			if got := strings.Count(h.err.String(), "[0:0"); got != want {
				t.Errorf("%q updates a second: got %d, want %d", fps, got, want)
			}
		}
	})
}

// Where a progress shows nothing, it still counts.
func TestProgressHidden(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, e := range map[string]func() (*testHost, settings){
			"off a terminal":       func() (*testHost, settings) { return newTestHost(nil), settings{} },
			"quiet":                func() (*testHost, settings) { return onTerminal(nil), settings{Quiet: true} },
			"json without a shape": func() (*testHost, settings) { return onTerminal(nil), settings{JSON: true} },
		} {
			h, s := e()
			env := newEnv(h.host)
			env.settings = s
			p := env.progress(progressSpec{title: "x"})
			p.Done(1)
			time.Sleep(time.Second)
			if c, took := p.finish(); c.itemsDone != 1 || took != time.Second {
				t.Errorf("%s: got %+v, %v", name, c, took)
			}
			if h.out.Len()+h.err.Len() > 0 {
				t.Errorf("%s: printed %q", name, h.err.String()+h.out.String())
			}
		}
	})
}

// BLUESKY_PROGRESS_FPS asks for lines in a log.
func TestProgressInLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newTestHost(map[string]string{"BLUESKY_PROGRESS_FPS": "0.5"})
		p := newEnv(h.host).progress(progressSpec{title: "check"})
		time.Sleep(5 * time.Second)
		synctest.Wait()
		p.finish()
		if got, want := h.err.String(), "[0:02] check  0 files\n[0:04] check  0 files\n"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

func TestProgressJSON(t *testing.T) {
	tests := []struct {
		name   string
		status func(counts, time.Duration) any
		want   map[string]any
	}{
		{"backup", backupStatus, map[string]any{
			"message_type": "status", "seconds_elapsed": 10.0, "seconds_remaining": 30.0, "percent_done": 0.25,
			"total_files": 4.0, "files_done": 1.0, "total_bytes": 400.0, "bytes_done": 100.0, "error_count": 1.0,
			"current_files": []any{"/b"},
		}},
		{"restore", restoreStatus, map[string]any{
			"message_type": "status", "seconds_elapsed": 10.0, "percent_done": 0.25,
			"total_files": 4.0, "files_restored": 1.0, "total_bytes": 400.0, "bytes_restored": 100.0,
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newTestHost(nil)
				e := newEnv(h.host)
				e.settings.JSON = true
				p := e.progress(progressSpec{title: tt.name, status: tt.status})
				p.Expect(4, 400)
				p.Begin("/b")
				p.Done(1)
				p.Advance(100)
				p.Fail("archival", "/c", errors.New("no"))
				time.Sleep(10 * time.Second)
				synctest.Wait()
				p.finish()
				lines := strings.Split(strings.TrimSpace(h.out.String()), "\n")
				if len(lines) != 100 {
					t.Errorf("%d messages in 10 s, want 100", len(lines))
				}
				var got map[string]any
				if err := json.Unmarshal([]byte(lines[len(lines)-1]), &got); err != nil {
					t.Fatal(err)
				}
				a, _ := json.Marshal(got)
				b, _ := json.Marshal(tt.want)
				if string(a) != string(b) {
					t.Errorf("got  %s\nwant %s", a, b)
				}
			})
		})
	}
}

// Operations report from many goroutines.
func TestProgressConcurrently(t *testing.T) {
	h := onTerminal(map[string]string{"BLUESKY_PROGRESS_FPS": "60"})
	e := newEnv(h.host)
	p := e.progress(progressSpec{title: "backup", status: backupStatus})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 200 {
				p.Expect(1, 2)
				p.Begin("a")
				p.Advance(2)
				p.End("a")
				p.Done(1)
			}
			p.Fail("scan", "b", errors.New("no"))
			e.printf("line\n")
		})
	}
	wg.Wait()
	c, _ := p.finish()
	if c.itemsDone != 1600 || c.itemsTotal != 1600 || c.bytesDone != 3200 || c.errors != 8 || len(c.current) != 0 {
		t.Errorf("got %+v", c)
	}
	if got := display(h.err.String()); len(got) != 17 || got[16] != "" {
		t.Errorf("got %q", got)
	}
}

// What is not counted is not shown as 0.
func TestProgressCountless(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := onTerminal(nil)
		p := newEnv(h.host).progress(progressSpec{title: "read the log", countless: true})
		defer p.finish()
		time.Sleep(progressInterval)
		synctest.Wait()
		if got := display(h.err.String())[0]; got != "[0:00] read the log" {
			t.Errorf("got %q", got)
		}
		p.Expect(0, 1<<20)
		p.Advance(1 << 19)
		time.Sleep(4 * time.Second)
		synctest.Wait()
		if got := display(h.err.String())[0]; got != "[0:04] read the log 50.00%  512.000 KiB / 1.000 MiB, ETA 0:04" {
			t.Errorf("got %q", got)
		}
	})
}

func TestFitEnd(t *testing.T) {
	for _, tt := range []struct {
		text    string
		columns int
		want    string
	}{
		{"/home/a", 7, "/home/a"},
		{"/home/abcdef", 10, "…me/abcdef"},
		{"/home/abcdef", 9, ""},
		{"/home/abcdef", -1, ""},
		{"日本語日本語", 11, "…本語日本語"},
		{"日本語日本語", 10, "…語日本語"},
		{"", 0, ""},
	} {
		if got := fitEnd(tt.text, tt.columns); got != tt.want || textColumns(got) > max(tt.columns, 0) {
			t.Errorf("fitEnd(%q, %d) = %q, want %q", tt.text, tt.columns, got, tt.want)
		}
	}
}
