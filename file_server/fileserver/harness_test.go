package fileserver

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"

	"teamtalk/internal/link"
	"teamtalk/internal/link/linktest"
	"teamtalk/internal/testenv"
	"teamtalk/internal/wire"
	"teamtalk/pb/basedefine"
	"teamtalk/pb/extension"
	"teamtalk/pb/file"
	"teamtalk/pb/server"
)

const (
	online  = basedefine.TransferFileType_FILE_TYPE_ONLINE
	offline = basedefine.TransferFileType_FILE_TYPE_OFFLINE

	sender     = basedefine.ClientFileRole_CLIENT_REALTIME_SENDER
	receiver   = basedefine.ClientFileRole_CLIENT_REALTIME_RECVER
	uploader   = basedefine.ClientFileRole_CLIENT_OFFLINE_UPLOAD
	downloader = basedefine.ClientFileRole_CLIENT_OFFLINE_DOWNLOAD

	alice, bob, carol = 1, 2, 3
)

// world is a running file_server and a msg_server that is linked to it.
type world struct {
	*Server
	t     *testing.T
	text  string       // its configuration
	later atomic.Int64 // nanoseconds that its clock is ahead
	msg   *linktest.Ours
	stop  func()
	seq   uint16

	answered map[string]bool // files whose completion was answered
}

// start runs a file_server with further lines of configuration.
func start(t *testing.T, lines ...string) *world {
	t.Helper()
	w := configured(t, lines...)
	w.run()
	t.Cleanup(func() { w.stop() })
	return w
}

// configured is a file_server that does not run yet.
func configured(t *testing.T, lines ...string) *world {
	t.Helper()
	w := &world{t: t}
	port := func() string {
		_, p, err := net.SplitHostPort(testenv.FreeAddr(t))
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	if !strings.Contains(strings.Join(lines, "\n"), "MinFree=") {
		lines = append(lines, "MinFree=0")
	}
	w.text = strings.Join(append([]string{
		"FileServerIp=127.0.0.1", "ClientListenIP=127.0.0.1", "ClientListenPort=" + port(),
		"MsgServerListenIP=127.0.0.1", "MsgServerListenPort=" + port(),
		"HttpListenIP=127.0.0.1", "HttpListenPort=" + port(), "DataDir=" + filepath.Join(t.TempDir(), "files"),
	}, lines...), "\n") + "\n"
	return w
}

// run starts the server, also again after stop.
func (w *world) run() {
	w.t.Helper()
	cfg, err := ParseConfig(strings.NewReader(w.text), "test.conf")
	if err != nil {
		w.t.Fatal(err)
	}
	w.Server, err = New(w.t.Context(), cfg, Deps{
		Log: slog.New(slog.DiscardHandler), Reg: prometheus.NewRegistry(), Clock: w.clock,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := w.Run(ctx); err != nil {
			w.t.Error(err)
		}
	})
	w.stop = func() { cancel(); running.Wait() }
	w.msg = linktest.DialOurs(w.t, w.cfg.MsgServerListen[0], link.Config{
		Role: "msg_server", Capabilities: []string{link.CapFiles},
	})
	msg := w.msg // it would link itself to the next one
	w.stop = sync.OnceFunc(func() { msg.Stop(); cancel(); running.Wait() })
}

func (w *world) clock() time.Time { return time.Now().Add(time.Duration(w.later.Load())) }

// hears returns what the msg_server is sent next, which must be a command. How
// far files are it is told at any time.
func (w *world) hears(command wire.Command) wire.PDU {
	w.t.Helper()
	pdu := w.msg.Next()
	for pdu.Command == wire.FileMoved {
		pdu = w.msg.Next()
	}
	if pdu.Command != command {
		w.t.Fatalf("received %v, want %v", pdu.Command, command)
	}
	return pdu
}

// ask asks for a task as a msg_server does.
func (w *world) ask(name string, size uint32, mode basedefine.TransferFileType) *server.IMFileTransferRsp {
	w.t.Helper()
	w.seq++
	w.msg.Send(wire.FileTransferReq, w.seq, &server.IMFileTransferReq{
		FromUserId: proto.Uint32(alice), ToUserId: proto.Uint32(bob), FileName: proto.String(name),
		FileSize: proto.Uint32(size), TransMode: mode.Enum(), AttachData: []byte("note"),
	})
	pdu := w.hears(wire.FileTransferRes)
	res := new(server.IMFileTransferRsp)
	decode(w.t, pdu.Body, res)
	if pdu.Seq != w.seq || string(res.GetAttachData()) != "note" || res.GetFromUserId() != alice || res.GetTransMode() != mode {
		w.t.Fatalf("answer %v, seq %d", res, pdu.Seq)
	}
	return res
}

// task asks for a task that is granted.
func (w *world) task(size int, mode basedefine.TransferFileType) string {
	w.t.Helper()
	res := w.ask("a.bin", uint32(size), mode)
	if res.GetResultCode() != 0 {
		w.t.Fatalf("no task: %v", res)
	}
	return res.GetTaskId()
}

// known asks what is known of an off-line file.
func (w *world) known(id string, user uint32) *extension.IMFileTaskRsp {
	w.t.Helper()
	w.msg.Send(wire.FileTaskReq, 9, &extension.IMFileTaskReq{
		TaskId: proto.String(id), UserId: proto.Uint32(user), AttachData: []byte("n"),
	})
	res := new(extension.IMFileTaskRsp)
	decode(w.t, w.hears(wire.FileTaskRes).Body, res)
	return res
}

// client is an original client on the port for clients.
type terminal struct {
	*linktest.Original
	w    *world
	t    *testing.T
	user uint32
	id   string
}

func (w *world) connect(user uint32, id string) *terminal {
	w.t.Helper()
	return &terminal{Original: linktest.DialOriginal(w.t, w.cfg.ClientListen[0]), w: w, t: w.t, user: user, id: id}
}

// login logs in and returns the result.
func (c *terminal) login(role basedefine.ClientFileRole) uint32 {
	c.t.Helper()
	c.Send(wire.FileLoginReq, 0xff01, &file.IMFileLoginReq{
		UserId: proto.Uint32(c.user), TaskId: proto.String(c.id), FileRole: role.Enum(),
	})
	pdu := c.Want(wire.FileLoginRes)
	res := new(file.IMFileLoginRsp)
	decode(c.t, pdu.Body, res)
	if pdu.Seq != 0xff01 {
		c.t.Fatalf("seq %d of the answer", pdu.Seq)
	}
	return res.GetResultCode()
}

// enter connects and logs in, which must succeed.
func (w *world) enter(user uint32, id string, role basedefine.ClientFileRole) *terminal {
	w.t.Helper()
	c := w.connect(user, id)
	if code := c.login(role); code != 0 {
		w.t.Fatalf("log-in as %v: %d", role, code)
	}
	return c
}

func (c *terminal) pull(mode basedefine.TransferFileType, seq uint16, offset, size int) {
	c.t.Helper()
	c.Send(wire.FilePullDataReq, seq, &file.IMFilePullDataReq{
		TaskId: proto.String(c.id), UserId: proto.Uint32(c.user), TransMode: mode.Enum(),
		Offset: proto.Uint32(uint32(offset)), DataSize: proto.Uint32(uint32(size)),
	})
}

func (c *terminal) block(offset int, data []byte) {
	c.t.Helper()
	c.Send(wire.FilePullDataRes, 7, &file.IMFilePullDataRsp{
		ResultCode: proto.Uint32(0), TaskId: proto.String(c.id), UserId: proto.Uint32(c.user),
		Offset: proto.Uint32(uint32(offset)), FileData: data,
	})
}

func (c *terminal) tellState(state basedefine.ClientFileState) {
	c.t.Helper()
	c.Send(wire.FileState, 0, &file.IMFileState{
		State: state.Enum(), TaskId: proto.String(c.id), UserId: proto.Uint32(c.user),
	})
}

func (c *terminal) wantPull() *file.IMFilePullDataReq {
	c.t.Helper()
	req := new(file.IMFilePullDataReq)
	decode(c.t, c.Want(wire.FilePullDataReq).Body, req)
	return req
}

func (c *terminal) wantBlock(seq uint16) *file.IMFilePullDataRsp {
	c.t.Helper()
	pdu := c.Want(wire.FilePullDataRes)
	if pdu.Seq != seq {
		c.t.Fatalf("block with seq %d, want %d", pdu.Seq, seq)
	}
	res := new(file.IMFilePullDataRsp)
	decode(c.t, pdu.Body, res)
	return res
}

func (c *terminal) wantState(state basedefine.ClientFileState, user uint32) {
	c.t.Helper()
	m := new(file.IMFileState)
	decode(c.t, c.Want(wire.FileState).Body, m)
	if m.GetState() != state || m.GetUserId() != user || m.GetTaskId() != c.id {
		c.t.Fatalf("state %v, want %v of %d", m, state, user)
	}
}

// wantClosed waits for the end of the connection; nothing comes before.
func (c *terminal) wantClosed() {
	c.t.Helper()
	if rest, err := io.ReadAll(c); err != nil || len(rest) > 0 {
		c.t.Fatalf("before the end %d bytes and %v", len(rest), err)
	}
	c.Close()
}

// upload sends all of a file.
func (w *world) upload(data []byte) (id string) {
	w.t.Helper()
	id = w.task(len(data), offline)
	c := w.enter(alice, id, uploader)
	c.answer(data)
	return id
}

// answer answers pulls until the server has everything.
func (c *terminal) answer(data []byte) {
	c.t.Helper()
	for {
		req := c.wantPull()
		offset, size := int(req.GetOffset()), int(req.GetDataSize())
		if req.GetUserId() != c.user || req.GetTransMode() != offline || size > 32768 || offset+size > len(data) {
			c.t.Fatalf("asked for %v", req)
		}
		c.block(offset, data[offset:offset+size])
		if offset+size == len(data) {
			break
		}
	}
	c.wantState(basedefine.ClientFileState_CLIENT_FILE_DONE, c.user)
	c.wantClosed()
}

// download fetches all of a file.
func (c *terminal) download(size int) []byte {
	c.t.Helper()
	var got []byte
	for seq := uint16(1); len(got) < size; seq++ {
		c.pull(offline, seq, len(got), 34816)
		res := c.wantBlock(seq)
		if res.GetResultCode() != 0 || int(res.GetOffset()) != len(got) || len(res.GetFileData()) > 32768 {
			c.t.Fatalf("block %d at %d of %d bytes", res.GetResultCode(), res.GetOffset(), len(res.GetFileData()))
		}
		got = append(got, res.GetFileData()...)
	}
	c.wantState(basedefine.ClientFileState_CLIENT_FILE_DONE, alice)
	c.wantClosed()
	return got
}

func decode(t *testing.T, body []byte, m proto.Message) {
	t.Helper()
	if err := proto.Unmarshal(body, m); err != nil {
		t.Fatal(err)
	}
}

func content(size int) []byte {
	b := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}

func equal(t *testing.T, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) {
		t.Fatalf("%d bytes differ from %d", len(got), len(want))
	}
}
