package chat

import (
	"cmp"
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"time"

	"teamtalk/client"
	"teamtalk/client/transfer"
	"teamtalk/cmd/teamtalk/internal/files"
	"teamtalk/cmd/teamtalk/internal/words"
)

// What the user asks for, and what becomes of it.
type (
	// SendFile sends a file to a conversation, or goes on with it. With Text it
	// is a new one of that name, which holds the text.
	SendFile struct {
		Key
		Path, Text string
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

// DoFile moves a file; with Path it is sent, else fetched. A Text is written to
// the file first.
type DoFile struct {
	Key
	Path, Text, FileID string
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
		m.do(DoFile{Key: e.Key, Path: e.Path, Text: e.Text})
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
			m.trouble(e.Err, words.FileOf, e.Name)
		} else {
			m.say(FileNotice{Key: e.Key, Name: e.Name, Path: e.Path, ID: e.ID, Percent: 100, Ended: true})
		}
	default:
		return false
	}
	return true
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
var errPaused = words.Errorf(words.Paused)

// file moves a file. It outlives connections.
func (l *Link) file(ctx context.Context, e DoFile) Event {
	ctx, end := l.transfers.begin(ctx)
	defer end()
	answer := FileEnded{Key: e.Key, Name: cmp.Or(e.Path, e.FileID)}
	o := transfer.Options{Access: l.access(e), Progress: l.progress(&answer)}
	switch {
	case e.Text != "":
		answer.Err = l.sendText(ctx, e, &answer, o)
	case e.Path != "":
		answer.Err = l.sendFile(ctx, e, &answer, o)
	default:
		answer.Err = l.fetchFile(ctx, e, &answer, o)
	}
	if errors.Is(answer.Err, context.Canceled) {
		answer.Err = errPaused
	}
	return answer
}

func (l *Link) sendFile(ctx context.Context, e DoFile, answer *FileEnded, o transfer.Options) error {
	sent, err := files.Send(ctx, l.user, files.Conversation{Kind: e.Kind, Session: e.ID}, e.Path, o)
	answer.ID = sent.ID
	return err
}

// sendText sends a text as a file. The file stays until it has arrived: the
// name that is told goes on with it.
func (l *Link) sendText(ctx context.Context, e DoFile, answer *FileEnded, o transfer.Options) error {
	cache, err := os.UserCacheDir()
	if err != nil {
		return err
	}
	folder := filepath.Join(cache, "teamtalk", "texts")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	e.Path = filepath.Join(folder, filepath.Base(e.Path))
	answer.Name = e.Path
	if err := os.WriteFile(e.Path, []byte(e.Text), 0o600); err != nil {
		return err
	}
	if err := l.sendFile(ctx, e, answer, o); err != nil {
		return err
	}
	return os.Remove(e.Path)
}

// fetchFile fetches a file into the working folder.
func (l *Link) fetchFile(ctx context.Context, e DoFile, answer *FileEnded, o transfer.Options) error {
	id, err := l.findFile(ctx, e.Key, e.FileID)
	if err != nil {
		return err
	}
	folder, err := os.Getwd() // so that people are told where it is
	if err != nil {
		return err
	}
	answer.Path, err = transfer.Fetch(ctx, transfer.Download{
		ID: id, Path: folder, Named: func(name string) { answer.Name = name },
	}, o)
	return err
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
func (n FileNotice) describe(l words.Lang) string {
	switch {
	case !n.Ended:
		return l.Say(words.FileMoving, filepath.Base(n.Name), n.Percent)
	case n.ID != "":
		return l.Say(words.FileIsSent, filepath.Base(n.Name))
	}
	return l.Say(words.FileIsFetched, n.Path)
}
