package fileserver

import (
	"bytes"
	"io"
	"net/http"
	"strconv"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"teamtalk/internal/im"
	"teamtalk/internal/link/linktest"
	"teamtalk/internal/share"
	"teamtalk/internal/wire"
	"teamtalk/pb/basedefine"
	"teamtalk/pb/extension"
)

// wantMoved waits for the word how far a file of 3000 bytes is.
func (w *world) wantMoved(id string, moved int, by uint32) {
	w.t.Helper()
	got, want := new(extension.IMFileMoved), &extension.IMFileMoved{
		FileId: proto.String(id), FromUserId: proto.Uint32(alice), SessionType: basedefine.SessionType_SESSION_TYPE_SINGLE.Enum(),
		ToSessionId: proto.Uint32(bob), FileName: proto.String("a b.txt"), FileSize: proto.Uint64(3000),
		Moved: proto.Uint64(uint64(moved)),
	}
	if by != 0 {
		want.FetchedBy = proto.Uint32(by)
	}
	if decode(w.t, w.msg.Want(wire.FileMoved).Body, got); !proto.Equal(got, want) {
		w.t.Fatalf("0587: %v\nwant %v", got, want)
	}
}

// The receiver hears how far a file is that comes slowly, and cannot have a
// byte of it before it is whole; the sender hears how far the receiver is.
func TestMoved(t *testing.T) {
	t.Parallel()
	w := sharing(t)
	data := content(3000)
	id, token := w.begin(len(data), "")
	body, slow := io.Pipe()
	answered := make(chan reply, 1)
	go func() {
		answered <- w.do("PATCH", "/files/"+id, token, body, tusHeader, "Content-Type: "+offsetType, "Upload-Offset: 0")
	}()
	feed := func(p []byte) {
		if _, err := slow.Write(p); err != nil {
			t.Error(err)
		}
	}
	feed(data[:1000])
	linktest.Eventually(t, "the first bytes", func() bool { return w.shares.moves.of(id) == 1000 })
	fetch := func(user uint32) reply {
		return w.do("GET", "/files/"+id, w.token(share.Download, im.UserID(user), toBob(), id), nil)
	}
	r := w.want(fetch(bob), http.StatusConflict)
	if r.Header.Get("Upload-Offset") != "1000" || r.Header.Get("Upload-Length") != "3000" || bytes.Contains(r.body, data[:16]) {
		t.Errorf("a file on its way: %v %q", r.Header, r.body)
	}
	w.shares.moves.backdate(movesEvery)
	feed(data[1000:2000])
	w.wantMoved(id, 2000, 0)
	feed(data[2000:])
	slow.Close()
	w.want(<-answered, http.StatusNoContent)
	w.msg.Want(wire.FileStored)

	if r := w.want(fetch(bob), http.StatusOK); !bytes.Equal(r.body, data) {
		t.Errorf("%d bytes", len(r.body))
	}
	w.wantMoved(id, 3000, bob)
	fetch(bob)   // at once again: told already
	fetch(alice) // her own
	w.shares.moves.backdate(movesEvery)
	w.want(w.do("GET", "/files/"+id, w.token(share.Download, bob, toBob(), id), nil, "Range: bytes=100-199"), http.StatusPartialContent)
	w.wantMoved(id, 200, bob)
	w.want(w.do("GET", "/files/"+id, w.token(share.Download, bob, toBob(), id), nil, "Range: bytes=1-2,5-2999"), http.StatusPartialContent)
	w.want(fetch(bob), http.StatusOK)
	w.wantMoved(id, 3000, bob)
	w.shares.moves.backdate(movesFor + time.Second)
	w.shares.moves.sweep()
	if n := len(w.shares.moves.last); n != 0 {
		t.Errorf("%d moves are remembered", n)
	}
}

// backdate makes what was told older.
func (m *moves) backdate(d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for k, last := range m.last {
		m.last[k] = moment{at: last.at.Add(-d), ended: last.ended.Add(-d), done: last.done}
	}
}

// What moves is remembered within bounds.
func TestManyMoves(t *testing.T) {
	t.Parallel()
	w := sharing(t)
	for i := range maxMoves + 10 {
		w.shares.moves.note(move{file: strconv.Itoa(i)}, &sharedInfo{}, 2, 1)
	}
	if n := len(w.shares.moves.last); n != maxMoves {
		t.Errorf("%d moves", n)
	}
}
