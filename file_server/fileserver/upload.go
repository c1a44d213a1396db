package fileserver

import (
	"bytes"
	"encoding/json"
	"errors"
	"sync"

	"google.golang.org/protobuf/proto"

	"teamtalk/file_server/internal/blob"
	"teamtalk/file_server/internal/catalog"
	"teamtalk/file_server/internal/task"
	"teamtalk/internal/wire"
	"teamtalk/pb/basedefine"
	"teamtalk/pb/file"
)

// upload is an off-line file on its way in: the server asks for one block
// after the other. Source: docs/protocol/flows.md §16.4;
// docs/protocol/defects.md G3 to G5.
type upload struct {
	server *Server
	task   *task.Task

	// Owned by the lane of the client, and by whoever made end report true.
	file *blob.Upload

	mu   sync.Mutex // guards the fields below; a leaf
	want int        // bytes of the block that was asked for; 0 = none
	at   int64      // its offset
	over bool
}

// enterUpload logs the sender of an off-line file in, and asks for the block
// that comes next.
func (s *Server) enterUpload(c *client, seq uint16) {
	t, err := s.tasks.Find(c.taskID)
	if err != nil {
		c.refuse(seq, err)
		return
	}
	if _, err := t.Enter(task.Uploader, c.user); err != nil {
		c.refuse(seq, err)
		return
	}
	u := &upload{server: s, task: t}
	c.transfer = u
	u.submit(c, func() {
		if u.file, err = s.openUpload(t); err != nil {
			u.end()
			t.Leave(s.clock())
			c.refuse(seq, err)
			return
		}
		c.welcome(seq)
		u.next(c)
	})
}

// openUpload goes on with what has come of a task, or begins.
func (s *Server) openUpload(t *task.Task) (*blob.Upload, error) {
	f, err := s.store.Resume(t.ID)
	if errors.Is(err, blob.ErrNotFound) {
		return s.store.Create(t.ID, t.Size, noteOf(catalog.Offline))
	}
	return f, err
}

func (u *upload) submit(c *client, job func()) {
	if !c.lane.Submit(job) {
		u.server.metrics.dropped("lane_full")
		c.conn.Close(reasonOverflow)
	}
}

// next asks for a block, or finishes. It runs in the lane.
func (u *upload) next(c *client) {
	rest := u.file.Size() - u.file.Offset()
	if rest == 0 {
		// The last step may take long: it keeps no worker from the others.
		if !u.server.finish.NewLane(1).Submit(func() { u.finish(c) }) {
			u.fail(c, "stopping", errStopping)
		}
		return
	}
	u.mu.Lock()
	u.want, u.at = int(min(blockSize, rest)), u.file.Offset()
	want, at := u.want, u.at
	u.mu.Unlock()
	c.conn.SendMessage(wire.FilePullDataReq, 0, &file.IMFilePullDataReq{
		TaskId: proto.String(u.task.ID), UserId: proto.Uint32(c.user),
		TransMode: basedefine.TransferFileType_FILE_TYPE_OFFLINE.Enum(),
		Offset:    proto.Uint32(uint32(at)), DataSize: proto.Uint32(uint32(want)),
	})
}

var (
	errStopping = errors.New("stopping")
	errBlock    = errors.New("not the block that was asked for")
)

// block takes what was asked for: exactly that, and only once.
func (u *upload) block(c *client, _ wire.PDU, res *file.IMFilePullDataRsp) {
	u.mu.Lock()
	want, at := u.want, u.at
	u.want = 0
	over := u.over
	u.mu.Unlock()
	if over {
		return
	}
	if want == 0 || int64(res.GetOffset()) != at || len(res.GetFileData()) != want || res.GetResultCode() != 0 {
		u.submit(c, func() { u.fail(c, "bad_block", errBlock) })
		return
	}
	data := bytes.Clone(res.GetFileData())
	u.submit(c, func() {
		if u.ended() {
			return
		}
		if _, err := u.file.Write(data); err != nil {
			u.fail(c, "write", err)
			return
		}
		u.server.metrics.moved(kindUpload, len(data))
		u.next(c)
	})
}

// pull: nobody pulls from an upload.
func (u *upload) pull(c *client, _ wire.PDU, _ *file.IMFilePullDataReq) {
	u.submit(c, func() { u.fail(c, "bad_pull", errBlock) })
}

// state: the sender gives up.
func (u *upload) state(c *client, _ wire.PDU, _ *file.IMFileState) {
	u.submit(c, func() {
		if u.end() {
			u.drop("cancelled")
			c.conn.Close(reasonCancelled)
		}
	})
}

// end marks the upload as over and reports whether it was not before.
func (u *upload) end() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	was := u.over
	u.over = true
	return !was
}

func (u *upload) ended() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.over
}

// drop removes what has come, and the task. It runs in the lane.
func (u *upload) drop(result string) {
	if err := u.file.Discard(); err != nil {
		u.server.log.Warn("upload not removed", "task_id", u.task.ID, "error", err)
	}
	u.server.metrics.ended(kindUpload, result)
	u.server.tasks.Remove(u.task)
}

// fail ends the upload for a reason that a second try would not mend, and
// tells the sender that it is cancelled.
func (u *upload) fail(c *client, reason string, err error) {
	if !u.end() {
		return
	}
	u.server.log.Info("upload failed", "task_id", u.task.ID, "user_id", c.user, "reason", reason, "error", err)
	u.drop("failed_" + reason)
	c.tell(basedefine.ClientFileState_CLIENT_FILE_CANCEL, c.user)
	c.conn.Close(reasonFailed)
}

// finish makes the file one that its receiver can fetch, and tells the
// sender, 0503. It runs where steps may take long; the lane is empty then.
func (u *upload) finish(c *client) {
	if !u.end() {
		return // it was given up meanwhile
	}
	if err := u.store(); err != nil {
		u.server.log.Error("upload not stored", "task_id", u.task.ID, "error", err)
		u.drop("failed_store")
		c.tell(basedefine.ClientFileState_CLIENT_FILE_CANCEL, c.user)
		c.conn.Close(reasonFailed)
		return
	}
	u.drop("done")
	c.tell(basedefine.ClientFileState_CLIENT_FILE_DONE, c.user)
	c.conn.Close(reasonDone)
}

func (u *upload) store() error {
	ctx := u.server.base
	hash, err := u.file.Commit(ctx)
	if err != nil {
		return err
	}
	info, err := json.Marshal(offlineInfo{From: u.task.From, To: u.task.To, Name: u.task.Name})
	if err != nil {
		return err
	}
	return u.server.catalog.Add(ctx, catalog.Offline, u.task.ID, catalog.Entry{
		Hash: hash.String(), Size: u.task.Size, Owner: u.task.From, Info: info,
		Expires: u.server.clock().Add(u.server.cfg.OfflineExpiry).Unix(),
	})
}

// left keeps what has come for a sender who comes again.
func (u *upload) left(c *client) {
	leave := func() {
		if !u.end() {
			return
		}
		if err := u.file.Close(); err != nil {
			u.server.log.Warn("upload not kept", "task_id", u.task.ID, "error", err)
		}
		u.server.metrics.ended(kindUpload, "cut")
		u.task.Leave(u.server.clock())
	}
	if !c.lane.Submit(leave) {
		u.server.metrics.dropped("lane_full")
	}
}
