package files

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// throttle is the shortest time between two pictures of the bar.
const throttle = 100 * time.Millisecond

// bar shows the progress of a transfer on a terminal.
type bar struct {
	out   io.Writer
	name  string
	shown *progressbar.ProgressBar // nil before the size is known, and where nobody looks
	quiet bool
}

func newBar(out io.Writer, quiet bool, name string, size int64) *bar {
	file, ok := out.(*os.File)
	b := &bar{out: out, name: name, quiet: quiet || !ok || !term.IsTerminal(int(file.Fd()))}
	if size >= 0 {
		b.set(0, size)
	}
	return b
}

// set moves the bar; after a cut it may go back.
func (b *bar) set(done, total int64) {
	if b.quiet || total <= 0 {
		return
	}
	if b.shown == nil {
		b.shown = progressbar.NewOptions64(total,
			progressbar.OptionSetWriter(b.out), progressbar.OptionSetDescription(b.name),
			progressbar.OptionShowBytes(true), progressbar.OptionUseIECUnits(true), progressbar.OptionFullWidth(),
			progressbar.OptionThrottle(throttle), progressbar.OptionSetPredictTime(true))
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
}
