package cmd

import (
	"io"
	"sync"
	"unicode/utf8"

	"golang.org/x/text/width"
)

// A screen is stdout and stderr as one: both may be the same terminal, and then
// the status line on stderr has to go before anything else is printed.
type screen struct {
	live bool // stderr is a terminal, so a status line can be redrawn

	mu             sync.Mutex
	stdout, stderr io.Writer // guarded by mu
	shown          bool      // guarded by mu; a status line stands on stderr
	err            error     // guarded by mu; the first error of stdout
}

// A stream is one of the two ways into a screen.
type stream struct {
	screen *screen
	to     io.Writer
	answer bool // this is stdout, whose errors count
}

func (s stream) Write(p []byte) (int, error) {
	s.screen.mu.Lock()
	defer s.screen.mu.Unlock()
	s.screen.clear()
	n, err := s.to.Write(p)
	if err != nil && s.answer && s.screen.err == nil {
		s.screen.err = err
	}
	return n, err
}

// failed returns the first error of stdout.
func (s *screen) failed() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// status replaces the status line; an empty line removes it. Off a terminal it
// does nothing.
func (s *screen) status(line string) {
	if !s.live {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if line == "" {
		s.clear()
		return
	}
	if s.shown {
		line = eraseLine + line // in one write, so that nothing flickers
	}
	io.WriteString(s.stderr, line) // a status line that is lost is no loss
	s.shown = true
}

// eraseLine leaves the cursor at the start of a line that is empty.
const eraseLine = "\r\x1b[K"

// clear removes the status line. The caller holds s.mu.
func (s *screen) clear() {
	if s.shown {
		io.WriteString(s.stderr, eraseLine)
		s.shown = false
	}
}

// fit returns the longest beginning of text that takes at most the given
// columns of a terminal. text is printable.
func fit(text string, columns int) string {
	used := 0
	for i, r := range text {
		used += runeColumns(r)
		if used > columns {
			return text[:i]
		}
	}
	return text
}

// fitEnd returns text if it takes at most the given columns of a terminal, else
// its end behind "…", or nothing where that would be too short to tell anything.
func fitEnd(text string, columns int) string {
	if textColumns(text) <= columns {
		return text
	}
	if columns < 10 {
		return ""
	}
	used, start := 1, len(text)
	for start > 0 {
		r, n := utf8.DecodeLastRuneInString(text[:start])
		if used += runeColumns(r); used > columns {
			break
		}
		start -= n
	}
	return "…" + text[start:]
}

// textColumns returns how many columns of a terminal text takes.
func textColumns(text string) int {
	columns := 0
	for _, r := range text {
		columns += runeColumns(r)
	}
	return columns
}

func runeColumns(r rune) int {
	if r < 0x300 { // Latin, where combining marks begin
		return 1
	}
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	}
	// A combining mark takes no column. To count it as one cuts a line early,
	// which is harmless; to count a wide one as none would wrap it.
	return 1
}
