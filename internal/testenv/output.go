package testenv

import (
	"strings"
	"sync"
)

// Output collects what is written to it, as a log or by a process, and may be
// read meanwhile. The zero value is empty. Safe from any goroutine.
type Output struct {
	mu   sync.Mutex // guards the field below; a leaf
	text strings.Builder
}

// Write is io.Writer's; it never fails.
func (o *Output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

// String returns everything that was written so far.
func (o *Output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}
