package fileserver

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"teamtalk/internal/im"
	"teamtalk/internal/wire"
	"teamtalk/pb/basedefine"
	"teamtalk/pb/extension"
)

// moves tell the other side how far files of messages are, 0587: the receivers
// while one is sent, its sender while it is fetched. Safe from any goroutine.
type moves struct {
	shares *shares

	mu   sync.Mutex // guards the field below; a leaf
	last map[move]moment
}

// move is a file on its way to us, or with by from us to a user.
type move struct {
	file string
	by   im.UserID
}

type moment struct {
	at    time.Time // when the other side was told, or when it began
	ended time.Time // when it was told that all of it had moved
	done  int64     // bytes that had moved
}

// Bounds of what is told.
const (
	movesEvery = 2 * time.Second // for each move
	movesFor   = time.Minute     // a move is remembered
	maxMoves   = 4096
)

// note takes how far a file is. The other side is told now and then, of a
// short move only its end, and of the end of one that comes in not at all: the
// message does that.
func (m *moves) note(k move, info *sharedInfo, size, done int64) {
	now := m.shares.server.clock()
	whole := k.by != 0 && done == size
	m.mu.Lock()
	last, known := m.last[k]
	if !known && len(m.last) >= maxMoves {
		m.mu.Unlock()
		m.shares.server.metrics.dropped("too_many_moves")
		return
	}
	tell := known && now.Sub(last.at) >= movesEvery
	if whole {
		tell = now.Sub(last.ended) >= movesEvery
		last.ended = now
	}
	if tell || !known {
		last.at = now
	}
	last.done = done
	m.last[k] = last
	m.mu.Unlock()
	if tell {
		m.tell(k, info, size, done)
	}
}

func (m *moves) tell(k move, info *sharedInfo, size, done int64) {
	to := m.shares.server.peers.Any()
	if to == nil {
		return // it is told of the next time
	}
	moved := &extension.IMFileMoved{
		FileId: proto.String(k.file), FromUserId: proto.Uint32(info.From),
		SessionType: basedefine.SessionType(info.Kind).Enum(), ToSessionId: proto.Uint32(info.Session),
		FileName: proto.String(info.Name), FileSize: proto.Uint64(uint64(size)), Moved: proto.Uint64(uint64(done)),
	}
	if k.by != 0 {
		moved.FetchedBy = proto.Uint32(uint32(k.by))
	}
	to.SendMessage(wire.FileMoved, 0, moved)
}

// of returns how far a file that is on its way to us was last; 0 if that is
// not known.
func (m *moves) of(file string) int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.last[move{file: file}].done
}

// sweep forgets what does not move any more.
func (m *moves) sweep() {
	now := m.shares.server.clock()
	m.mu.Lock()
	defer m.mu.Unlock()
	for k, last := range m.last {
		if now.Sub(last.at) > movesFor {
			delete(m.last, k)
		}
	}
}

// movingReader notes how far an upload is.
type movingReader struct {
	io.Reader
	at   int64
	note func(done int64)
}

func (r *movingReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if n > 0 {
		r.at += int64(n)
		r.note(r.at)
	}
	return n, err
}

// beginning returns where the body of an answer begins in its file; ok is false
// for one of several ranges.
func beginning(status int, h http.Header) (at int64, ok bool) {
	if status == http.StatusOK {
		return 0, true
	}
	text, _ := strings.CutPrefix(h.Get("Content-Range"), "bytes ")
	first, _, ok := strings.Cut(text, "-")
	at, err := strconv.ParseInt(first, 10, 64)
	return at, ok && err == nil
}
