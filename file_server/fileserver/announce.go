package fileserver

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"teamtalk/file_server/internal/blob"
	"teamtalk/file_server/internal/catalog"
	"teamtalk/internal/im"
	"teamtalk/internal/link"
	"teamtalk/internal/wire"
	"teamtalk/pb/basedefine"
	"teamtalk/pb/extension"
)

// announcer has the messages of complete files stored: it asks a msg_server,
// 0585, until one answers that it is done, 0586. The msg_server stores it under
// an operation id made of the file's, so that it is stored once. Safe from any
// goroutine.
type announcer struct {
	shares *shares
	wake   chan struct{} // capacity 1

	mu      sync.Mutex // guards the field below; a leaf
	waiting map[string]*announcement
}

type announcement struct {
	next time.Time     // when it is sent again
	wait time.Duration // before the time after that
}

// How long an answer is waited for before another msg_server is asked.
const (
	firstWait = 2 * time.Second
	maxWait   = time.Minute
)

// newAnnouncer knows what was complete and not told before the last stop.
func newAnnouncer(ctx context.Context, sh *shares) (*announcer, error) {
	a := &announcer{shares: sh, wake: make(chan struct{}, 1), waiting: map[string]*announcement{}}
	return a, sh.server.catalog.Each(ctx, catalog.Shared, func(id string, e catalog.Entry) error {
		var info sharedInfo
		if json.Unmarshal(e.Info, &info) == nil && info.Msg == 0 {
			a.waiting[id] = &announcement{wait: firstWait}
		}
		return nil
	})
}

// add has a file told of, at once.
func (a *announcer) add(id string) {
	a.mu.Lock()
	a.waiting[id] = &announcement{wait: firstWait}
	a.mu.Unlock()
	a.hurry()
}

// hurry looks again at what waits, since something has changed.
func (a *announcer) hurry() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// linked has what waits told to a msg_server that has just come.
func (a *announcer) linked() {
	a.mu.Lock()
	for _, w := range a.waiting {
		w.next = time.Time{}
	}
	a.mu.Unlock()
	a.hurry()
}

// run tells until ctx ends.
func (a *announcer) run(ctx context.Context) {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		for _, id := range a.due() {
			a.tell(ctx, id)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-a.wake:
		}
	}
}

// due returns what is to be told now, and says when it is the next time.
func (a *announcer) due() (ids []string) {
	now := a.shares.server.clock()
	a.mu.Lock()
	defer a.mu.Unlock()
	for id, w := range a.waiting {
		if !w.next.After(now) {
			w.next = now.Add(w.wait)
			w.wait = min(2*w.wait, maxWait)
			ids = append(ids, id)
		}
	}
	return ids
}

func (a *announcer) tell(ctx context.Context, id string) {
	to := a.shares.server.peers.Any()
	if to == nil {
		return
	}
	e, err := a.shares.server.catalog.Get(ctx, catalog.Shared, id)
	var info sharedInfo
	var hash blob.Hash
	if err == nil {
		err = json.Unmarshal(e.Info, &info)
	}
	if err == nil {
		hash, err = e.Blob()
	}
	if err != nil {
		if errors.Is(err, blob.ErrNotFound) {
			a.forget(id)
			return
		}
		a.shares.server.log.Error("file not told of", "file_id", id, "error", err)
		return
	}
	to.SendMessage(wire.FileStored, 0, &extension.IMFileStored{
		FileId: proto.String(id), FromUserId: proto.Uint32(info.From),
		SessionType: basedefine.SessionType(info.Kind).Enum(), ToSessionId: proto.Uint32(info.Session),
		FileName: proto.String(info.Name), FileSize: proto.Uint64(uint64(e.Size)), Hash: hash[:],
	})
}

func (a *announcer) forget(id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.waiting, id)
}

// answered takes the word of a msg_server, 0586: the message is stored, or it
// never will be, and nobody will hear of the file.
func (m *msgServers) answered(_ *link.Link, _ uint16, ack *extension.IMFileStoredAck) {
	if m.shares == nil {
		m.metrics.dropped("unknown_command")
		return
	}
	ctx, id, code := m.base, ack.GetFileId(), im.Code(ack.GetResultCode())
	e, err := m.catalog.Get(ctx, catalog.Shared, id)
	switch {
	case err != nil:
	case code == im.OK:
		err = m.noteMessage(ctx, id, e, ack.GetMsgId())
	case !code.Retryable():
		m.log.Warn("file has no message", "file_id", id, "reason", code.String())
		m.metrics.ended(kindShareIn, "refused")
		err = m.catalog.Delete(ctx, catalog.Shared, id)
	default:
		return // it is asked again
	}
	if err != nil && !errors.Is(err, blob.ErrNotFound) {
		m.log.Error("answer about a file not kept", "file_id", id, "error", err)
		return
	}
	m.shares.tell.forget(id)
}

func (m *msgServers) noteMessage(ctx context.Context, id string, e catalog.Entry, msg uint32) error {
	var info sharedInfo
	if err := json.Unmarshal(e.Info, &info); err != nil {
		return err
	}
	info.Msg = msg
	text, err := json.Marshal(info)
	if err != nil {
		return err
	}
	return m.catalog.Update(ctx, catalog.Shared, id, text)
}

// introduce tells a msg_server where files of messages are, 0584, and what it
// has to store.
func (m *msgServers) introduce(l *link.Link) {
	if m.shares == nil || !l.Has(link.CapFiles) {
		return
	}
	l.SendMessage(wire.FileServerInfo, 0, &extension.IMFileServerInfo{
		Name: proto.String(m.shares.name), Url: proto.String(m.cfg.FilesURL + sharesPath[1:]),
	})
	m.peers.Add(l)
	m.shares.tell.linked()
}
