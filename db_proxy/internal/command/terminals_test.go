package command

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"teamtalk/internal/im"
	"teamtalk/internal/wire"
	"teamtalk/pb/basedefine"
	"teamtalk/pb/extension"
)

// waiting asks what waits for a terminal: "1:7/3" is the third message with
// user 7.
func (e *env) waiting(user im.UserID, name string) string {
	e.t.Helper()
	res := new(extension.IMTerminalRsp)
	e.ok(wire.TerminalReq, &extension.IMTerminalReq{
		UserId: proto.Uint32(uint32(user)), Terminal: proto.String(name), AttachData: attach,
	}, res)
	var all []string
	for _, b := range res.GetBacklog() {
		all = append(all, fmt.Sprintf("%d:%d/%d", b.GetSessionType(), b.GetSessionId(), b.GetNewest()))
	}
	if res.GetUserId() != uint32(user) || string(res.GetAttachData()) != string(attach) {
		e.t.Errorf("answer %v", res)
	}
	return strings.Join(all, " ")
}

// backlog asks for a page: "2..4: 3 4" are the messages behind 2 up to 4.
func (e *env) backlog(req *extension.IMBacklogReq) string {
	e.t.Helper()
	res := new(extension.IMBacklogRsp)
	req.AttachData = attach
	e.ok(wire.BacklogReq, req, res)
	page := []string{fmt.Sprintf("%d..%d:", res.GetAfter(), res.GetUpto())}
	for _, m := range res.GetMsgList() {
		page = append(page, strconv.FormatUint(uint64(m.GetMsgId()), 10))
	}
	if res.GetDenied() {
		page = append(page, "denied")
	}
	if string(res.GetAttachData()) != string(attach) || res.GetSessionId() != req.GetSessionId() {
		e.t.Errorf("answer %v", res)
	}
	return strings.Join(page, " ")
}

func TestTerminals(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	single, inGroup := basedefine.SessionType_SESSION_TYPE_SINGLE, basedefine.SessionType_SESSION_TYPE_GROUP
	if got := e.waiting(e.bob, "device:1"); got != "" {
		t.Errorf("a new terminal has %q to get", got)
	}
	for i := range 5 {
		e.send(e.alice, im.Single, uint32(e.bob), fmt.Sprint("message ", i))
	}
	group := e.group(2, e.alice, e.bob)
	e.send(e.alice, im.Group, uint32(group), "hello")
	if got, want := e.waiting(e.bob, "device:1"), fmt.Sprintf("1:%d/5 2:%d/1", e.alice, group); got != want {
		t.Errorf("waiting %q, want %q", got, want)
	}
	ask := func(after *uint32, newest, limit uint32) *extension.IMBacklogReq {
		return &extension.IMBacklogReq{
			UserId: proto.Uint32(uint32(e.bob)), Terminal: proto.String("device:1"), SessionType: single.Enum(),
			SessionId: proto.Uint32(uint32(e.alice)), After: after, Newest: proto.Uint32(newest), Limit: proto.Uint32(limit),
		}
	}
	steps := map[string]struct {
		req  *extension.IMBacklogReq
		want string
	}{
		"from the cursor":   {ask(nil, 5, 100), "0..5: 1 2 3 4 5"},
		"a page":            {ask(proto.Uint32(1), 5, 2), "1..3: 2 3"},
		"no limit":          {ask(proto.Uint32(1), 5, 0), "1..2: 2"},
		"only what is said": {ask(proto.Uint32(1), 4, 100), "1..4: 2 3 4"},
		"nothing":           {ask(proto.Uint32(5), 5, 100), "5..5:"},
		"ahead":             {ask(proto.Uint32(9), 5, 100), "9..9:"},
	}
	for name, step := range steps {
		if got := e.backlog(step.req); got != step.want {
			t.Errorf("%s: %q, want %q", name, got, step.want)
		}
	}
	op := delivered(e.behind)
	report := func(c ...*extension.DeliveryCursor) error {
		return op(&Request{Body: e.encode(&extension.IMDeliveryCursors{Cursors: c})})
	}
	cursor := func(user im.UserID, terminal string, kind basedefine.SessionType, peer, id uint32) *extension.DeliveryCursor {
		return &extension.DeliveryCursor{
			UserId: proto.Uint32(uint32(user)), Terminal: proto.String(terminal), SessionType: kind.Enum(),
			SessionId: proto.Uint32(peer), MsgId: proto.Uint32(id),
		}
	}
	if err := report(cursor(e.bob, "device:1", single, uint32(e.alice), 3), cursor(e.bob, "device:1", inGroup, uint32(group), 1)); err != nil {
		t.Fatal(err)
	}
	if got := e.backlog(ask(nil, 5, 100)); got != "3..5: 4 5" {
		t.Errorf("behind the cursor %q", got)
	}
	if got, want := e.waiting(e.bob, "device:1"), fmt.Sprintf("1:%d/5", e.alice); got != want {
		t.Errorf("waiting %q, want %q", got, want)
	}
	for _, bad := range []*extension.DeliveryCursor{
		cursor(0, "x", single, 1, 1), cursor(e.bob, "", single, 1, 1), cursor(e.bob, "\xff", single, 1, 1),
		cursor(e.bob, strings.Repeat("x", 65), single, 1, 1), cursor(e.bob, "x", 7, 1, 1), cursor(e.bob, "x", single, 0, 1),
		cursor(e.bob, "x", single, 1, 1<<31),
	} {
		if err := report(bad); im.CodeOf(err) != im.Invalid {
			t.Errorf("%v: %v", bad, err)
		}
	}
	if err := op(&Request{Body: []byte{0xff}}); im.CodeOf(err) != im.Invalid {
		t.Errorf("not protobuf: %v", err)
	}
	// Who left the group gets nothing more of it.
	e.changeMembers(group, nil, []im.UserID{e.bob})
	gone := ask(proto.Uint32(0), 1, 100)
	gone.SessionType, gone.SessionId = inGroup.Enum(), proto.Uint32(uint32(group))
	if got := e.backlog(gone); got != "0..1: denied" {
		t.Errorf("of a group he left: %q", got)
	}
	e.broken.Store(true)
	e.silent(wire.TerminalReq, &extension.IMTerminalReq{UserId: proto.Uint32(uint32(e.bob)), Terminal: proto.String("device:1")}, "no SQL")
	e.silent(wire.BacklogReq, ask(proto.Uint32(0), 5, 100), "no SQL")
}

// The page of a member who came back is complete from where they stood, and
// what they may not see takes no place in it.
func TestBacklogOfWhoCameBack(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.waiting(e.bob, "pc")
	g := e.group(groupTemporary, e.alice, e.bob)
	say := func(n int) {
		for range n {
			e.send(e.alice, im.Group, uint32(g), "x")
		}
	}
	say(5)
	e.changeMembers(g, nil, []im.UserID{e.bob})
	say(200)
	e.changeMembers(g, []im.UserID{e.bob}, nil)
	ask := func(after *uint32, newest uint32) *extension.IMBacklogReq {
		return &extension.IMBacklogReq{
			UserId: proto.Uint32(uint32(e.bob)), Terminal: proto.String("pc"), After: after,
			SessionType: basedefine.SessionType_SESSION_TYPE_GROUP.Enum(), SessionId: proto.Uint32(uint32(g)),
			Newest: proto.Uint32(newest), Limit: proto.Uint32(100),
		}
	}
	if got, want := e.waiting(e.bob, "pc"), fmt.Sprintf("2:%d/205", g); got != want {
		t.Errorf("waiting %q, want %q", got, want)
	}
	if got := e.backlog(ask(nil, 205)); got != "0..205:" {
		t.Errorf("before anything new %q", got)
	}
	say(3)
	if got := e.backlog(ask(nil, 208)); got != "0..208: 206 207 208" {
		t.Errorf("behind the cursor %q", got)
	}
	if got := e.backlog(ask(proto.Uint32(206), 208)); got != "206..208: 207 208" {
		t.Errorf("behind an id %q", got)
	}
}

// A page larger than one PDU may be is cut behind a message, and says so.
func TestLargeBacklog(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.waiting(e.bob, "pc")
	for range 30 {
		e.send(e.alice, im.Single, uint32(e.bob), strings.Repeat("x", im.MaxText))
	}
	seen, after := 0, uint32(0)
	for after < 30 {
		res := new(extension.IMBacklogRsp)
		e.ok(wire.BacklogReq, &extension.IMBacklogReq{
			UserId: proto.Uint32(uint32(e.bob)), Terminal: proto.String("pc"),
			SessionType: basedefine.SessionType_SESSION_TYPE_SINGLE.Enum(), SessionId: proto.Uint32(uint32(e.alice)),
			After: proto.Uint32(after), Newest: proto.Uint32(30), Limit: proto.Uint32(100),
		}, res)
		n := uint32(len(res.GetMsgList()))
		if n == 0 || res.GetUpto() != after+n {
			t.Fatalf("%d messages behind %d, up to %d", n, after, res.GetUpto())
		}
		seen, after = seen+int(n), res.GetUpto()
	}
	if seen != 30 {
		t.Errorf("%d messages", seen)
	}
}
