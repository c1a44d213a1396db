//go:build unix

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"image"
	"image/color"
	"image/jpeg"
	"io"
	"math/rand/v2"
	"mime/multipart"
	"net"
	"net/http"
	"net/textproto"
	"strconv"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"teamtalk/client"
	"teamtalk/internal/testenv"
	"teamtalk/internal/wire"
	"teamtalk/pb/basedefine"
	"teamtalk/pb/file"
	"teamtalk/pb/login"
	"teamtalk/test/e2e/cluster"
	"teamtalk/test/e2e/dialog"
)

// fileTimeout bounds one step of a transfer; it only matters when something is
// broken.
const fileTimeout = time.Minute

// windows is an original Windows client as the servers see it: it is logged in
// at a msg_server, and opens a connection of its own for each transfer.
type windows struct {
	*client.RawConn
	t    *testing.T
	ctx  context.Context //nolint:containedctx // of the test
	user uint32
}

func logIn(t *testing.T, addr, name string) *windows {
	t.Helper()
	w := &windows{t: t}
	var cancel context.CancelFunc
	w.ctx, cancel = context.WithTimeout(t.Context(), 3*fileTimeout)
	t.Cleanup(cancel)
	w.RawConn = w.dial(addr)
	w.send(wire.LoginReq, 1, &login.IMLoginReq{
		UserName: proto.String(name), Password: proto.String(client.PasswordMD5(dialog.Password)),
		OnlineStatus: basedefine.UserStatType_USER_STATUS_ONLINE.Enum(),
		ClientType:   basedefine.ClientType_CLIENT_TYPE_WINDOWS.Enum(), ClientVersion: proto.String("1.0"),
	})
	res := new(login.IMLoginRes)
	w.expect(w.RawConn, wire.LoginRes, res)
	if res.GetResultCode() != basedefine.ResultType_REFUSE_REASON_NONE {
		t.Fatalf("log-in of %s: %v", name, res)
	}
	w.user = res.GetUserInfo().GetUserId()
	return w
}

func (w *windows) dial(addr string) *client.RawConn {
	w.t.Helper()
	c, err := client.DialRaw(w.ctx, addr, "")
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(c.Close)
	return c
}

func (w *windows) send(command wire.Command, seq uint16, m proto.Message) {
	w.t.Helper()
	if err := w.Send(command, seq, m); err != nil {
		w.t.Fatal(err)
	}
}

func (w *windows) expect(c *client.RawConn, command wire.Command, m proto.Message) {
	w.t.Helper()
	if err := c.Expect(w.ctx, command, m); err != nil {
		w.t.Fatal(err)
	}
}

// offer begins a transfer; right after a start, the servers may not have found
// each other yet.
func (w *windows) offer(to uint32, size int, mode basedefine.TransferFileType) *file.IMFileRsp {
	w.t.Helper()
	res := new(file.IMFileRsp)
	testenv.Eventually(w.t, fileTimeout, func() bool {
		w.send(wire.FileReq, 2, &file.IMFileReq{
			FromUserId: proto.Uint32(w.user), ToUserId: &to, FileName: proto.String(`C:\docs\报告.doc`),
			FileSize: proto.Uint32(uint32(size)), TransMode: mode.Enum(),
		})
		res.Reset()
		w.expect(w.RawConn, wire.FileRes, res)
		return res.GetResultCode() == 0
	}, "no task for a file")
	return res
}

// enter opens a connection for a transfer and logs in to it.
func (w *windows) enter(at []*basedefine.IpAddr, task string, role basedefine.ClientFileRole) (*client.RawConn, uint32) {
	w.t.Helper()
	if len(at) == 0 {
		w.t.Fatal("no address of a file_server")
	}
	c := w.dial(net.JoinHostPort(at[0].GetIp(), strconv.Itoa(int(at[0].GetPort()))))
	err := c.Send(wire.FileLoginReq, 3, &file.IMFileLoginReq{UserId: &w.user, TaskId: &task, FileRole: role.Enum()})
	if err != nil {
		w.t.Fatal(err)
	}
	res := new(file.IMFileLoginRsp)
	w.expect(c, wire.FileLoginRes, res)
	return c, res.GetResultCode()
}

// serveBlocks answers whoever pulls until the transfer is done.
func (w *windows) serveBlocks(c *client.RawConn, task string, data []byte) {
	w.t.Helper()
	for {
		pdu, err := c.Receive(w.ctx)
		if err != nil {
			w.t.Error(err)
			return
		}
		if pdu.Command == wire.FileState {
			state := new(file.IMFileState)
			if err := proto.Unmarshal(pdu.Body, state); err != nil || state.GetState() != basedefine.ClientFileState_CLIENT_FILE_DONE {
				w.t.Errorf("state %v, %v", state, err)
			}
			return
		}
		req := new(file.IMFilePullDataReq)
		if err := proto.Unmarshal(pdu.Body, req); err != nil || pdu.Command != wire.FilePullDataReq {
			w.t.Errorf("%v, %v", pdu.Command, err)
			return
		}
		end := min(int(req.GetOffset()+req.GetDataSize()), len(data))
		err = c.Send(wire.FilePullDataRes, pdu.Seq, &file.IMFilePullDataRsp{
			ResultCode: proto.Uint32(0), TaskId: &task, UserId: &w.user, Offset: req.Offset,
			FileData: data[req.GetOffset():end],
		})
		if err != nil {
			w.t.Error(err)
			return
		}
	}
}

// fetch pulls a file, and says when it is done.
func (w *windows) fetch(c *client.RawConn, task string, size int, mode basedefine.TransferFileType) []byte {
	w.t.Helper()
	var got []byte
	for len(got) < size {
		err := c.Send(wire.FilePullDataReq, 4, &file.IMFilePullDataReq{
			TaskId: &task, UserId: &w.user, TransMode: mode.Enum(),
			Offset: proto.Uint32(uint32(len(got))), DataSize: proto.Uint32(34816),
		})
		if err != nil {
			w.t.Fatal(err)
		}
		res := new(file.IMFilePullDataRsp)
		w.expect(c, wire.FilePullDataRes, res)
		if res.GetResultCode() != 0 || len(res.GetFileData()) == 0 {
			w.t.Fatalf("block at %d: result %d, %d bytes", len(got), res.GetResultCode(), len(res.GetFileData()))
		}
		got = append(got, res.GetFileData()...)
	}
	if mode == basedefine.TransferFileType_FILE_TYPE_ONLINE {
		state := basedefine.ClientFileState_CLIENT_FILE_DONE.Enum()
		if err := c.Send(wire.FileState, 5, &file.IMFileState{State: state, TaskId: &task, UserId: &w.user}); err != nil {
			w.t.Fatal(err)
		}
	}
	return got
}

// waiting asks for the off-line files until there are n.
func (w *windows) waiting(n int) *file.IMFileHasOfflineRsp {
	w.t.Helper()
	res := new(file.IMFileHasOfflineRsp)
	testenv.Eventually(w.t, fileTimeout, func() bool {
		w.send(wire.FileHasOfflineReq, 6, &file.IMFileHasOfflineReq{UserId: &w.user})
		res.Reset()
		w.expect(w.RawConn, wire.FileHasOfflineRes, res)
		return len(res.GetOfflineFileList()) == n && len(res.GetIpAddrList()) > 0
	}, "not %d off-line files", n)
	return res
}

func someBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{7}).Read(b)
	return b
}

// Original clients send files to each other over two msg_servers, on-line and
// off-line, byte for byte, and over a kill of the file_server.
func TestFiles(t *testing.T) {
	t.Parallel()
	const (
		online  = basedefine.TransferFileType_FILE_TYPE_ONLINE
		offline = basedefine.TransferFileType_FILE_TYPE_OFFLINE
		sender  = basedefine.ClientFileRole_CLIENT_REALTIME_SENDER
		recver  = basedefine.ClientFileRole_CLIENT_REALTIME_RECVER
		up      = basedefine.ClientFileRole_CLIENT_OFFLINE_UPLOAD
		down    = basedefine.ClientFileRole_CLIENT_OFFLINE_DOWNLOAD
	)
	c := cluster.Start(t, cluster.Options{Bin: bin, Msg: 2, File: 1})
	if _, err := c.CreateUsers(t.Context(), []string{"alice", "bob"}, dialog.Password); err != nil {
		t.Fatal(err)
	}
	alice, bob := logIn(t, c.Addr("msg_server_1"), "alice"), logIn(t, c.Addr("msg_server_2"), "bob")
	data := someBytes(1_000_003)

	var task *file.IMFileRsp
	testenv.Eventually(t, fileTimeout, func() bool { // the route_server learns of log-ins a little later
		task = alice.offer(bob.user, len(data), online)
		return task.GetTransMode() == online
	}, "bob is not on-line")
	note := new(file.IMFileNotify)
	for note.GetTaskId() != task.GetTaskId() {
		note.Reset()
		bob.expect(bob.RawConn, wire.FileNotify, note)
	}
	if note.GetFileName() != "报告.doc" || note.GetFileSize() != uint32(len(data)) || note.GetFromUserId() != alice.user {
		t.Errorf("0508: %v", note)
	}
	from, code := alice.enter(task.GetIpAddrList(), task.GetTaskId(), sender)
	to, code2 := bob.enter(note.GetIpAddrList(), note.GetTaskId(), recver)
	if code != 0 || code2 != 0 {
		t.Fatalf("log-ins: %d, %d", code, code2)
	}
	ready := new(file.IMFileState)
	bob.expect(to, wire.FileState, ready)
	served := make(chan struct{})
	go func() { defer close(served); alice.serveBlocks(from, task.GetTaskId(), data) }()
	if got := bob.fetch(to, task.GetTaskId(), len(data), online); !bytes.Equal(got, data) {
		t.Error("on-line: the bytes differ")
	}
	<-served

	task = alice.offer(bob.user, len(data), offline)
	if from, code = alice.enter(task.GetIpAddrList(), task.GetTaskId(), up); code != 0 {
		t.Fatalf("log-in of the upload: %d", code)
	}
	alice.serveBlocks(from, task.GetTaskId(), data)
	alice.send(wire.FileAddOfflineReq, 7, &file.IMFileAddOfflineReq{
		FromUserId: &alice.user, ToUserId: &bob.user, TaskId: task.TaskId, FileName: proto.String("报告.doc"),
		FileSize: proto.Uint32(uint32(len(data))),
	})
	for note.GetOfflineReady() != 1 {
		bob.expect(bob.RawConn, wire.FileNotify, note)
	}
	if err := c.KillServer("file_server_1"); err != nil {
		t.Fatal(err)
	}
	if err := c.StartServer(t.Context(), "file_server_1"); err != nil {
		t.Fatal(err)
	}
	list := bob.waiting(1)
	if to, code = bob.enter(list.GetIpAddrList(), list.GetOfflineFileList()[0].GetTaskId(), down); code != 0 {
		t.Fatalf("log-in of the download: %d", code)
	}
	if got := bob.fetch(to, task.GetTaskId(), len(data), offline); !bytes.Equal(got, data) {
		t.Error("off-line: the bytes differ")
	}
	bob.send(wire.FileDelOfflineReq, 8, &file.IMFileDelOfflineReq{
		FromUserId: &alice.user, ToUserId: &bob.user, TaskId: task.TaskId,
	})
	testenv.Eventually(t, fileTimeout, func() bool {
		again, code := bob.enter(list.GetIpAddrList(), task.GetTaskId(), down)
		again.Close()
		return code == 1
	}, "the file is still there")
	images(t, c.ImageURL(1))
}

// images uploads a picture as phones do and fetches it, whole and small.
func images(t *testing.T, url string) {
	t.Helper()
	picture := image.NewRGBA(image.Rect(0, 0, 400, 200))
	picture.Set(3, 3, color.White)
	var body, encoded bytes.Buffer
	if err := jpeg.Encode(&encoded, picture, nil); err != nil {
		t.Fatal(err)
	}
	form := multipart.NewWriter(&body)
	part, err := form.CreatePart(textproto.MIMEHeader{
		"Content-Disposition": {`form-data; name="file0"; filename="photo.jpg"`}, "Content-Type": {"image/jpeg"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := part.Write(encoded.Bytes()); err != nil {
		t.Fatal(err)
	}
	if err := form.Close(); err != nil {
		t.Fatal(err)
	}
	res, err := http.Post(url, form.FormDataContentType(), &body)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var answer struct {
		Code int `json:"error_code"`
		URL  string
	}
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil || answer.Code != 0 {
		t.Fatalf("%+v, %v", answer, err)
	}
	get := func(url string) []byte {
		t.Helper()
		res, err := http.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		content, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != "image/jpeg" {
			t.Fatalf("%s: %s, %v", url, res.Status, err)
		}
		return content
	}
	if !bytes.Equal(get(answer.URL), encoded.Bytes()) {
		t.Error("the picture differs")
	}
	small, err := jpeg.DecodeConfig(bytes.NewReader(get(answer.URL + "_100x100.jpg")))
	if err != nil || small.Width != 100 || small.Height != 50 {
		t.Errorf("the small picture is %d x %d, %v", small.Width, small.Height, err)
	}
}
