package terminal

import (
	"slices"
	"time"

	"teamtalk/internal/im"
)

// flow is one conversation. The ids up to acked have arrived, those up to sent
// are on the way: pushed, marked as a gap, or sent by the client itself.
type flow struct {
	conv     im.Conversation
	known    bool     // acked comes from the stored cursor
	busy     bool     // in Terminal.busy
	fetching bool     // until a page comes, or patience is over
	tries    uint8    // how often it was sent again since the last acknowledgement
	acked    im.MsgID // cumulative
	sent     im.MsgID
	top      im.MsgID // the highest that sent ever was
	pushed   im.MsgID // the last one that must be acknowledged
	newest   im.MsgID // known to be stored
	first    im.MsgID // the lowest that was offered before the cursor was known, or 0
	saved    im.MsgID // acked, as last handed out to be stored
	own      []im.MsgID
	at       time.Time // of the fetch, or since when an acknowledgement is waited for
	savedAt  time.Time
}

// learn takes the stored cursor of a flow that was not known. What was offered
// here has not arrived before: a new terminal begins with its log-in, even if
// its cursor was made a little later.
func (f *flow) learn(upto im.MsgID) {
	if f.known {
		return
	}
	if f.first > 0 {
		upto = min(upto, f.first-1)
	}
	f.known = true
	f.acked, f.sent, f.top, f.pushed, f.saved = upto, upto, upto, upto, upto
	f.trim()
}

// pass goes on behind an id that is not pushed.
func (f *flow) pass(id im.MsgID) {
	f.sent, f.top = id, max(f.top, id)
	f.settle()
}

// settle counts as arrived what follows the last acknowledged message and
// needs no acknowledgement.
func (f *flow) settle() {
	if f.acked >= f.pushed {
		f.acked = max(f.acked, f.sent)
	}
	f.trim()
}

// trim forgets own messages that no page can hold any more.
func (f *flow) trim() {
	f.own = slices.DeleteFunc(f.own, func(id im.MsgID) bool { return id <= f.acked })
}

func (f *flow) addOwn(id im.MsgID) {
	if i, found := slices.BinarySearch(f.own, id); !found {
		f.own = slices.Insert(f.own, i, id)
	}
	if len(f.own) > maxOwn {
		f.own = slices.Delete(f.own, 0, 1) // may be pushed, as from another terminal
	}
}

func (f *flow) isOwn(id im.MsgID) bool {
	_, found := slices.BinarySearch(f.own, id)
	return found
}

// idle reports whether nothing is owed in either direction.
func (f *flow) idle() bool {
	return f.known && !f.fetching && f.sent >= f.newest && f.acked >= f.sent && f.saved >= f.acked
}
