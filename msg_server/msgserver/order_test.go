package msgserver

import (
	"testing"

	"teamtalk/internal/im"
	"teamtalk/internal/link"
	"teamtalk/internal/link/linktest"
	"teamtalk/internal/wire"
)

// peerOn finds somebody else whom user talks to over the link l.
func (w *world) peerOn(l *link.Link, user, not uint32) uint32 {
	w.t.Helper()
	for peer := uint32(100); peer < 10_000; peer++ {
		if peer != not && w.db.Owner(im.SingleOf(im.UserID(user), im.UserID(peer))) == l {
			return peer
		}
	}
	w.t.Fatal("nobody on the link")
	return 0
}

// A conversation that changes its owner does so between two messages of a
// sender, not while one is being stored: the later one would overtake it.
// Source: docs/protocol/defects.md A6.
func TestOrderThroughANewOwner(t *testing.T) {
	t.Parallel()
	conv := im.SingleOf(7, 9)
	w, owner, other := twoDBs(t, conv)
	u := w.login(7, im.Windows)
	u.send(wire.MsgData, 1, say(single, 9, "first"))
	first, _ := owner.stores()
	owner.mu.Lock()
	for _, l := range owner.links {
		l.SendPDU(wire.StopReceive, 0, nil)
	}
	owner.mu.Unlock()
	linktest.Eventually(t, "another owner", func() bool { return w.db.Owner(conv).Addr() == w.addrOf(other) })

	// The first is not answered yet: what follows it waits, and nothing else.
	peer := w.peerOn(w.db.Owner(conv), 7, 9)
	u.send(wire.MsgData, 2, say(single, 9, "second"))
	u.send(wire.MsgData, 3, say(single, 9, "third"))
	u.send(wire.MsgData, 4, say(single, peer, "to somebody else"))
	apart, _ := other.stores()
	if apart.Seq != 4 {
		t.Fatalf("seq %d overtook the first", apart.Seq)
	}
	apart.keep(t, 1, nil)
	u.acked(4)

	first.keep(t, 1, nil)
	u.acked(1)
	for seq := uint16(2); seq <= 3; seq++ {
		r, _ := other.stores()
		if r.Seq != seq {
			t.Fatalf("seq %d, want %d", r.Seq, seq)
		}
		r.keep(t, uint32(seq), nil)
		u.acked(seq)
	}
}

// A message that is given up holds up what follows it no longer.
func TestGivenUpHoldsNothingUp(t *testing.T) {
	t.Parallel()
	conv := im.SingleOf(7, 9)
	w, owner, other := twoDBs(t, conv)
	u := w.login(7, im.Windows)
	u.send(wire.MsgData, 1, say(single, 9, "never answered"))
	owner.stores()
	owner.mu.Lock()
	for _, l := range owner.links {
		l.SendPDU(wire.StopReceive, 0, nil)
	}
	owner.mu.Unlock()
	linktest.Eventually(t, "another owner", func() bool { return w.db.Owner(conv).Addr() == w.addrOf(other) })
	w.skip(sendPatience / 2)
	u.send(wire.MsgData, 2, say(single, 9, "later"))
	u.quiet()
	w.skip(sendPatience/2 + 1)
	if r, _ := other.stores(); r.Seq != 2 {
		t.Fatalf("seq %d", r.Seq)
	}
}
