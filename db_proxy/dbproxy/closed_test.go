package dbproxy

import (
	"database/sql"
	"fmt"
	"path/filepath"
	"testing"

	"google.golang.org/protobuf/proto"

	"teamtalk/internal/link"
	"teamtalk/internal/link/linktest"
	"teamtalk/internal/wire"
	"teamtalk/pb/extension"
)

// An account that was closed or deleted by plain SQL, of which no change log
// tells, is told to the msg_servers all the same.
func TestAccountsClosedByHand(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "tt.db")
	r := start(t, "StoreDriver=sqlite\nStorePath="+path+"\n")
	ids := r.accounts("alice", "bob", "carol")
	p := linktest.DialOurs(t, r.addr, link.Config{
		Role: "msg_server", Capabilities: []string{link.CapStore, link.CapRelay, link.CapDelivery},
	})
	db, err := sql.Open("sqlite", "file:"+path+"?_busy_timeout=5000")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var known activeAccounts
	compare := func() {
		t.Helper()
		if err := r.compareAccounts(t.Context(), &known); err != nil {
			t.Fatal(err)
		}
	}
	compare()
	for user, text := range map[uint32]string{
		ids[1]: "UPDATE IMUser SET status = 3 WHERE id = %d", ids[2]: "DELETE FROM IMUser WHERE id = %d",
	} {
		if _, err := db.ExecContext(t.Context(), fmt.Sprintf(text, user)); err != nil {
			t.Fatal(err)
		}
		compare()
		for closed := (&extension.IMUserClosed{}); closed.GetUserId() != user; { // the other may be told twice
			if err := proto.Unmarshal(p.Want(wire.UserClosed).Body, closed); err != nil {
				t.Fatal(err)
			}
		}
	}
	compare()
}
