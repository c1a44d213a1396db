package command

import (
	"maps"
	"testing"
	"time"

	"teamtalk/internal/im"
	"teamtalk/internal/wire"
)

// closeByHand sets accounts to a status the way an administration site does:
// without a word to anybody.
func (e *env) closeByHand(text string) {
	e.t.Helper()
	db := e.open()
	defer db.Close()
	if _, err := db.ExecContext(e.t.Context(), text); err != nil {
		e.t.Fatal(err)
	}
	e.pass(11 * time.Second) // the age of what is remembered
}

// Whose account was closed by plain SQL may do nothing any more, by no command
// of the table: nothing is changed, nothing is told, and where the protocol has
// a result it says no.
func TestClosedAccountsAskNothing(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"left": "UPDATE IMUser SET status = 3", "on probation": "UPDATE IMUser SET status = 1", "deleted": "DELETE FROM IMUser",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEnv(t)
			e.noAPI = true
			e.populate()
			answered := map[string]bool{} // those with a result
			for name, c := range e.requests() {
				row := e.row(c.command)
				if m, _ := e.try(c); row.Asker == ByUser || row.Asker == ByReceiver {
					answered[name] = m != nil && m.ProtoReflect().Descriptor().Fields().ByName("result_code") != nil
				}
			}
			e.settle()
			e.closeByHand(text)
			before := e.dump()
			for name, c := range e.requests() {
				row := e.row(c.command)
				if row.Asker == ByServer || c.command == wire.MsgData {
					continue // what was stored before is acknowledged again
				}
				m, err := e.try(c)
				if row.Asker == InLane && row.Reply == 0 {
					continue // refused in the lane: nothing is changed
				}
				if err == nil || (m != nil) != (answered[name] || row.Asker == InLane) {
					t.Errorf("%s: answered %v, %v", name, m, err)
				}
			}
			e.settle()
			if after := e.dump(); !maps.Equal(after, before) {
				t.Errorf("something is changed: %v, and was %v", after, before)
			}
		})
	}
}

// Every row says whose account must be active.
func TestEveryRowSaysWhoAsks(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	servers := []wire.Command{
		wire.ValidateReq, wire.GroupShieldsReq, wire.DeviceTokensReq, wire.DeliveryCursors, wire.PushTokensGone,
		wire.APIKeyReq, wire.APIUsersReq, wire.APIUserSaveReq, wire.APIGroupsReq, wire.APIHistoryReq, wire.APIAuditReq,
		wire.APIClaimReq, wire.APIEndReq,
	}
	of := map[wire.Command]bool{}
	for _, id := range servers {
		of[id] = true
	}
	for _, rows := range []map[wire.Command]Command{e.rows, e.operations} {
		for id, row := range rows {
			if (row.Asker == ByServer) != of[id] || row.Asker == 0 {
				t.Errorf("%v is asked by %d", id, row.Asker)
			}
			if (row.Asker == InLane) == (row.Query != nil) && row.Asker != ByServer {
				t.Errorf("%v: the lanes check operations, and only these", id)
			}
		}
	}
}

// An account that was opened again by plain SQL may ask at once.
func TestOpenedAccountsAskAtOnce(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.closeByHand("UPDATE IMUser SET status = 3")
	if err := e.directory.Active(t.Context(), e.bob); im.CodeOf(err) != im.Denied {
		t.Fatalf("closed: %v", err)
	}
	db := e.open()
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), "UPDATE IMUser SET status = 0"); err != nil {
		t.Fatal(err)
	}
	if err := e.directory.Active(t.Context(), e.bob); err != nil {
		t.Errorf("opened: %v", err)
	}
}
