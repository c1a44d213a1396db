// Package presence keeps which users are on-line through which msg_server and
// on what kind of client, and says what the msg_servers have to be told when
// that changes. It does no I/O and knows no messages: a server is a number,
// what has to be told is a Notice.
//
// Source: docs/protocol/flows.md §4.1, §4.2; docs/protocol/defects.md C5, C6.
package presence

import (
	"fmt"
	"sync"

	"teamtalk/internal/im"
)

// Server names the link of one msg_server. Numbers are never used again.
type Server uint64

// Terminal is one log-in of a user.
type Terminal struct {
	User im.UserID
	Type im.ClientType
}

// About says what a Notice is about.
type About uint8

// The subjects of a Notice.
const (
	Status  About = iota // 0203: how others see the user
	PCLogin              // 070E: whether the user's phones have a PC beside them
)

// Notice is what every msg_server has to be told about one user.
type Notice struct {
	User   im.UserID
	About  About
	Online bool
}

// maxAway bounds Table.away. Beyond it a user who comes back with his
// msg_server looks off-line to colleagues until they ask.
const maxAway = 1 << 20

// Table is the presence of all users. All methods are safe anywhere, and none
// calls out while it holds the lock.
type Table struct {
	mu      sync.RWMutex // guards everything below
	users   map[im.UserID][]holding
	servers map[Server]map[im.UserID]struct{}
	// away holds users that were reported off-line only because their
	// msg_server was lost. Everybody else's return is told by an update; theirs
	// is told when the msg_server announces them again.
	away       map[im.UserID]struct{}
	notices    []Notice
	publishing bool
}

// holding is what one msg_server has of one user: log-ins by client type. A
// kicked connection and its successor count both until the first is gone.
type holding struct {
	server Server
	counts [types]uint16
}

// types is the number of client types; the first pcTypes of them are PCs.
const (
	types   = 4
	pcTypes = 2
)

func typeIndex(t im.ClientType) (int, bool) {
	switch t {
	case im.Windows:
		return 0, true
	case im.Mac:
		return 1, true
	case im.IOS:
		return pcTypes, true
	case im.Android:
		return pcTypes + 1, true
	}
	return 0, false
}

func (h *holding) empty() bool { return h.counts == [types]uint16{} }

// hasPC reports whether a user is on-line for others: phones do not count.
func hasPC(at []holding) bool {
	for i := range at {
		for _, n := range at[i].counts[:pcTypes] {
			if n > 0 {
				return true
			}
		}
	}
	return false
}

// New returns an empty Table.
func New() *Table {
	return &Table{
		users:   map[im.UserID][]holding{},
		servers: map[Server]map[im.UserID]struct{}{},
		away:    map[im.UserID]struct{}{},
	}
}

// Update records one log-in or log-out. It reports whether it made sense: a
// user or type that does not exist, and the log-out of somebody who is not
// there, change nothing.
func (t *Table) Update(s Server, terminal Terminal, online bool) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if online {
		if !t.add(s, terminal) {
			return false
		}
		if !terminal.Type.Mobile() {
			delete(t.away, terminal.User)
			t.tell(terminal.User, Status, true)
		}
		if hasPC(t.users[terminal.User]) {
			t.tell(terminal.User, PCLogin, true)
		}
		return true
	}
	if !t.remove(s, terminal) {
		return false
	}
	if !terminal.Type.Mobile() && !hasPC(t.users[terminal.User]) {
		t.tellGone(terminal.User)
	}
	return true
}

// Announce replaces everything known of one server. What it says for the
// first time is the state others have seen all along, so it is told only of
// users whose loss was; a later replacement tells every difference.
func (t *Table) Announce(s Server, terminals []Terminal) (refused int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	held, known := t.servers[s]
	before := make(map[im.UserID]bool, max(len(held), len(terminals))) // hasPC of those concerned
	for user := range held {
		before[user] = hasPC(t.users[user])
	}
	t.drop(s)
	t.servers[s] = make(map[im.UserID]struct{}, len(terminals))
	for _, terminal := range terminals {
		if _, ok := before[terminal.User]; !ok {
			before[terminal.User] = hasPC(t.users[terminal.User])
		}
		if !t.add(s, terminal) {
			refused++
		}
	}
	for user, was := range before {
		is := hasPC(t.users[user])
		_, away := t.away[user]
		switch {
		case was && !is:
			t.tellGone(user)
		case !was && is && (known || away):
			t.tell(user, Status, true)
			t.tell(user, PCLogin, true)
		}
		if is {
			delete(t.away, user)
		}
	}
	return refused
}

// Remove forgets a server that was lost and returns how many users it had.
func (t *Table) Remove(s Server) (users int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	held := t.servers[s]
	before := make(map[im.UserID]bool, len(held))
	for user := range held {
		before[user] = hasPC(t.users[user])
	}
	t.drop(s)
	for user, was := range before {
		if !was || hasPC(t.users[user]) {
			continue
		}
		t.tellGone(user)
		if len(t.away) < maxAway {
			t.away[user] = struct{}{}
		}
	}
	return len(held)
}

// Publish hands the notices that wait to send, in the order of the changes
// that caused them. While one caller sends, the notices of others are left to
// him: so two changes of one user never overtake each other, and no lock is
// held meanwhile. send must not call Publish.
func (t *Table) Publish(send func([]Notice)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.publishing {
		return
	}
	t.publishing = true
	for len(t.notices) > 0 {
		batch := t.notices
		t.notices = nil
		t.mu.Unlock()
		send(batch)
		t.mu.Lock()
	}
	t.publishing = false
}

// AppendOnline appends for each user whether others see him on-line.
func (t *Table) AppendOnline(dst []bool, users []uint32) []bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for _, user := range users {
		dst = append(dst, hasPC(t.users[im.UserID(user)]))
	}
	return dst
}

// Users returns how many users are on-line on any client.
func (t *Table) Users() int {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return len(t.users)
}

// Check verifies that both directions of the table agree.
func (t *Table) Check() error {
	t.mu.RLock()
	defer t.mu.RUnlock()
	held := 0
	for _, users := range t.servers {
		held += len(users)
	}
	for user, at := range t.users {
		if len(at) == 0 {
			return fmt.Errorf("user %d is held by no server", user)
		}
		for i := range at {
			if at[i].empty() {
				return fmt.Errorf("user %d has no terminal at server %d", user, at[i].server)
			}
			if _, ok := t.servers[at[i].server][user]; !ok {
				return fmt.Errorf("server %d does not know its user %d", at[i].server, user)
			}
			held--
		}
	}
	if held != 0 {
		return fmt.Errorf("servers hold %d users that are not there", held)
	}
	return nil
}

// tellGone queues the notices about a user whose last PC is gone. The phones
// of a user without any terminal need not hear of it.
func (t *Table) tellGone(user im.UserID) {
	t.tell(user, Status, false)
	if _, phone := t.users[user]; phone {
		t.tell(user, PCLogin, false)
	}
}

func (t *Table) tell(user im.UserID, about About, online bool) {
	t.notices = append(t.notices, Notice{User: user, About: about, Online: online})
}

func (t *Table) add(s Server, terminal Terminal) bool {
	kind, ok := typeIndex(terminal.Type)
	if !ok || terminal.User == 0 {
		return false
	}
	at := t.users[terminal.User]
	i := indexOf(at, s)
	if i < 0 {
		i = len(at)
		at = append(at, holding{server: s})
		t.users[terminal.User] = at
		if t.servers[s] == nil {
			t.servers[s] = map[im.UserID]struct{}{}
		}
		t.servers[s][terminal.User] = struct{}{}
	}
	if at[i].counts[kind] < ^uint16(0) {
		at[i].counts[kind]++
	}
	return true
}

func (t *Table) remove(s Server, terminal Terminal) bool {
	kind, ok := typeIndex(terminal.Type)
	at := t.users[terminal.User]
	i := indexOf(at, s)
	if !ok || i < 0 || at[i].counts[kind] == 0 {
		return false
	}
	at[i].counts[kind]--
	if at[i].empty() {
		t.cut(terminal.User, at, i)
		delete(t.servers[s], terminal.User)
	}
	return true
}

// drop forgets all terminals of a server.
func (t *Table) drop(s Server) {
	for user := range t.servers[s] {
		at := t.users[user]
		t.cut(user, at, indexOf(at, s))
	}
	delete(t.servers, s)
}

func (t *Table) cut(user im.UserID, at []holding, i int) {
	if len(at) == 1 {
		delete(t.users, user)
		return
	}
	at[i] = at[len(at)-1]
	t.users[user] = at[:len(at)-1]
}

func indexOf(at []holding, s Server) int {
	for i := range at {
		if at[i].server == s {
			return i
		}
	}
	return -1
}
