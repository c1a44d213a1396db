package msgserver

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"teamtalk/internal/im"
	"teamtalk/internal/link"
	"teamtalk/internal/link/linktest"
	"teamtalk/internal/wire"
	"teamtalk/pb/basedefine"
	"teamtalk/pb/buddy"
	"teamtalk/pb/extension"
	"teamtalk/pb/file"
	"teamtalk/pb/server"
)

// fileWorld is a world with file_servers at 10.0.0.1 and so on.
func fileWorld(t *testing.T, servers ...*neighbour) *world {
	t.Helper()
	var conf strings.Builder
	for i, n := range servers {
		fmt.Fprintf(&conf, "\nFileServerIP%d=127.0.0.1\nFileServerPort%d=%d\n", i+1, i+1, n.port)
		addrs := &server.IMFileServerIPRsp{IpAddrList: []*basedefine.IpAddr{fileAddr(i + 1)}}
		n.does(func(r received) bool {
			if r.Command != wire.FileServerAddrsReq {
				return false
			}
			r.answer(t, wire.FileServerAddrsRes, addrs)
			return true
		})
	}
	db := ourDB(t)
	db.does(accounts(t, letIn(t)))
	w := newWorldOf(t, setup{dbs: []*neighbour{db}, conf: conf.String()})
	linktest.Eventually(t, "the file_servers", func() bool { return len(w.fileServers.all()) == len(servers) })
	return w
}

func ourFiles(t *testing.T) *neighbour {
	t.Helper()
	return ours(t, link.Config{Role: "file_server", Capabilities: []string{link.CapFiles}})
}

func fileAddr(i int) *basedefine.IpAddr {
	return &basedefine.IpAddr{Ip: proto.String(fmt.Sprintf("10.0.0.%d", i)), Port: n(8600)}
}

func fileReq(to uint32, mode basedefine.TransferFileType) *file.IMFileReq {
	return &file.IMFileReq{
		FromUserId: n(99), ToUserId: n(to), FileName: proto.String(`C:\a.txt`), FileSize: n(5), TransMode: mode.Enum(),
	}
}

// grant answers the next 0731, which must be for a mode.
func grant(t *testing.T, fs *neighbour, mode basedefine.TransferFileType, result uint32) {
	t.Helper()
	r := fs.want(wire.FileTransferReq)
	req := decode(t, r.Body, new(server.IMFileTransferReq))
	if req.GetFromUserId() != 7 || req.GetTransMode() != mode || req.GetFileName() != `C:\a.txt` {
		t.Fatalf("0731: %v", req)
	}
	r.answer(t, wire.FileTransferRes, &server.IMFileTransferRsp{
		ResultCode: n(result), FromUserId: req.FromUserId, ToUserId: req.ToUserId, FileName: proto.String("a.txt"),
		FileSize: req.FileSize, TaskId: proto.String("task"), TransMode: req.TransMode, AttachData: req.GetAttachData(),
	})
}

func (u *user) wantFileRes(seq uint16, result uint32, mode basedefine.TransferFileType) {
	u.t.Helper()
	got := new(file.IMFileRsp)
	want := &file.IMFileRsp{
		ResultCode: n(result), FromUserId: n(7), ToUserId: n(9), FileName: proto.String(`C:\a.txt`),
		TaskId: proto.String("task"), IpAddrList: []*basedefine.IpAddr{fileAddr(1)}, TransMode: mode.Enum(),
	}
	if result != 0 {
		want.TaskId, want.IpAddrList = proto.String(""), nil
	}
	if pdu := u.want(wire.FileRes, got); pdu.Seq != seq || !proto.Equal(got, want) {
		u.t.Fatalf("0507: seq %d, %v\nwant %d, %v", pdu.Seq, got, seq, want)
	}
}

func (u *user) wantFileNotify(mode basedefine.TransferFileType, ready uint32) {
	u.t.Helper()
	got := new(file.IMFileNotify)
	u.push(wire.FileNotify, got)
	want := &file.IMFileNotify{
		FromUserId: n(7), ToUserId: n(9), FileName: proto.String("a.txt"), FileSize: n(5), TaskId: proto.String("task"),
		IpAddrList: []*basedefine.IpAddr{fileAddr(1)}, TransMode: mode.Enum(), OfflineReady: n(ready),
	}
	if !proto.Equal(got, want) {
		u.t.Fatalf("0508: %v\nwant %v", got, want)
	}
}

// Source: docs/protocol/flows.md §16.1.
func TestFileRequest(t *testing.T) {
	t.Parallel()
	fs := ourFiles(t)
	w := fileWorld(t, fs)
	from, pc, phone := w.login(7, im.Windows), w.login(9, im.Windows), w.login(9, im.Android)

	from.send(wire.FileReq, 3, fileReq(9, transferOnline)) // his PC is here
	grant(t, fs, transferOnline, 0)
	from.wantFileRes(3, 0, transferOnline)
	pc.wantFileNotify(transferOnline, 0)
	relayed := decode(t, w.route1.want(wire.Relay).Body, new(extension.IMRelay))
	if relayed.GetCommand() != uint32(wire.FileNotify) || len(relayed.GetTargets()) != 1 || relayed.GetTargets()[0] != 9 {
		t.Errorf("relayed %v", relayed)
	}
	from.send(wire.FileReq, 4, fileReq(9, transferOffline)) // wanted so
	grant(t, fs, transferOffline, 1)                        // refused there
	from.wantFileRes(4, 1, transferOffline)
	pc.quiet()
	phone.quiet()

	for name, bad := range map[string]*file.IMFileReq{
		"to nobody": fileReq(0, transferOnline), "nothing": {FromUserId: n(7), ToUserId: n(9), FileName: proto.String("a"), FileSize: n(0), TransMode: transferOnline.Enum()},
	} {
		from.send(wire.FileReq, 5, bad)
		got := new(file.IMFileRsp)
		if from.want(wire.FileRes, got); got.GetResultCode() != 1 {
			t.Errorf("%s: %v", name, got)
		}
	}
	from.sendBody(wire.FileReq, 6, []byte{0xff})
	from.send(wire.FileReq, 6, fileReq(9, 5))
	fs.quiet()
}

// Only who is there gets files. Source: docs/files.md.
func TestFileReceivers(t *testing.T) {
	t.Parallel()
	fs := ourFiles(t)
	w := fileWorld(t, fs)
	from := w.login(7, im.Windows)
	refused := func(seq uint16, to uint32) {
		t.Helper()
		from.send(wire.FileReq, seq, fileReq(to, transferOffline))
		got, want := new(file.IMFileRsp), &file.IMFileRsp{
			ResultCode: n(1), FromUserId: n(7), ToUserId: n(to), FileName: proto.String(`C:\a.txt`), TaskId: proto.String(""),
			TransMode: transferOffline.Enum(),
		}
		if pdu := from.want(wire.FileRes, got); pdu.Seq != seq || !proto.Equal(got, want) {
			t.Fatalf("0507: seq %d, %v\nwant %d, %v", pdu.Seq, got, seq, want)
		}
	}
	refused(1, unknownUser)
	refused(2, disabledUser)
	if got := w.dropped("file_no_receiver"); got != 2 {
		t.Errorf("%v without a receiver", got)
	}
	from.send(wire.FileReq, 3, fileReq(9, transferOffline)) // is away
	grant(t, fs, transferOffline, 0)
	from.wantFileRes(3, 0, transferOffline)
	w.db1.does(letIn(t)) // does not answer
	from.send(wire.FileReq, 4, fileReq(9, transferOnline))
	w.db1.want(wire.UserInfoReq)
	w.skip(fileAsksFor + time.Second)
	from.wantFileRes(4, 1, transferOnline)
	w.login(9, im.Android) // is here: nobody is asked
	from.send(wire.FileReq, 5, fileReq(9, transferOffline))
	grant(t, fs, transferOffline, 1)
	from.wantFileRes(5, 1, transferOffline)
	w.db1.quiet()
	fs.quiet()
}

// Who is not known to be on-line with a PC gets the file off-line.
// Source: docs/protocol/defects.md C7, G8.
func TestFileModes(t *testing.T) {
	t.Parallel()
	fs := ourFiles(t)
	w := fileWorld(t, fs)
	from := w.login(7, im.Windows)
	w.login(9, im.Android)
	answer := func(status basedefine.UserStatType) {
		t.Helper()
		r := w.route1.want(wire.UsersStatusReq)
		req := decode(t, r.Body, new(buddy.IMUsersStatReq))
		if len(req.GetUserIdList()) != 1 || req.GetUserIdList()[0] != 9 {
			t.Fatalf("020A: %v", req)
		}
		r.answer(t, wire.UsersStatusRes, &buddy.IMUsersStatRsp{
			UserId: req.UserId, AttachData: req.GetAttachData(),
			UserStatList: []*basedefine.UserStat{{UserId: n(9), Status: status.Enum()}},
		})
	}
	from.send(wire.FileReq, 1, fileReq(9, transferOnline))
	answer(basedefine.UserStatType_USER_STATUS_ONLINE)
	grant(t, fs, transferOnline, 0)
	from.wantFileRes(1, 0, transferOnline)
	w.route1.want(wire.Relay)
	from.send(wire.FileReq, 2, fileReq(9, transferOnline))
	answer(basedefine.UserStatType_USER_STATUS_OFFLINE)
	grant(t, fs, transferOffline, 1)
	from.wantFileRes(2, 1, transferOffline)
	from.send(wire.FileReq, 3, fileReq(9, transferOnline)) // no answer
	w.route1.want(wire.UsersStatusReq)
	w.skip(statusPeriod + time.Second)
	grant(t, fs, transferOffline, 1)
	from.wantFileRes(3, 1, transferOffline)
	w.route1.stop()
	linktest.Eventually(t, "no route_server", func() bool { return !w.routes.open() })
	from.send(wire.FileReq, 4, fileReq(9, transferOnline)) // nobody to ask
	grant(t, fs, transferOffline, 1)
	from.wantFileRes(4, 1, transferOffline)

	from.send(wire.FileReq, 5, fileReq(9, transferOffline)) // the file_server does not answer
	fs.want(wire.FileTransferReq)
	w.skip(fileAsksFor + time.Second)
	from.wantFileRes(5, 1, transferOffline)
	from.send(wire.FileReq, 6, fileReq(9, transferOffline)) // it dies
	fs.want(wire.FileTransferReq)
	fs.stop()
	from.wantFileRes(6, 1, transferOffline)
	linktest.Eventually(t, "no file_server", func() bool { return len(w.fileServers.all()) == 0 })
	from.send(wire.FileReq, 7, fileReq(9, transferOffline)) // there is none
	from.wantFileRes(7, 1, transferOffline)
}

// A stored file is announced with the address of the file_server that has it,
// which is asked, not believed. Source: docs/protocol/flows.md §16.4;
// docs/protocol/defects.md G6.
func TestFileAddOffline(t *testing.T) {
	t.Parallel()
	first, second := ourFiles(t), ourFiles(t)
	w := fileWorld(t, first, second)
	from, pc := w.login(7, im.Windows), w.login(9, im.Windows)
	answer := func(fs *neighbour, found bool, owner uint32) {
		t.Helper()
		r := fs.want(wire.FileTaskReq)
		req := decode(t, r.Body, new(extension.IMFileTaskReq))
		if req.GetTaskId() != "task" || req.GetUserId() != 7 {
			t.Fatalf("058A: %v", req)
		}
		r.answer(t, wire.FileTaskRes, &extension.IMFileTaskRsp{
			TaskId: req.TaskId, Found: &found, FromUserId: n(owner), ToUserId: n(9), FileName: proto.String("a.txt"),
			FileSize: n(5), Expires: n(1000), AttachData: req.GetAttachData(),
		})
	}
	said := &file.IMFileAddOfflineReq{
		FromUserId: n(99), ToUserId: n(98), TaskId: proto.String("task"), FileName: proto.String("lie"), FileSize: n(1),
	}
	from.send(wire.FileAddOfflineReq, 1, said)
	answer(second, false, 0)
	answer(first, true, 7)
	stored := decode(t, w.db1.want(wire.FileAddOfflineReq).Body, new(file.IMFileAddOfflineReq))
	want := &file.IMFileAddOfflineReq{
		FromUserId: n(7), ToUserId: n(9), TaskId: proto.String("task"), FileName: proto.String("a.txt"), FileSize: n(5),
		FileServer: proto.String("10.0.0.1:8600"), Expires: n(1000),
	}
	if !proto.Equal(stored, want) {
		t.Errorf("050B to the db_proxy: %v\nwant %v", stored, want)
	}
	pc.wantFileNotify(transferOffline, 1)
	from.send(wire.FileAddOfflineReq, 1, said) // nobody has it
	answer(first, false, 0)
	answer(second, false, 0)
	from.send(wire.FileAddOfflineReq, 1, said) // he is its receiver
	answer(first, true, 8)
	linktest.Eventually(t, "the drops", func() bool {
		return w.dropped("file_unknown") == 1 && w.dropped("file_not_allowed") == 1
	})
	pc.quiet()
	w.db1.quiet()
}

// Source: docs/protocol/flows.md §16.5; docs/protocol/defects.md D7, F7, G6.
func TestFileLists(t *testing.T) {
	t.Parallel()
	first, second := ourFiles(t), ourFiles(t)
	w := fileWorld(t, first, second)
	u := w.login(9, im.Windows)
	u.send(wire.FileHasOfflineReq, 5, &file.IMFileHasOfflineReq{UserId: n(99)})
	r := w.db1.want(wire.FileHasOfflineReq)
	req := decode(t, r.Body, new(file.IMFileHasOfflineReq))
	if req.GetUserId() != 9 {
		t.Errorf("0509: %v", req)
	}
	info := func(task, at string) *basedefine.OfflineFileInfo {
		i := &basedefine.OfflineFileInfo{FromUserId: n(7), TaskId: &task, FileName: proto.String("a"), FileSize: n(5)}
		if at != "" {
			i.FileServer = &at
		}
		return i
	}
	r.answer(t, wire.FileHasOfflineRes, &file.IMFileHasOfflineRsp{
		UserId: n(9), AttachData: req.GetAttachData(), OfflineFileList: []*basedefine.OfflineFileInfo{
			info("a", "10.0.0.2:8600"), info("b", "10.0.0.1:8600"), info("c", "10.0.0.2:8600"), info("d", "10.9.9.9:1"),
		},
	})
	for _, want := range []*file.IMFileHasOfflineRsp{
		{UserId: n(9), IpAddrList: []*basedefine.IpAddr{fileAddr(2)}, OfflineFileList: []*basedefine.OfflineFileInfo{info("a", ""), info("c", "")}},
		{UserId: n(9), IpAddrList: []*basedefine.IpAddr{fileAddr(1)}, OfflineFileList: []*basedefine.OfflineFileInfo{info("b", "")}},
		{UserId: n(9), IpAddrList: []*basedefine.IpAddr{{Ip: proto.String("10.9.9.9"), Port: n(1)}}, OfflineFileList: []*basedefine.OfflineFileInfo{info("d", "")}},
	} {
		got := new(file.IMFileHasOfflineRsp)
		if pdu := u.want(wire.FileHasOfflineRes, got); pdu.Seq != 5 || !proto.Equal(got, want) {
			t.Errorf("050A: %v\nwant %v", got, want)
		}
	}
	del := &file.IMFileDelOfflineReq{FromUserId: n(7), ToUserId: n(9), TaskId: proto.String("a")}
	u.send(wire.FileDelOfflineReq, 6, del)
	if got := decode(t, w.db1.want(wire.FileDelOfflineReq).Body, new(file.IMFileDelOfflineReq)); !proto.Equal(got, del) {
		t.Errorf("050C: %v", got)
	}
	for _, fs := range []*neighbour{first, second} {
		if got := decode(t, fs.want(wire.FileTaskDelete).Body, new(extension.IMFileTaskDelete)); got.GetTaskId() != "a" || got.GetUserId() != 9 {
			t.Errorf("058C: %v", got)
		}
	}
	stranger := w.login(8, im.Windows)
	stranger.send(wire.FileDelOfflineReq, 6, del)
	linktest.Eventually(t, "the refusal", func() bool { return w.dropped("file_not_allowed") == 1 })
	w.db1.quiet()
	first.quiet()
}

// An original file_server is believed, as the original does.
func TestOriginalFileServer(t *testing.T) {
	t.Parallel()
	fs := original(t)
	w := fileWorld(t, fs)
	from, pc := w.login(7, im.Windows), w.login(9, im.Windows)
	from.send(wire.FileAddOfflineReq, 1, &file.IMFileAddOfflineReq{
		FromUserId: n(99), ToUserId: n(9), TaskId: proto.String("task"), FileName: proto.String("a.txt"), FileSize: n(5),
		FileServer: proto.String("10.6.6.6:6"),
	})
	stored := decode(t, w.db1.want(wire.FileAddOfflineReq).Body, new(file.IMFileAddOfflineReq))
	if stored.GetFromUserId() != 7 || stored.FileServer != nil {
		t.Errorf("050B to the db_proxy: %v", stored)
	}
	pc.wantFileNotify(transferOffline, 1)
	from.send(wire.FileAddOfflineReq, 2, &file.IMFileAddOfflineReq{
		FromUserId: n(7), ToUserId: n(unknownUser), TaskId: proto.String("task"), FileName: proto.String("a.txt"), FileSize: n(5),
	})
	linktest.Eventually(t, "the drop", func() bool { return w.dropped("file_no_receiver") == 1 })
	w.db1.quiet()
}
