package fileserver

import (
	"sync"
	"testing"

	"google.golang.org/protobuf/proto"

	"teamtalk/internal/link/linktest"
	"teamtalk/internal/wire"
	"teamtalk/pb/basedefine"
	"teamtalk/pb/extension"
	"teamtalk/pb/file"
	"teamtalk/pb/server"
)

const (
	stateCancel = basedefine.ClientFileState_CLIENT_FILE_CANCEL
	stateDone   = basedefine.ClientFileState_CLIENT_FILE_DONE
)

func TestOffline(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, store string) {
		w := start(t, store)
		for _, size := range []int{1, 32767, 32768, 32769, 300_000} {
			data := content(size)
			id := w.upload(data)
			if known := w.known(id, bob); !known.GetFound() || known.GetFileSize() != uint32(size) ||
				known.GetFileName() != "a.bin" || known.GetToUserId() != bob || known.GetExpires() == 0 {
				t.Errorf("known of the file: %v", known)
			}
			for range 2 { // it stays until it is deleted
				equal(t, w.enter(bob, id, downloader).download(size), data)
			}
			w.msg.Send(wire.FileTaskDelete, 0, &extension.IMFileTaskDelete{TaskId: proto.String(id), UserId: proto.Uint32(carol)})
			if !w.known(id, bob).GetFound() {
				t.Error("a stranger deleted the file")
			}
			w.msg.Send(wire.FileTaskDelete, 0, &extension.IMFileTaskDelete{TaskId: proto.String(id), UserId: proto.Uint32(bob)})
			linktest.Eventually(t, "the deletion", func() bool { return !w.known(id, bob).GetFound() })
			if c := w.connect(bob, id); c.login(downloader) != 1 {
				t.Error("a deleted file is served")
			}
		}
		linktest.Eventually(t, "the quota to be free", func() bool { return w.catalog.Used(alice) == 0 })
		if n := w.tasks.Len(); n != 0 {
			t.Errorf("%d tasks are left", n)
		}
	})
}

func TestOfflineSurvivesRestart(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, store string) {
		w := start(t, store)
		data := content(100_000)
		id := w.upload(data)
		half := w.task(len(data), offline)
		c := w.enter(alice, half, uploader)
		c.block(0, data[:c.wantPull().GetDataSize()])
		c.wantPull()
		w.stop()
		w.run()
		equal(t, w.enter(bob, id, downloader).download(len(data)), data)
		if c := w.connect(alice, half); c.login(uploader) != 1 {
			t.Error("a task goes on that ended with the process")
		}
		if used := w.catalog.Used(alice); used != int64(len(data)) {
			t.Errorf("after a restart %d bytes of the quota in use", used)
		}
	})
}

func TestUploadGoesOn(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, store string) {
		w := start(t, store)
		data := content(200_000)
		id := w.task(len(data), offline)
		c := w.enter(alice, id, uploader)
		for range 3 {
			req := c.wantPull()
			c.block(int(req.GetOffset()), data[req.GetOffset():req.GetOffset()+req.GetDataSize()])
		}
		c.wantPull()
		if second := w.connect(alice, id); second.login(uploader) != 1 {
			t.Error("two uploads of one task")
		}
		if early := w.connect(bob, id); early.login(downloader) != 1 {
			t.Error("a file is served that is not complete")
		}
		c.Close()
		var again *terminal
		linktest.Eventually(t, "the task being free again", func() bool {
			again = w.connect(alice, id)
			return again.login(uploader) == 0
		})
		req := again.wantPull()
		if req.GetOffset() != 3*32768 {
			t.Errorf("goes on at %d", req.GetOffset())
		}
		again.block(int(req.GetOffset()), data[req.GetOffset():req.GetOffset()+req.GetDataSize()])
		again.answer(data)
		equal(t, w.enter(bob, id, downloader).download(len(data)), data)
	})
}

func TestBadBlocks(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, store string) {
		w := start(t, store)
		data := content(100_000)
		for name, bad := range map[string]func(c *terminal){
			"wrong offset":   func(c *terminal) { c.block(32768, data[:32768]) },
			"too long":       func(c *terminal) { c.block(0, data[:32769]) },
			"too short":      func(c *terminal) { c.block(0, data[:100]) },
			"empty":          func(c *terminal) { c.block(0, []byte{}) },
			"twice":          func(c *terminal) { c.block(0, data[:32768]); c.wantPull(); c.block(0, data[:32768]) },
			"pulls":          func(c *terminal) { c.pull(offline, 1, 0, 100) },
			"error of its":   func(c *terminal) { c.Send(wire.FilePullDataRes, 1, failed(c)) },
			"cannot be more": func(c *terminal) { c.block(1<<32-1, data[:32768]) },
		} {
			t.Run(name, func(t *testing.T) {
				id := w.task(len(data), offline)
				c := w.enter(alice, id, uploader)
				c.wantPull()
				bad(c)
				c.wantState(stateCancel, alice)
				c.wantClosed()
				if c := w.connect(alice, id); c.login(uploader) != 1 {
					t.Error("the task is not over")
				}
			})
		}
		if used := w.catalog.Used(alice); used != 0 {
			t.Errorf("%d bytes of the quota are left in use", used)
		}
	})
}

func failed(c *terminal) *file.IMFilePullDataRsp {
	return &file.IMFilePullDataRsp{
		ResultCode: proto.Uint32(1), TaskId: proto.String(c.id), UserId: proto.Uint32(c.user),
		Offset: proto.Uint32(0), FileData: make([]byte, 32768),
	}
}

func TestUploadCancelled(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, store string) {
		w := start(t, store)
		id := w.task(100_000, offline)
		c := w.enter(alice, id, uploader)
		c.wantPull()
		c.tellState(stateCancel)
		c.wantClosed()
		if w.tasks.Len() != 0 || w.catalog.Used(alice) != 0 {
			t.Errorf("%d tasks, %d bytes are left", w.tasks.Len(), w.catalog.Used(alice))
		}
	})
}

func TestBadPulls(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, store string) {
		w := start(t, store)
		id := w.upload(content(100_000))
		for name, offsets := range map[string][]int{
			"beyond the end": {131072}, "not at a block": {100}, "again": {0, 0}, "left out": {0, 65536}, "4 GiB": {1<<32 - 32768},
		} {
			c := w.enter(bob, id, downloader)
			for i, offset := range offsets {
				c.pull(offline, uint16(i), offset, 32768)
			}
			for i := range offsets {
				want := uint32(0)
				if i == len(offsets)-1 {
					want = 1
				}
				if res := c.wantBlock(uint16(i)); res.GetResultCode() != want {
					t.Errorf("%s: result %d of block %d", name, res.GetResultCode(), i)
				}
			}
			c.wantClosed()
		}
		// A download may go on in the middle, as after a cut.
		c := w.enter(bob, id, downloader)
		c.pull(offline, 5, 98304, 32768)
		if res := c.wantBlock(5); len(res.GetFileData()) != 100_000-98304 {
			t.Errorf("the last block has %d bytes", len(res.GetFileData()))
		}
	})
}

func TestWhoMay(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, store string) {
		w := start(t, store)
		stored := w.upload(content(10))
		upload, live := w.task(10, offline), w.task(10, online)
		for name, c := range map[string]struct {
			user uint32
			id   string
			role basedefine.ClientFileRole
		}{
			"download of a stranger":       {carol, stored, downloader},
			"download of the sender":       {alice, stored, downloader},
			"download of nobody":           {0, stored, downloader},
			"upload of the receiver":       {bob, upload, uploader},
			"upload of a stranger":         {carol, upload, uploader},
			"upload as download":           {bob, upload, downloader},
			"upload on-line":               {alice, upload, sender},
			"on-line of a stranger":        {carol, live, sender},
			"on-line, roles swapped":       {bob, live, sender},
			"on-line, receiver as sender":  {alice, live, receiver},
			"on-line as upload":            {alice, live, uploader},
			"a role that is none":          {alice, live, 9},
			"no id":                        {alice, "", sender},
			"path trick":                   {bob, "../../../../../../../../etc/passwd", downloader},
			"an id nobody has":             {bob, "4b2d5f2e-9f63-4c0e-9b1a-1d2e3f405162", downloader},
			"path trick of the right size": {bob, "../store/record/offline/aaaaaaaaaaaa", downloader},
		} {
			t.Run(name, func(t *testing.T) {
				term := w.connect(c.user, c.id)
				if code := term.login(c.role); code != 1 {
					t.Errorf("result %d", code)
				}
				term.wantClosed()
			})
		}
		c := w.enter(bob, stored, downloader) // nobody was disturbed
		c.user = carol
		c.pull(offline, 1, 0, 10)
		c.wantClosed()
	})
}

func TestTaskRefused(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, store string) {
		w := start(t, store, "UserQuota=100000", "MaxFileSize=90000", "MaxTasksPerUser=2")
		w.upload(content(50_000))
		for name, c := range map[string]struct {
			name string
			size uint32
			mode basedefine.TransferFileType
			want uint32
		}{
			"size zero":         {"a", 0, offline, 1},
			"size zero on-line": {"a", 0, online, 1},
			"over the limit":    {"a", 90_001, offline, 1},
			"over the quota":    {"a", 50_001, offline, 1},
			"no name":           {"..", 10, offline, 1},
			"control":           {"a\x00b", 10, online, 1},
			"mode":              {"a", 10, 7, 1},
		} {
			if res := w.ask(c.name, c.size, c.mode); res.GetResultCode() != c.want || res.GetTaskId() != "" {
				t.Errorf("%s: %v", name, res)
			}
		}
		if res := w.ask(`C:\up\..\report.doc`, 10, offline); res.GetResultCode() != 0 || res.GetFileName() != "report.doc" {
			t.Errorf("a name with a path: %v", res)
		}
		w.task(1<<31, online) // on-line takes no space
		if res := w.ask("a", 10, online); res.GetResultCode() != 1 {
			t.Errorf("over the tasks of a user: %v", res)
		}
		res := new(server.IMFileServerIPRsp)
		w.msg.Send(wire.FileServerAddrsReq, 3, &server.IMFileServerIPReq{})
		decode(t, w.hears(wire.FileServerAddrsRes).Body, res)
		if a := res.GetIpAddrList(); len(a) != 1 || a[0].GetIp() != "127.0.0.1" || a[0].GetPort() != w.addrPort() {
			t.Errorf("addresses %v", a)
		}
	})
}

func (w *world) addrPort() uint32 { return uint32(w.cfg.Addrs[0].Port()) }

func TestNoSpace(t *testing.T) {
	t.Parallel()
	w := start(t, "MinFree=1048576GiB")
	if res := w.ask("a", 10, offline); res.GetResultCode() != 1 {
		t.Errorf("without space: %v", res)
	}
	w.task(10, online)
}

func TestTimeout(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, store string) {
		w := start(t, store, "TaskTimeout=1s")
		id := w.task(100_000, offline)
		c := w.enter(alice, id, uploader)
		c.block(0, content(int(c.wantPull().GetDataSize())))
		c.wantPull()
		c.Close()
		live := w.task(10, online)
		linktest.Eventually(t, "the end of both", func() bool { return w.tasks.Len() == 0 })
		for _, id := range []string{id, live} {
			if c := w.connect(alice, id); c.login(uploader) != 1 {
				t.Error("a task that is over lets somebody in")
			}
		}
		if used := w.catalog.Used(alice); used != 0 {
			t.Errorf("%d bytes of the quota are left in use", used)
		}
	})
}

// Many transfers at a time, each byte for byte.
func TestMany(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, store string) {
		w := start(t, store)
		data := content(500_000)
		ids := make([]string, 20)
		for i := range ids {
			ids[i] = w.task(len(data), offline)
		}
		var all sync.WaitGroup
		for _, id := range ids {
			all.Go(func() {
				w.enter(alice, id, uploader).answer(data)
				equal(t, w.enter(bob, id, downloader).download(len(data)), data)
			})
		}
		all.Wait()
	})
}
