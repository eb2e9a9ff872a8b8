package cmd

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// progressInterval is how often a status line or message is printed. Setting
// BLUESKY_PROGRESS_FPS changes it.
const progressInterval = 100 * time.Millisecond

// minEstimate is how long an operation runs before a person is told how long the
// rest takes: the first moments say little.
const minEstimate = 2 * time.Second

// counts is what a running operation has done and what it expects to do.
type counts struct {
	itemsTotal, itemsDone uint64
	bytesTotal, bytesDone uint64
	errors                uint64
	current               []string // items in work, oldest first
}

// percent returns how much is done, from 0 to 1: by bytes, or by items where
// bytes are not counted. The totals may still be growing.
func (c counts) percent() float64 {
	done, total := c.bytesDone, c.bytesTotal
	if total == 0 {
		done, total = c.itemsDone, c.itemsTotal
	}
	if total == 0 {
		return 0
	}
	return min(float64(done)/float64(total), 1)
}

// remaining returns how long the rest takes at the average speed so far, 0 if
// that cannot be told yet.
func (c counts) remaining(elapsed time.Duration) time.Duration {
	p := c.percent()
	if p == 0 {
		return 0
	}
	return time.Duration(float64(elapsed) * (1 - p) / p)
}

// A progressSpec says what a progress shows.
type progressSpec struct {
	title string // "backup"
	one   string // what is counted: "file", "files" unless given
	many  string
	// countless says that items are not counted, only bytes, if anything.
	countless bool
	// status makes the message for --json; nil if the command has none.
	status func(c counts, elapsed time.Duration) any
}

// A progress shows how far an operation has come: as a status line on a
// terminal, as JSON messages with --json, else not at all. Its methods may be
// called concurrently; an operation that declares an interface of some of them
// can report to it.
type progress struct {
	env   *env
	spec  progressSpec
	began time.Time
	stop  chan struct{} // closed by finish
	done  chan struct{} // closed when the painter has ended
	once  sync.Once

	mu     sync.Mutex
	counts counts // guarded by mu
}

// progress starts one. The caller calls finish in any case.
func (e *env) progress(spec progressSpec) *progress {
	if spec.one == "" {
		spec.one, spec.many = "file", "files"
	}
	p := &progress{
		env:   e,
		spec:  spec,
		began: e.now(),
		stop:  make(chan struct{}),
		done:  make(chan struct{}),
	}
	paint, interval := p.painter()
	if paint == nil {
		close(p.done)
		return p
	}
	go p.run(paint, interval)
	return p
}

// painter chooses how to show p; nil is not at all.
func (p *progress) painter() (paint func(), interval time.Duration) {
	interval, chosen := p.env.chosenInterval()
	switch quiet := p.env.settings.Quiet && !chosen; {
	case quiet:
		return nil, 0
	case p.env.json() && p.spec.status == nil:
		return nil, 0
	case p.env.json():
		return p.paintJSON, interval
	case p.env.screen.live:
		return p.paintLine, interval
	case chosen:
		return func() { fmt.Fprintln(p.env.stderr, p.line(math.MaxInt)) }, interval
	}
	return nil, 0
}

// chosenInterval reads BLUESKY_PROGRESS_FPS, updates a second. As with restic,
// setting it asks for progress where there would be none: with --quiet, and
// off a terminal.
func (e *env) chosenInterval() (interval time.Duration, chosen bool) {
	fps, err := strconv.ParseFloat(e.getenv("BLUESKY_PROGRESS_FPS"), 64)
	if err != nil || !(fps > 0) {
		return progressInterval, false
	}
	fps = min(max(fps, 1e-5), 60)
	return time.Duration(float64(time.Second) / fps), true
}

func (p *progress) run(paint func(), interval time.Duration) {
	defer close(p.done)
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-p.stop:
			p.env.screen.status("")
			return
		case <-ticker.C:
			paint()
		}
	}
}

// finish removes the status line and returns the last counts and the time it
// took. It may be called again.
func (p *progress) finish() (counts, time.Duration) {
	p.once.Do(func() { close(p.stop) })
	<-p.done
	return p.snapshot(), p.env.now().Sub(p.began)
}

func (p *progress) snapshot() counts {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.counts
	c.current = slices.Clone(c.current)
	return c
}

// update changes the counts by f, which must not block.
func (p *progress) update(f func(c *counts)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f(&p.counts)
}

// Expect adds to what is to be done.
func (p *progress) Expect(items, bytes uint64) {
	p.update(func(c *counts) { c.itemsTotal += items; c.bytesTotal += bytes })
}

// Begin says that work on item starts: a path, or another name.
func (p *progress) Begin(item string) {
	p.update(func(c *counts) { c.current = append(c.current, item) })
}

// Advance says that so many bytes more are done.
func (p *progress) Advance(bytes uint64) {
	p.update(func(c *counts) { c.bytesDone += bytes })
}

// End says that work on item, if it has begun, has ended.
func (p *progress) End(item string) {
	p.update(func(c *counts) {
		if i := slices.Index(c.current, item); i >= 0 {
			c.current = slices.Delete(c.current, i, i+1)
		}
	})
}

// Done says that so many items more are done.
func (p *progress) Done(items uint64) {
	p.update(func(c *counts) { c.itemsDone += items })
}

// Fail reports an error with item that does not end the operation; during is
// that of itemError.
func (p *progress) Fail(during, item string, err error) {
	p.update(func(c *counts) { c.errors++ })
	p.env.itemError(during, item, err)
}

func (p *progress) paintJSON() {
	message := p.spec.status(p.snapshot(), p.env.now().Sub(p.began))
	p.env.printJSON(message) // the screen keeps the error
}

// paintLine leaves the last column free: some terminals wrap when it is used.
func (p *progress) paintLine() {
	columns := p.env.width()
	if columns <= 0 {
		columns = 80
	}
	p.env.screen.status(p.line(columns - 1))
}

// line is the status line in so many columns, such as
//
//	[0:05] backup 12.50%  1 / 8 files, 1.000 MiB / 8.000 MiB, ETA 0:35  /home/a
//
// Of a path that does not fit the end is shown, which tells more.
func (p *progress) line(columns int) string {
	c, elapsed := p.snapshot(), p.env.now().Sub(p.began)
	var b strings.Builder
	fmt.Fprintf(&b, "[%s] %s", formatDuration(elapsed), p.spec.title)
	if c.percent() > 0 {
		fmt.Fprintf(&b, " %.2f%%", 100*c.percent())
	}
	if amounts := p.amounts(c, elapsed); amounts != "" {
		b.WriteString("  " + amounts)
	}
	if len(c.current) > 0 {
		room := columns - textColumns(b.String()) - len("  ")
		if name := fitEnd(quote(c.current[0]), room); name != "" {
			b.WriteString("  " + name)
		}
	}
	return fit(b.String(), columns)
}

// amounts is the part of the line that counts.
func (p *progress) amounts(c counts, elapsed time.Duration) string {
	var parts []string
	switch {
	case p.spec.countless:
	case c.itemsTotal > 0:
		parts = append(parts, fmt.Sprintf("%d / %s", c.itemsDone, plural(c.itemsTotal, p.spec.one, p.spec.many)))
	default:
		parts = append(parts, plural(c.itemsDone, p.spec.one, p.spec.many))
	}
	switch {
	case c.bytesTotal > 0:
		parts = append(parts, fmt.Sprintf("%s / %s", formatBytes(c.bytesDone), formatBytes(c.bytesTotal)))
	case c.bytesDone > 0:
		parts = append(parts, formatBytes(c.bytesDone))
	}
	if c.errors > 0 {
		parts = append(parts, plural(c.errors, "error", "errors"))
	}
	if eta := c.remaining(elapsed); elapsed >= minEstimate && eta >= time.Second {
		parts = append(parts, "ETA "+formatDuration(eta))
	}
	return strings.Join(parts, ", ")
}
