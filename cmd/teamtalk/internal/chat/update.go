package chat

import (
	"slices"
	"strings"
	"time"

	"teamtalk/client"
	"teamtalk/cmd/teamtalk/internal/words"
)

const (
	pageSize     = 50                     // messages asked for at a time
	maxOutbox    = 1000                   // unsent messages per conversation
	maxRefusals  = 5                      // "come back later" before giving up
	gapPatience  = 400 * time.Millisecond // a message out of order may still come
	newsWindow   = time.Minute            // how old a message may be to be news in an unknown conversation
	newsMessages = 20                     // and how many there may be
	syncPatience = 3 * time.Second        // before a failed synchronisation is repeated
)

// Update applies an event and returns what to do and what to tell. The order
// of both matters.
func (m *Model) Update(e Event) ([]Effect, []Notice) {
	m.effects, m.notices = nil, nil
	m.apply(e)
	return m.effects, m.notices
}

// apply finds the method of an event.
func (m *Model) apply(e Event) {
	switch e := e.(type) {
	case StateChanged:
		m.stateChanged(e)
	case Ended:
		m.fresh, m.Final, m.State, m.Problem = false, true, client.Offline, e.Err
		m.failAll(e.Err)
		m.say(StateNotice{State: client.Offline, Err: e.Err, Final: true})
	case Synced:
		m.sync(e)
	case SyncFailed:
		m.trouble(e.Err, words.LoadContacts)
		m.do(DoLater{syncPatience, syncAgain{}})
	case TakeBack:
		m.takeBack()
	case Due:
		m.apply(e.Then)
	case checkGap:
		m.fillGap(m.conversation(e.Key))
	case resend:
		m.send(m.conversation(e.Key))
	case syncAgain:
		if m.State == client.Online && !m.fresh {
			m.do(DoSync{})
		}
	case UsersLoaded, GroupsLoaded, PresenceChanged, MembersChanged, SignatureChanged:
		m.applyRoster(e)
	case FindPath:
		m.do(DoPath(e))
	case PathFound:
		m.say(PathNotice{e})
	default:
		if !m.applyFiles(e) {
			m.applyMessages(e)
		}
	}
}

// applyMessages applies the events about messages and what the user asks for.
func (m *Model) applyMessages(e Event) {
	switch e := e.(type) {
	case Received:
		m.received(e)
	case Sent:
		m.sent(e)
	case Page:
		m.page(e)
	case Filled:
		m.filled(e)
	case ReadElsewhere:
		m.readElsewhere(e)
	case Open:
		m.open(e.Key)
	case Compose:
		m.compose(e)
	case Older:
		m.older(e.Key)
	case Newest:
		m.do(DoHistory{e.Key, 0, e.Count})
	case MarkRead:
		m.markRead(e.Key)
	case Watch:
		m.watching = e.On
		m.markShown(m.Current)
	case Retry:
		if c := m.conversations[e.Key]; c != nil && c.retry() > 0 {
			m.send(c)
		}
	}
}

// stateChanged follows the session.
func (m *Model) stateChanged(e StateChanged) {
	m.State, m.Addr, m.fresh = e.State, e.Addr, false
	switch e.State {
	case client.Online:
		m.Me, m.safe, m.files, m.Problem = e.Me, e.Safe, e.Files, nil
		m.do(DoSync{})
	case client.Offline:
		news := m.Problem == nil || e.Err == nil || m.Problem.Error() != e.Err.Error()
		m.Problem = e.Err
		if news {
			m.say(StateNotice{State: client.Offline, Err: e.Err})
		}
	case client.Connecting:
	}
}

// takeBack logs in again after somebody else took the place; theirs ends then.
func (m *Model) takeBack() {
	if m.Final && kicked(m.Problem) {
		m.Final, m.Problem, m.State = false, nil, client.Connecting
		m.do(DoLogin{})
	}
}

// trouble tells a failure, and of what.
func (m *Model) trouble(err error, what words.ID, args ...any) {
	m.say(Trouble{strings.TrimSpace(m.Lang.Say(what, args...)), err})
}

// failAll gives up everything unsent, as the session has ended.
func (m *Model) failAll(err error) {
	for _, k := range m.keys() {
		for _, o := range m.conversations[k].outbox {
			if o.Status == Pending {
				m.fail(k, o, err)
			}
		}
	}
}

// keys returns the conversations in a fixed order.
func (m *Model) keys() []Key {
	keys := make([]Key, 0, len(m.conversations))
	for k := range m.conversations {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b Key) int {
		return int(a.Kind)<<32 + int(a.ID) - int(b.Kind)<<32 - int(b.ID)
	})
	return keys
}
