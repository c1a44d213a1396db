package bench

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
)

// barWidth is the length of the bar in characters.
const barWidth = 24

// progress keeps one line of a terminal up to date. With a nil writer it does
// nothing.
type progress struct {
	w    io.Writer
	r    *run
	quit chan struct{}
	done chan struct{}
	once sync.Once

	mu    sync.Mutex // guards the fields below
	name  string
	total time.Duration // of the load; 0 before
	at    time.Time     // of the last line
	last  []int64       // events by then
}

// newProgress starts to refresh a line; stop ends it.
func newProgress(w io.Writer, r *run) *progress {
	p := &progress{w: w, r: r, quit: make(chan struct{}), done: make(chan struct{})}
	if w == nil {
		close(p.done)
		return p
	}
	go p.refresh()
	return p
}

// isTerminal reports whether a file is a terminal.
func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// phase names what is going on now.
func (p *progress) phase(name string) {
	p.mu.Lock()
	p.name, p.total = name, 0
	p.mu.Unlock()
}

// measure says that the load has started and how long it lasts.
func (p *progress) measure(total time.Duration) {
	p.mu.Lock()
	p.name, p.total = "", total
	p.at, p.last = time.Now(), make([]int64, len(p.r.mode.kinds))
	p.mu.Unlock()
}

// stop clears the line.
func (p *progress) stop() {
	p.once.Do(func() { close(p.quit) })
	<-p.done
}

// refresh redraws the line until stop.
func (p *progress) refresh() {
	defer close(p.done)
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			_, _ = fmt.Fprintf(p.w, "\r\x1b[K%s", p.line())
		case <-p.quit:
			_, _ = fmt.Fprint(p.w, "\r\x1b[K")
			return
		}
	}
}

// line returns the text of the line.
func (p *progress) line() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.total == 0 {
		return p.name + " …"
	}
	now, elapsed, totals := time.Now(), min(p.r.now(), p.total), p.r.meter.totals()
	var rates, tails []string
	for kind, name := range p.r.mode.kinds {
		rate := float64(totals[kind]-p.last[kind]) / now.Sub(p.at).Seconds()
		rates = append(rates, fmt.Sprintf("%.0f %s/s", rate, name))
		e := p.r.meter.sum(kind)
		tails = append(tails, fmt.Sprintf("%.1f", e.latency().P99))
	}
	p.at, p.last = now, totals
	full := int(elapsed * barWidth / p.total)
	bar := strings.Repeat("█", full) + strings.Repeat("·", barWidth-full)
	what := "p99 " + strings.Join(tails, "/") + " ms"
	if elapsed < p.r.cfg.WarmUp {
		what = "warm-up"
	}
	return fmt.Sprintf("%s %3.0fs/%.0fs  %s  %s",
		bar, elapsed.Seconds(), p.total.Seconds(), strings.Join(rates, "  "), what)
}
