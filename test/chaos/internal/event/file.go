package event

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// Log writes events. Its methods are safe from any goroutine and never wait
// for the disk for long; the first error is kept for Close.
type Log struct {
	start time.Time

	mu  sync.Mutex // guards the fields below
	f   *os.File
	w   *bufio.Writer
	enc *json.Encoder
	err error
}

// Create makes a log whose times count from start.
func Create(path string, start time.Time) (*Log, error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("create event log: %w", err)
	}
	w := bufio.NewWriterSize(f, 256<<10)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return &Log{start: start, f: f, w: w, enc: enc}, nil
}

// Now is the time as events have it.
func (l *Log) Now() int64 { return time.Since(l.start).Microseconds() }

// Write appends an event with the time of now.
func (l *Log) Write(e *Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e.T = l.Now()
	if err := l.enc.Encode(e); err != nil && l.err == nil {
		l.err = err
	}
}

// Close writes what is buffered and reports the first error of all.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := errors.Join(l.err, l.w.Flush(), l.f.Close()); err != nil {
		return fmt.Errorf("write event log: %w", err)
	}
	return nil
}

// maxLine is the longest line in bytes that is read.
const maxLine = 16 << 20

// ReadFile calls visit for every event of a file, with one Event that is used
// again.
func ReadFile(path string, visit func(*Event) error) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("read event log: %w", err)
	}
	defer f.Close()
	if err := Scan(f, visit); err != nil {
		return fmt.Errorf("%s:%w", path, err)
	}
	return nil
}

// Scan is ReadFile for an open log; its errors begin with the number of the line.
func Scan(r io.Reader, visit func(*Event) error) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 64<<10), maxLine)
	var e Event
	number := 0
	for lines.Scan() {
		number++
		if len(lines.Bytes()) == 0 {
			continue
		}
		e = Event{Page: e.Page[:0], Counts: e.Counts[:0]}
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return fmt.Errorf("%d: %w", number, err)
		}
		if err := visit(&e); err != nil {
			return fmt.Errorf("%d: %w", number, err)
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("%d: %w", number+1, err)
	}
	return nil
}

// ReadFiles reads several logs as one, in the order of their times.
func ReadFiles(paths []string, visit func(*Event) error) error {
	if len(paths) == 1 {
		return ReadFile(paths[0], visit)
	}
	heads := make([]*head, 0, len(paths))
	defer func() {
		for _, h := range heads {
			close(h.stop)
		}
	}()
	for _, path := range paths {
		h := &head{events: make(chan Event, 256), stop: make(chan struct{}), err: make(chan error, 1)}
		go h.read(path)
		heads = append(heads, h)
		if err := h.next(); err != nil {
			return err
		}
	}
	for {
		var first *head
		for _, h := range heads {
			if h.ok && (first == nil || h.event.T < first.event.T) {
				first = h
			}
		}
		if first == nil {
			return nil
		}
		if err := visit(&first.event); err != nil {
			return err
		}
		if err := first.next(); err != nil {
			return err
		}
	}
}

// head is where the reading of one of several logs stands.
type head struct {
	event  Event
	ok     bool // event is one
	events chan Event
	stop   chan struct{}
	err    chan error // gets one, before events is closed
}

var errStopped = errors.New("stopped")

func (h *head) read(path string) {
	err := ReadFile(path, func(e *Event) error {
		kept := *e
		kept.Page = append([]Item(nil), e.Page...)
		kept.Counts = append([]Count(nil), e.Counts...)
		select {
		case h.events <- kept:
			return nil
		case <-h.stop:
			return errStopped
		}
	})
	h.err <- err
	close(h.events)
}

func (h *head) next() error {
	if h.event, h.ok = <-h.events; h.ok {
		return nil
	}
	select {
	case err := <-h.err:
		return err
	default:
		return nil
	}
}
