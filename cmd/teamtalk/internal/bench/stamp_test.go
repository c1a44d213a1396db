package bench

import (
	"testing"
	"time"

	"teamtalk/internal/im"
)

func TestStamp(t *testing.T) {
	t.Parallel()
	want := stamp{run: 0xdeadbeef, flow: 12345, seq: maxSeq, at: 90 * time.Minute}
	for _, size := range []int{stampSize, 100, 3068} {
		text := want.appendText(nil, size)
		if got, ok := parseStamp(text); !ok || got != want || len(text) != size {
			t.Errorf("size %d: %+v, %v, %d bytes", size, got, ok, len(text))
		}
	}
	for _, text := range []string{"", "hello", string(want.appendText(nil, 100)[1:])} {
		if _, ok := parseStamp([]byte(text)); ok {
			t.Errorf("%q passed for a stamp", text)
		}
	}
	seq, at := untoken(token(maxSeq, 90*time.Minute+5*time.Microsecond))
	if seq != maxSeq || at != 90*time.Minute+5*time.Microsecond {
		t.Errorf("token gave back %d, %v", seq, at)
	}
}

func TestView(t *testing.T) {
	t.Parallel()
	type push struct {
		slot           int
		seq            uint32
		id             im.MsgID
		fresh, ordered bool
	}
	v := newView(2)
	for i, p := range []push{
		{0, 0, 5, true, true},
		{1, 0, 6, true, true},
		{0, 1, 8, true, true},
		{0, 1, 8, false, true},   // again
		{1, 1, 7, true, false},   // behind 8
		{0, 100, 9, true, true},  // gaps are not the view's business
		{0, 99, 10, true, false}, // the sender wrote it earlier
		{1, 2, 10, true, false},  // id used before
		{1, 3, 11, true, true},
	} {
		if fresh, ordered := v.mark(p.slot, p.seq, p.id); fresh != p.fresh || ordered != p.ordered {
			t.Errorf("push %d: fresh %v, ordered %v", i, fresh, ordered)
		}
	}
	if !v.has(0, 99) || v.has(0, 98) || v.has(1, 1000) {
		t.Error("wrong bits are set")
	}
}

func TestAuditCollision(t *testing.T) {
	t.Parallel()
	a, b := &terminal{}, &terminal{}
	conv := &conversation{kind: im.Single, terminals: []*terminal{a, b}}
	for slot, sender := range []*terminal{a, b} {
		f := &flow{slot: slot, conv: conv, sender: sender, ids: []uint32{7 | bitAcked | bitStored}}
		conv.flows = append(conv.flows, f)
	}
	a.view, b.view = newView(2), newView(2)
	b.view.mark(0, 0, 7)
	want := verdict{acked: 2, lost: 1, mismatched: 1}
	if got := conv.audit(); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}
