package msgserver

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"google.golang.org/protobuf/proto"

	"teamtalk/internal/im"
	"teamtalk/internal/link/linktest"
	"teamtalk/internal/wire"
	"teamtalk/pb/basedefine"
	"teamtalk/pb/buddy"
	"teamtalk/pb/server"
	"teamtalk/pb/switchservice"
)

// knows waits for the 070A of a log-in and the question behind it.
func (n *neighbour) knows(user uint32) (ask received) {
	n.t.Helper()
	m := decode(n.t, n.want(wire.UserStatusUpdate).Body, new(server.IMUserStatusUpdate))
	if m.GetUserId() != user || m.GetUserStatus() != uint32(basedefine.UserStatType_USER_STATUS_ONLINE) {
		n.t.Fatalf("070A: %v", m)
	}
	return n.want(wire.UsersStatusReq)
}

func (r received) confirm(t *testing.T) {
	t.Helper()
	req := decode(t, r.Body, new(buddy.IMUsersStatReq))
	r.answer(t, wire.UsersStatusRes, &buddy.IMUsersStatRsp{UserId: req.UserId, AttachData: req.GetAttachData()})
}

// unregistering swallows what is not about registering.
func unregistering(r received) bool {
	return r.Command != wire.UserStatusUpdate && r.Command != wire.UsersStatusReq && swallowNews(r)
}

// A log-in is answered when every route_server knows of it, whether ours or an
// original: what is relayed from then on finds the client.
func TestLogInWaitsUntilItIsRegistered(t *testing.T) {
	t.Parallel()
	routes := []*neighbour{ourRoute(t), originalRoute(t)}
	w := newWorldOf(t, setup{routes: routes})
	for _, n := range routes {
		n.does(unregistering)
		n.muted(true)
	}
	u := w.connect()
	u.id = 7
	u.send(wire.LoginReq, 1, loginOf(7, im.Mac))
	asked := []received{routes[0].knows(7), routes[1].knows(7)}
	asked[0].confirm(t)
	// Relayed, but not before the answer; and nothing but heartbeats counts.
	routes[0].send(wire.P2PCommand, 0, &switchservice.IMP2PCmdMsg{
		FromUserId: proto.Uint32(9), ToUserId: proto.Uint32(7), CmdMsgData: proto.String("x"),
	})
	routes[0].send(wire.UsersStatusRes, 0, &buddy.IMUsersStatRsp{ // to nobody
		UserId: proto.Uint32(7), AttachData: attach(attachKindJoin, 1<<40),
	})
	u.send(wire.TimeReq, 2, &switchservice.IMP2PCmdMsg{
		FromUserId: proto.Uint32(9), ToUserId: proto.Uint32(7), CmdMsgData: proto.String("x"),
	})
	u.quiet()
	if w.dropped("before_login") != 1 {
		t.Error("a request counts before the answer to the log-in")
	}
	asked[1].confirm(t)
	u.want(wire.LoginRes, nil)
	u.push(wire.P2PCommand, nil)
	if n := testutil.ToFloat64(w.metrics.unregistered); n != 0 {
		t.Errorf("%v log-ins were not registered", n)
	}
}

// A route_server that does not answer keeps nobody out for long; one that is
// lost, not at all.
func TestLogInDoesNotWaitForSilence(t *testing.T) {
	t.Parallel()
	routes := []*neighbour{ourRoute(t), ourRoute(t)}
	w := newWorldOf(t, setup{routes: routes})
	silent, other := routes[0], routes[1]
	silent.does(unregistering)
	silent.muted(true)
	enter := func(id uint32) *user {
		t.Helper()
		u := w.connect()
		u.id = id
		u.send(wire.LoginReq, 1, loginOf(id, im.Mac))
		return u
	}
	u := enter(7)
	first := silent.knows(7)
	u.quiet()
	w.skip(joinFor + time.Millisecond)
	u.want(wire.LoginRes, nil)
	if n := testutil.ToFloat64(w.metrics.unregistered); n != 1 {
		t.Errorf("%v log-ins were not registered", n)
	}
	// The next one does not wait for it, until it answers.
	enter(8).want(wire.LoginRes, nil)
	silent.want(wire.UserStatusUpdate)
	first.confirm(t)
	linktest.Eventually(t, "the end of the silence", func() bool {
		w.joins.mu.Lock()
		defer w.joins.mu.Unlock()
		return len(w.joins.silent) == 0
	})
	u = enter(9)
	silent.knows(9)
	u.quiet()
	silent.stop()
	u.want(wire.LoginRes, nil)
	other.connected(1)
	w.joins.mu.Lock()
	defer w.joins.mu.Unlock()
	if len(w.joins.waiting) != 0 || len(w.joins.silent) != 0 {
		t.Errorf("%d questions and %d silent links left", len(w.joins.waiting), len(w.joins.silent))
	}
}
