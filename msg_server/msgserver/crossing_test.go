package msgserver

import (
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"teamtalk/internal/im"
	"teamtalk/internal/wire"
	"teamtalk/pb/basedefine"
	"teamtalk/pb/login"
	"teamtalk/pb/server"
)

// Of two log-ins that cross between two servers exactly one stays.
func TestCrossingLogIns(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.route1.does(func(r received) bool { return r.Command != wire.ServerKickUser && swallowNews(r) })
	cases := map[string]struct {
		earlier time.Duration // by how much the other log-in was
		server  string
		stays   bool
	}{
		"the other is later":            {-time.Millisecond, "a", false},
		"ours is later":                 {time.Second, "z", true},
		"long ago, by another clock":    {crossFor, "a", false},
		"at the same time, and below":   {0, "", true},
		"at the same time, but above":   {0, "~", false},
		"an original, or an old server": {0, "", false},
	}
	id := uint32(20)
	for name, tc := range cases {
		id++
		u := w.login(id, im.Mac)
		own := decode(t, w.route1.want(wire.ServerKickUser).Body, new(server.IMServerKickUser))
		if own.GetServerId() != w.node.ServerID() || own.GetLoginMs() != uint64(w.clock().UnixMilli()) {
			t.Fatalf("070D: %v", own)
		}
		m := &server.IMServerKickUser{
			UserId: n(id), ClientType: basedefine.ClientType_CLIENT_TYPE_WINDOWS.Enum(), Reason: n(1),
			LoginMs: proto.Uint64(own.GetLoginMs() - uint64(tc.earlier.Milliseconds())), ServerId: proto.String(tc.server),
		}
		if name == "an original, or an old server" {
			m.LoginMs, m.ServerId = nil, nil
		}
		w.route1.send(wire.ServerKickUser, 0, m)
		if tc.stays {
			again := decode(t, w.route1.want(wire.ServerKickUser).Body, new(server.IMServerKickUser))
			if !proto.Equal(again, own) {
				t.Errorf("%s: told the other server %v", name, again)
			}
			u.quiet()
			continue
		}
		if u.push(wire.KickUser, new(login.IMKickUser)); t.Failed() {
			t.Errorf("%s", name)
		}
	}
}
