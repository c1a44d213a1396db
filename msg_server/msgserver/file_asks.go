package msgserver

import (
	"sync"
	"time"

	"teamtalk/internal/im"
	"teamtalk/internal/link"
	"teamtalk/pb/file"
)

// fileAsk is something about a file that a client wants and that another
// server must answer first.
type fileAsk struct {
	client *client
	seq    uint16
	user   uint32
	req    *file.IMFileReq // for a task; nil when the question is about a stored file
	task   string          // the stored file
	token  *tokenAsk       // for a token; nil for all others
	moved  *movedFile      // how far a file of a group is; nil for all others

	// What follows the answer whether there is a receiver; 0 when another
	// question is asked.
	receiver     uint32
	then, refuse func(*fileAsk)

	// Guarded by fileAsks.mu.
	at    time.Time
	link  *link.Link // the file_server that makes the task; nil: a route_server is asked
	asked int        // file_servers that have not answered about the stored file
}

// fileAsks are the questions about files under way. Safe from any goroutine.
type fileAsks struct {
	server *Server

	mu      sync.Mutex // guards the field below; a leaf
	nextID  uint64
	waiting map[uint64]*fileAsk
}

// Bounds of the questions under way.
const (
	maxFileAsks  = 10_000
	fileAsksFor  = 8 * time.Second // clients wait without a limit of their own
	statusPeriod = 2 * time.Second // for the answer of a route_server
)

func newFileAsks(s *Server) *fileAsks {
	return &fileAsks{server: s, waiting: map[uint64]*fileAsk{}}
}

// add notes a question; it reports false when there are too many.
func (a *fileAsks) add(ask *fileAsk) (id uint64, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.waiting) >= maxFileAsks {
		return 0, false
	}
	a.nextID++
	ask.at = a.server.clock()
	a.waiting[a.nextID] = ask
	return a.nextID, true
}

// take ends a question.
func (a *fileAsks) take(id uint64) *fileAsk {
	a.mu.Lock()
	defer a.mu.Unlock()
	ask := a.waiting[id]
	delete(a.waiting, id)
	return ask
}

// answered notes that one file_server does not know a stored file, and ends
// the question if it was the last.
func (a *fileAsks) answered(id uint64) (over bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	ask := a.waiting[id]
	if ask == nil {
		return false
	}
	if ask.asked--; ask.asked > 0 {
		return false
	}
	delete(a.waiting, id)
	return true
}

// lost refuses whoever waits for a task of a file_server that is gone.
func (a *fileAsks) lost(l *link.Link) {
	a.mu.Lock()
	var over []*fileAsk
	for id, ask := range a.waiting {
		if ask.link == l {
			over = append(over, ask)
			delete(a.waiting, id)
		}
	}
	a.mu.Unlock()
	for _, ask := range over {
		a.server.refuseFile(ask)
	}
}

// sweep ends what nobody answered: without news of the receiver a file is sent
// off-line, without a file_server it is refused.
func (a *fileAsks) sweep() {
	now := a.server.clock()
	a.mu.Lock()
	var unknown, over []*fileAsk
	for id, ask := range a.waiting {
		age := now.Sub(ask.at)
		switch {
		case ask.req != nil && ask.link == nil && ask.receiver == 0 && age > statusPeriod:
			unknown = append(unknown, ask)
			delete(a.waiting, id)
		case age > fileAsksFor:
			over = append(over, ask)
			delete(a.waiting, id)
		}
	}
	a.mu.Unlock()
	for _, ask := range unknown {
		a.server.askTask(ask, transferOffline)
	}
	for _, ask := range over {
		a.server.metrics.dropped("file_timeout")
		switch {
		case ask.receiver != 0:
			ask.refuse(ask)
		case ask.req != nil:
			a.server.refuseFile(ask)
		case ask.token != nil:
			a.server.refuseToken(ask, im.Unavailable)
		}
	}
}
