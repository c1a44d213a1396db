package msgserver

import (
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"teamtalk/client/textcrypt"
	"teamtalk/internal/im"
	"teamtalk/internal/link/linktest"
	"teamtalk/internal/secret"
	"teamtalk/internal/share"
	"teamtalk/internal/wire"
	"teamtalk/pb/basedefine"
	"teamtalk/pb/extension"
	"teamtalk/pb/group"
)

// sharesWorld is a world whose file_server is called abcdefgh; group 5 has the
// members 7 and 8.
func sharesWorld(t *testing.T) (*world, *neighbour) {
	t.Helper()
	fs, db := ourFiles(t), ourDB(t)
	store := storing(t, map[uint32][]uint32{5: {7, 8}})
	db.does(accounts(t, func(r received) bool {
		if r.Command != wire.GroupInfoReq {
			return store(r)
		}
		req := decode(t, r.Body, new(group.IMGroupInfoListReq))
		r.answer(t, wire.GroupInfoRes, &group.IMGroupInfoListRsp{
			UserId: req.UserId, AttachData: req.GetAttachData(), GroupInfoList: []*basedefine.GroupInfo{{
				GroupId: n(5), Version: n(1), GroupName: proto.String("g"), GroupAvatar: proto.String(""), GroupCreatorId: n(7),
				GroupType: basedefine.GroupType_GROUP_TYPE_TMP.Enum(), ShieldStatus: n(0), GroupMemberList: []uint32{7, 8},
			}},
		})
		return true
	}))
	w := newWorldOf(t, setup{dbs: []*neighbour{db}, conf: fmt.Sprintf(
		"\nFileTokenSecret=0123456789abcdef\nFileServerIP1=127.0.0.1\nFileServerPort1=%d\n", fs.port)})
	fs.want(wire.FileServerAddrsReq)
	fs.send(wire.FileServerInfo, 0, &extension.IMFileServerInfo{Name: proto.String("abcdefgh"), Url: proto.String("http://f/files/")})
	linktest.Eventually(t, "the file_server", func() bool { _, ok := w.fileServers.place(""); return ok })
	return w, fs
}

func (u *user) token(seq uint16, req *extension.IMFileTokenReq) *extension.IMFileTokenRsp {
	u.t.Helper()
	u.send(wire.FileTokenReq, seq, req)
	res := new(extension.IMFileTokenRsp)
	if pdu := u.want(wire.FileTokenRes, res); pdu.Seq != seq {
		u.t.Fatalf("seq %d of 0582", pdu.Seq)
	}
	return res
}

const (
	ofUser  = basedefine.SessionType_SESSION_TYPE_SINGLE
	ofGroup = basedefine.SessionType_SESSION_TYPE_GROUP
)

func TestFileTokens(t *testing.T) {
	t.Parallel()
	w, _ := sharesWorld(t)
	u := w.login(7, im.Mac, capFiles)
	signer := share.NewSigner(secret.New("0123456789abcdef"), w.clock)
	res := u.token(1, &extension.IMFileTokenReq{SessionType: ofUser.Enum(), SessionId: n(9)})
	g, err := signer.Verify(res.GetToken(), share.Upload, res.GetFileId())
	if res.GetResultCode() != 0 || err != nil || g.User != 7 || g.Conv != im.SingleOf(7, 9) ||
		share.ServerOf(res.GetFileId()) != "abcdefgh" || res.GetUrl() != "http://f/files/" {
		t.Fatalf("%v: %v, %v", res, g, err)
	}
	id := res.FileId
	res = u.token(2, &extension.IMFileTokenReq{SessionType: ofGroup.Enum(), SessionId: n(5), FileId: id, Download: proto.Bool(true)})
	if g, err = signer.Verify(res.GetToken(), share.Download, *id); err != nil || g.Conv != im.GroupOf(5) {
		t.Errorf("%v: %v, %v", res, g, err)
	}
	for name, bad := range map[string]struct {
		req  *extension.IMFileTokenReq
		code im.Code
	}{
		"to nobody":           {&extension.IMFileTokenReq{SessionType: ofUser.Enum(), SessionId: n(0)}, im.Invalid},
		"to nobody known":     {&extension.IMFileTokenReq{SessionType: ofUser.Enum(), SessionId: n(unknownUser)}, im.Denied},
		"to oneself":          {&extension.IMFileTokenReq{SessionType: ofUser.Enum(), SessionId: n(7)}, im.Invalid},
		"a path":              {&extension.IMFileTokenReq{SessionType: ofUser.Enum(), SessionId: n(9), FileId: proto.String("../x")}, im.Invalid},
		"nothing to download": {&extension.IMFileTokenReq{SessionType: ofUser.Enum(), SessionId: n(9), Download: proto.Bool(true)}, im.Invalid},
	} {
		if res := u.token(3, bad.req); res.GetResultCode() != uint32(bad.code) || res.Token != nil {
			t.Errorf("%s: %v", name, res)
		}
	}
	stranger := w.login(9, im.Mac, capFiles)
	res = stranger.token(4, &extension.IMFileTokenReq{SessionType: ofGroup.Enum(), SessionId: n(5), FileId: id, Download: proto.Bool(true)})
	if res.GetResultCode() != uint32(im.Denied) || res.Token != nil {
		t.Errorf("who is not in the group: %v", res)
	}
	old := w.login(8, im.Mac)
	old.send(wire.FileTokenReq, 5, &extension.IMFileTokenReq{SessionType: ofUser.Enum(), SessionId: n(9)})
	old.quiet()
}

// The message of a complete file is stored, delivered and relayed like any
// other, and then clients that understand it hear that the file is ready.
func TestFileStored(t *testing.T) {
	t.Parallel()
	w, fs := sharesWorld(t)
	sender, receiver, old := w.login(7, im.Mac, capFiles), w.login(8, im.Mac, capFiles), w.login(8, im.Android)
	id := share.NewID("abcdefgh")
	stored := &extension.IMFileStored{
		FileId: proto.String(id), FromUserId: n(7), SessionType: ofGroup.Enum(), ToSessionId: n(5),
		FileName: proto.String("a.txt"), FileSize: proto.Uint64(5 << 30), Hash: []byte(strings.Repeat("h", 32)),
	}
	fs.send(wire.FileStored, 0, stored)
	ack := decode(t, fs.want(wire.FileStoredAck).Body, new(extension.IMFileStoredAck))
	if ack.GetFileId() != id || ack.GetResultCode() != 0 || ack.GetMsgId() != 1 {
		t.Errorf("0586: %v", ack)
	}
	for _, u := range []*user{sender, receiver, old} {
		m := u.gets(7, 5, 1)
		text, err := textcrypt.Standard().Decrypt(m.GetMsgData())
		if got, name, ok := share.ParseText(text); err != nil || !ok || got != id || name != "a.txt" || !strings.Contains(text, "5.0 GiB") {
			t.Errorf("text %q, %v", text, err)
		}
	}
	for _, u := range []*user{sender, receiver} {
		ready := new(extension.IMFileReady)
		u.push(wire.FileReady, ready)
		if ready.GetFileId() != id || ready.GetMsgId() != 1 || ready.GetFileSize() != 5<<30 || ready.GetFromUserId() != 7 {
			t.Errorf("0583: %v", ready)
		}
	}
	old.quiet()
	if r := decode(t, w.route1.want(wire.Relay).Body, new(extension.IMRelay)); r.GetCommand() != uint32(wire.MsgData) {
		t.Errorf("relayed %v", r)
	}
	r := w.route1.want(wire.Relay)
	if m := decode(t, r.Body, new(extension.IMRelay)); m.GetCommand() != uint32(wire.FileReady) || len(m.GetTargets()) != 2 {
		t.Errorf("relayed %v", m)
	}
	w.route1.sendBody(wire.Relay, 0, r.Body) // as another server's arrives here
	receiver.push(wire.FileReady, new(extension.IMFileReady))
	old.quiet()

	for what, bad := range map[string]func(*extension.IMFileStored){
		"no id":   func(m *extension.IMFileStored) { m.FileId = proto.String("x") },
		"a path":  func(m *extension.IMFileStored) { m.FileName = proto.String("a/..") },
		"no user": func(m *extension.IMFileStored) { m.FromUserId = n(0) },
	} {
		m := proto.CloneOf(stored)
		bad(m)
		fs.send(wire.FileStored, 0, m)
		ack := decode(t, fs.want(wire.FileStoredAck).Body, new(extension.IMFileStoredAck))
		if ack.GetResultCode() != uint32(im.Invalid) {
			t.Errorf("%s: %v", what, ack)
		}
	}
}

// How far a file is, those who will get it hear while it is sent, and its
// sender while it is fetched; nobody does who did not ask for files.
func TestFileMoved(t *testing.T) {
	t.Parallel()
	w, fs := sharesWorld(t)
	sender, receiver, old := w.login(7, im.Mac, capFiles), w.login(8, im.Mac, capFiles), w.login(8, im.Android)
	relayed := func() *extension.IMRelay {
		t.Helper()
		return decode(t, w.route1.want(wire.Relay).Body, new(extension.IMRelay))
	}
	moved := func(kind basedefine.SessionType, to, by uint32) *extension.IMFileMoved {
		m := &extension.IMFileMoved{
			FileId: proto.String(share.NewID("abcdefgh")), FromUserId: n(7), SessionType: kind.Enum(), ToSessionId: n(to),
			FileName: proto.String("a.txt"), FileSize: proto.Uint64(9), Moved: proto.Uint64(5),
		}
		if by != 0 {
			m.FetchedBy = n(by)
		}
		return m
	}
	for what, c := range map[string]struct {
		m       *extension.IMFileMoved
		hears   *user
		targets uint32
	}{
		"to a user": {moved(ofUser, 8, 0), receiver, 8}, "to a group": {moved(ofGroup, 5, 0), receiver, 8},
		"fetched by a user": {moved(ofUser, 8, 8), sender, 7}, "fetched by a member": {moved(ofGroup, 5, 8), sender, 7},
	} {
		fs.send(wire.FileMoved, 0, c.m)
		got := new(extension.IMFileMoved)
		if c.hears.push(wire.FileMoved, got); !proto.Equal(got, c.m) {
			t.Errorf("%s: %v, want %v", what, got, c.m)
		}
		if r := relayed(); r.GetCommand() != uint32(wire.FileMoved) || len(r.GetTargets()) != 1 || r.GetTargets()[0] != c.targets {
			t.Errorf("%s: relayed %v", what, r)
		} else {
			w.route1.send(wire.Relay, 0, r) // as another server's arrives here
			c.hears.push(wire.FileMoved, got)
		}
	}
	stranger := moved(ofGroup, 5, 0)
	stranger.FromUserId = n(9)
	fs.send(wire.FileMoved, 0, stranger)
	nobody := moved(ofUser, 8, 0)
	nobody.ToSessionId = n(0)
	fs.send(wire.FileMoved, 0, nobody)
	linktest.Eventually(t, "the drops", func() bool { return w.dropped("file_not_allowed") == 1 && w.dropped("bad_body") == 1 })
	for _, u := range []*user{sender, receiver, old} {
		u.quiet()
	}
}
