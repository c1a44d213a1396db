// Package task keeps the tasks of the original's file protocol: an id that two
// users may use in their roles, and the state the transfer is in. It knows no
// sockets and no bytes. Source: docs/protocol/flows.md §16;
// docs/protocol/defects.md G1 to G3, D10.
package task

import (
	"errors"
	"path"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"
)

// Role is what a client wants to do with a task; the numbers are those of
// ClientFileRole.
type Role uint8

// The roles.
const (
	Sender     Role = 1 // on-line
	Receiver   Role = 2 // on-line
	Uploader   Role = 3 // off-line
	Downloader Role = 4 // off-line; served from the catalogue, not by a Task
)

// State is where a transfer stands; the numbers are the original's.
type State uint8

// The states a Task can be in. What comes after an upload is in the catalogue.
const (
	Ready           State = 1
	WaitingSender   State = 2 // the receiver is there
	WaitingReceiver State = 3 // the sender is there
	Transferring    State = 5 // both are there
	WaitingUpload   State = 7 // an upload was cut off
	Uploading       State = 8
	Over            State = 13
)

// The reasons for which nobody gets into a task.
var (
	ErrUnknown = errors.New("task: there is none")
	ErrUser    = errors.New("task: not of this user in this role")
	ErrState   = errors.New("task: not in this state")
	ErrLimit   = errors.New("task: too many")
)

// Task is one transfer. Its methods are safe from any goroutine.
type Task struct {
	// Static after New.
	ID       string
	From, To uint32
	Name     string
	Size     int64
	Offline  bool
	release  func()

	mu    sync.Mutex // guards the fields below
	state State
	since time.Time // when the last of those who were there left
}

// ValidID reports whether id has the form of a task id: nothing else is ever
// looked up. Source: docs/protocol/defects.md D10.
func ValidID(id string) bool {
	u, err := uuid.Parse(id)
	return err == nil && len(id) == 36 && u.Version() == 4 && strings.ToLower(id) == id
}

// maxName is the length of the longest file name, in bytes.
const maxName = 255

// CleanName returns the last component of a file name that a client gave, or
// false if nothing usable is left.
func CleanName(name string) (string, bool) {
	if !utf8.ValidString(name) {
		return "", false
	}
	name = path.Base(strings.ReplaceAll(name, `\`, "/"))
	if name == "." || name == ".." || name == "/" || len(name) > maxName || strings.ContainsFunc(name, unicode.IsControl) {
		return "", false
	}
	return name, true
}

// Enter makes a user take his role. Exactly one connection at a time has it,
// until Leave.
func (t *Task) Enter(role Role, user uint32) (State, error) {
	owner := t.From
	if role == Receiver {
		owner = t.To
	}
	if user != owner || t.Offline != (role == Uploader) {
		return Over, ErrUser
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	next, ok := entered[[2]uint8{uint8(t.state), uint8(role)}]
	if !ok {
		return t.state, ErrState
	}
	t.state = next
	return next, nil
}

// entered gives the state after a role was taken.
var entered = map[[2]uint8]State{ //nolint:gochecknoglobals // a table
	{uint8(Ready), uint8(Sender)}:             WaitingReceiver,
	{uint8(Ready), uint8(Receiver)}:           WaitingSender,
	{uint8(WaitingSender), uint8(Sender)}:     Transferring,
	{uint8(WaitingReceiver), uint8(Receiver)}: Transferring,
	{uint8(Ready), uint8(Uploader)}:           Uploading,
	{uint8(WaitingUpload), uint8(Uploader)}:   Uploading,
}

// Leave gives a role back. A transfer that had begun on-line is over then; an
// upload can be gone on with, and whoever waited alone may come again.
func (t *Task) Leave(now time.Time) State {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch t.state {
	case WaitingSender, WaitingReceiver:
		t.state = Ready
	case Transferring:
		t.state = Over
	case Uploading:
		t.state = WaitingUpload
	case Ready, WaitingUpload, Over:
	}
	t.since = now
	return t.state
}

// idle reports whether nobody has been there for as long as limit.
func (t *Task) idle(now time.Time, limit time.Duration) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch t.state {
	case Ready, WaitingUpload, Over:
		return now.Sub(t.since) > limit
	case WaitingSender, WaitingReceiver, Transferring, Uploading:
	}
	return false
}

// Limits of a Table.
type Limits struct {
	Tasks   int           // at a time
	PerUser int           // of one sender
	Idle    time.Duration // how long a task waits for somebody
}

// Table holds the tasks of one server. It is safe from any goroutine.
type Table struct {
	limits Limits
	clock  func() time.Time

	mu     sync.Mutex // guards the fields below; a leaf
	tasks  map[string]*Task
	byUser map[uint32]int
}

// NewTable returns an empty table.
func NewTable(limits Limits, clock func() time.Time) *Table {
	return &Table{limits: limits, clock: clock, tasks: map[string]*Task{}, byUser: map[uint32]int{}}
}

// New adds a task. release, if not nil, is called once when it is over.
func (t *Table) New(from, to uint32, name string, size int64, offline bool, release func()) (*Task, error) {
	id, err := uuid.NewRandom()
	if err != nil {
		return nil, err
	}
	task := &Task{
		ID: id.String(), From: from, To: to, Name: name, Size: size, Offline: offline, release: release,
		state: Ready, since: t.clock(),
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.tasks) >= t.limits.Tasks || t.byUser[from] >= t.limits.PerUser {
		return nil, ErrLimit
	}
	t.tasks[task.ID] = task
	t.byUser[from]++
	return task, nil
}

// Find returns a task, or ErrUnknown.
func (t *Table) Find(id string) (*Task, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if task := t.tasks[id]; task != nil {
		return task, nil
	}
	return nil, ErrUnknown
}

// Len is the number of tasks.
func (t *Table) Len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.tasks)
}

// Remove ends a task.
func (t *Table) Remove(task *Task) {
	t.mu.Lock()
	if t.tasks[task.ID] != task {
		t.mu.Unlock()
		return
	}
	delete(t.tasks, task.ID)
	if t.byUser[task.From]--; t.byUser[task.From] == 0 {
		delete(t.byUser, task.From)
	}
	t.mu.Unlock()
	task.mu.Lock()
	task.state = Over
	task.mu.Unlock()
	if task.release != nil {
		task.release()
	}
}

// Sweep ends the tasks that nobody came for and returns them.
func (t *Table) Sweep() (over []*Task) {
	now := t.clock()
	t.mu.Lock()
	for _, task := range t.tasks {
		if task.idle(now, t.limits.Idle) {
			over = append(over, task)
		}
	}
	t.mu.Unlock()
	for _, task := range over {
		t.Remove(task)
	}
	return over
}
