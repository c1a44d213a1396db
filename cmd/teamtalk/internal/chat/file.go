package chat

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"teamtalk/client"
	"teamtalk/client/transfer"
	"teamtalk/cmd/teamtalk/internal/files"
)

// What the user asks for, and what becomes of it.
type (
	// SendFile sends a file to a conversation, or goes on with it.
	SendFile struct {
		Key
		Path string
	}
	// GetFile fetches a file of a conversation into the working folder, or goes
	// on with it; without an id the newest one.
	GetFile struct {
		Key
		FileID string
	}
	// StopFiles pauses every transfer; the same command goes on.
	StopFiles struct{}
	// FileMoved tells how far a transfer is.
	FileMoved struct {
		Key
		Name    string
		Percent int
	}
	// FileEnded is the end of a transfer. Path is where a fetched file is, ID
	// that of a sent one.
	FileEnded struct {
		Key
		Name, Path, ID string
		Err            error
	}
)

// DoFile moves a file; with Path it is sent, else fetched.
type DoFile struct {
	Key
	Path, FileID string
}

// DoStop ends all DoFile.
type DoStop struct{}

// FileNotice tells how a transfer goes on, or ends.
type FileNotice struct {
	Key
	Name, Path, ID string
	Percent        int
	Ended          bool
}

func (SendFile) event()    {}
func (GetFile) event()     {}
func (StopFiles) event()   {}
func (FileMoved) event()   {}
func (FileEnded) event()   {}
func (DoFile) effect()     {}
func (DoStop) effect()     {}
func (FileNotice) notice() {}

// applyFiles applies the events about files, and reports whether it was one.
func (m *Model) applyFiles(e Event) bool {
	switch e := e.(type) {
	case SendFile:
		m.do(DoFile{Key: e.Key, Path: e.Path})
	case GetFile:
		m.do(DoFile{Key: e.Key, FileID: cmp.Or(e.FileID, m.coming[e.Key])})
	case PeerFile:
		m.peerFile(e)
	case FileArrived:
		m.fileArrived(e)
	case StopFiles:
		m.do(DoStop{})
	case FileMoved:
		m.say(FileNotice{Key: e.Key, Name: e.Name, Percent: e.Percent})
	case FileEnded:
		if e.Err != nil {
			m.say(Trouble{strings.TrimSpace("file " + e.Name), e.Err})
		} else {
			m.say(FileNotice{Key: e.Key, Name: e.Name, Path: e.Path, ID: e.ID, Percent: 100, Ended: true})
		}
	default:
		return false
	}
	return true
}

// fileCommand reads a command about files behind a prefix; ok is false for
// anything else. In the full screen / begins a search.
func fileCommand(k Key, prefix, text string) (e Event, ok bool) {
	text, ok = strings.CutPrefix(text, prefix)
	name, rest, _ := strings.Cut(text, " ")
	rest = strings.TrimSpace(rest)
	switch {
	case !ok:
	case name == "file" && rest != "":
		return SendFile{k, rest}, true
	case name == "get":
		return GetFile{k, rest}, true
	case name == "stop" && rest == "":
		return StopFiles{}, true
	}
	return nil, false
}

// transfers are the files under way. Safe from any goroutine.
type transfers struct {
	mu   sync.Mutex
	next int
	stop map[int]context.CancelFunc
}

func (t *transfers) begin(ctx context.Context) (running context.Context, end func()) {
	running, cancel := context.WithCancel(ctx)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stop == nil {
		t.stop = map[int]context.CancelFunc{}
	}
	t.next++
	id := t.next
	t.stop[id] = cancel
	return running, func() {
		cancel()
		t.mu.Lock()
		defer t.mu.Unlock()
		delete(t.stop, id)
	}
}

func (t *transfers) stopAll() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, cancel := range t.stop {
		cancel()
	}
}

// errPaused is what becomes of a transfer that the user stopped.
var errPaused = errors.New("paused; the same command goes on")

// file moves a file. It outlives connections.
func (l *Link) file(ctx context.Context, e DoFile) Event {
	ctx, end := l.transfers.begin(ctx)
	defer end()
	answer := FileEnded{Key: e.Key, Name: cmp.Or(e.Path, e.FileID)}
	o := transfer.Options{Access: l.access(e), Progress: l.progress(&answer)}
	if e.Path != "" {
		var sent files.Sent
		sent, answer.Err = files.Send(ctx, l.user, files.Conversation{Kind: e.Kind, Session: e.ID}, atHome(e.Path), o)
		answer.ID = sent.ID
	} else {
		var id string
		id, answer.Err = l.findFile(ctx, e.Key, e.FileID)
		if answer.Err == nil {
			answer.Path, answer.Err = transfer.Fetch(ctx, transfer.Download{
				ID: id, Path: ".", Named: func(name string) { answer.Name = name },
			}, o)
		}
	}
	if errors.Is(answer.Err, context.Canceled) {
		answer.Err = errPaused
	}
	return answer
}

// access asks the server that the session is connected to when it is needed.
func (l *Link) access(e DoFile) transfer.Access {
	return func(ctx context.Context, id string) (client.FileAccess, error) {
		c := l.session.Client()
		switch {
		case c == nil:
			return client.FileAccess{}, client.ErrOffline
		case e.Path == "":
			return c.FileDownload(ctx, e.Kind, e.ID, id)
		}
		return c.FileUpload(ctx, e.Kind, e.ID, id)
	}
}

// findFile finds a file of a conversation by its id or name, the last one
// without either.
func (l *Link) findFile(ctx context.Context, k Key, what string) (id string, err error) {
	if c := l.session.Client(); c != nil {
		return transfer.Find(ctx, c, k.Kind, k.ID, what)
	}
	return "", client.ErrOffline
}

// atHome replaces a leading ~/ as shells do.
func atHome(path string) string {
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		if home, err := os.UserHomeDir(); err == nil {
			return filepath.Join(home, rest)
		}
	}
	return path
}

// progressEvery is how often the view is told how far a transfer is.
const progressEvery = time.Second

func (l *Link) progress(of *FileEnded) func(done, total int64) {
	last := time.Now()
	return func(done, total int64) {
		if total <= 0 || time.Since(last) < progressEvery {
			return
		}
		last = time.Now()
		l.post(FileMoved{of.Key, of.Name, percent(done, total)})
	}
}

func percent[N int64 | uint64](done, total N) int {
	if total == 0 {
		return 100
	}
	return int(float64(done) / float64(total) * 100)
}

// describe says in a few words how a transfer is.
func (n FileNotice) describe() string {
	switch {
	case !n.Ended:
		return fmt.Sprintf("%s: %d %%; :stop pauses", filepath.Base(n.Name), n.Percent)
	case n.ID != "":
		return filepath.Base(n.Name) + " is sent"
	}
	return "fetched " + n.Path
}
