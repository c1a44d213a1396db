package files

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"teamtalk/internal/share"
)

// How often a bar is drawn, and a line is printed where there is no terminal.
const (
	throttle  = 100 * time.Millisecond
	lineEvery = 5 * time.Second
)

// bar shows the progress of a transfer: as a bar on a terminal, elsewhere by a
// line now and then.
type bar struct {
	out   io.Writer
	name  string
	quiet bool
	tty   bool
	clock func() time.Time

	shown *progressbar.ProgressBar // nil before the size is known, and without a terminal
	said  time.Time                // when the last line was printed
}

func newBar(out io.Writer, quiet bool, name string) *bar {
	file, ok := out.(*os.File)
	b := &bar{
		out: out, name: name, quiet: quiet, tty: ok && term.IsTerminal(int(file.Fd())),
		clock: time.Now,
	}
	b.said = b.clock()
	return b
}

// call names what is moved.
func (b *bar) call(name string) { b.name = name }

// set moves the bar; after a cut it may go back.
func (b *bar) set(done, total int64) {
	switch {
	case b.quiet || total <= 0:
	case b.tty:
		b.draw(done, total)
	default:
		if now := b.clock(); now.Sub(b.said) >= lineEvery {
			b.said = now
			_, _ = fmt.Fprintf(b.out, "%s: %s of %s (%d %%)\n",
				b.name, share.Bytes(uint64(done)), share.Bytes(uint64(total)), percent(done, total))
		}
	}
}

func percent(done, total int64) int { return int(float64(done) / float64(total) * 100) }

func (b *bar) draw(done, total int64) {
	if b.shown == nil {
		b.shown = progressbar.NewOptions64(total,
			progressbar.OptionSetWriter(b.out), progressbar.OptionSetDescription(b.name),
			progressbar.OptionShowBytes(true), progressbar.OptionShowTotalBytes(true), progressbar.OptionUseIECUnits(true),
			progressbar.OptionFullWidth(), progressbar.OptionThrottle(throttle), progressbar.OptionSetPredictTime(true))
	}
	_ = b.shown.Set64(done) // a bar that cannot be shown does no harm
}

// end leaves the bar as it is, on a line of its own.
func (b *bar) end(err error) {
	if b.shown == nil {
		return
	}
	if err == nil {
		_ = b.shown.Finish() // likewise
	}
	_, _ = fmt.Fprintln(b.out)
	b.shown = nil
}
