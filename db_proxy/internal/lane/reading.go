package lane

import (
	"sync"
	"time"

	"teamtalk/internal/im"
)

// readsFor is how long somebody who asks what is unread waits for the reads
// before his question.
const readsFor = time.Second

// reading knows whose reads are submitted and not complete. Safe from any
// goroutine.
type reading struct {
	mu    sync.Mutex // guards the field below; a leaf
	users map[im.UserID]*readers
}

// readers is one user who has reads under way.
type readers struct {
	reads   int
	waiting []func()
}

func (r *reading) begin(user im.UserID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.users == nil {
		r.users = map[im.UserID]*readers{}
	}
	if r.users[user] == nil {
		r.users[user] = &readers{}
	}
	r.users[user].reads++
}

func (r *reading) end(user im.UserID) {
	r.mu.Lock()
	u := r.users[user]
	var due []func()
	if u.reads--; u.reads == 0 {
		due = u.waiting
		delete(r.users, user)
	}
	r.mu.Unlock()
	for _, run := range due {
		run()
	}
}

// AfterReads calls run, once, when the reads of a user that were submitted
// before are complete and counted, or after a second: at once if there are
// none, else from another goroutine, which it must not block.
func (l *Lanes) AfterReads(user im.UserID, run func()) {
	r := &l.reading
	r.mu.Lock()
	u := r.users[user]
	if u == nil {
		r.mu.Unlock()
		run()
		return
	}
	once := sync.OnceFunc(run)
	timer := time.AfterFunc(readsFor, once)
	u.waiting = append(u.waiting, func() {
		timer.Stop()
		once()
	})
	r.mu.Unlock()
}
