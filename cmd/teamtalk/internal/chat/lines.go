package chat

import (
	"bufio"
	"errors"
	"io"
	"strings"
	"sync"
)

// inputLine is a line of input, or its end.
type inputLine struct {
	text    string
	tooLong bool // longer than maxLine; text is empty
	end     bool
}

// input reads lines ahead, so that its end is known although none is taken yet.
// What waits is bounded.
type input struct {
	changed chan struct{} // has room for one; something came

	mu    sync.Mutex // guards the fields below
	room  *sync.Cond // something was taken, or ended
	lines []inputLine
	bytes int  // of the lines
	over  bool // the end was read
	full  bool // the reader waits for room
	ended bool // nobody takes any more
}

func newInput() *input {
	in := &input{changed: make(chan struct{}, 1)}
	in.room = sync.NewCond(&in.mu)
	return in
}

// read reads until the end of r, or until r says something after stop.
func (in *input) read(r io.Reader) {
	reader := bufio.NewReaderSize(r, 64<<10)
	for {
		line, err := readLine(reader)
		if (line.text != "" || line.tooLong || err == nil) && !in.add(line) {
			return
		}
		if err != nil {
			in.add(inputLine{end: true})
			return
		}
	}
}

// stop ends read as soon as it may.
func (in *input) stop() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.ended = true
	in.room.Signal()
}

// readLine reads a line; of one that is too long only that it is.
func readLine(r *bufio.Reader) (inputLine, error) {
	var text []byte
	var l inputLine
	for {
		part, err := r.ReadSlice('\n')
		if len(text)+len(part) > maxLine {
			l.tooLong, text = true, nil
		}
		if !l.tooLong {
			text = append(text, part...)
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		l.text = strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r")
		return l, err
	}
}

// add waits for room; false says that nobody takes lines any more.
func (in *input) add(l inputLine) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	for in.bytes > maxAhead && !in.ended {
		in.full = true
		in.signal()
		in.room.Wait()
	}
	in.full = false
	in.lines = append(in.lines, l)
	in.bytes += len(l.text) + 1
	in.over = l.end
	in.signal()
	return !in.ended
}

func (in *input) signal() {
	select {
	case in.changed <- struct{}{}:
	default:
	}
}

// next takes a line, if one is there.
func (in *input) next() (inputLine, bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if len(in.lines) == 0 {
		return inputLine{}, false
	}
	l := in.lines[0]
	in.lines = in.lines[1:]
	in.bytes -= len(l.text) + 1
	in.room.Signal()
	return l, true
}

// stuck reports whether nothing more is read as long as no line is taken.
func (in *input) stuck() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.over || in.full
}

// waiting returns how many lines were read and not taken.
func (in *input) waiting() int {
	in.mu.Lock()
	defer in.mu.Unlock()
	n := len(in.lines)
	if in.over {
		n-- // the end is none
	}
	return max(n, 0)
}
