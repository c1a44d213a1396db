package fileserver

import (
	"errors"
	"fmt"
	"sync"

	"google.golang.org/protobuf/proto"

	"teamtalk/file_server/internal/blob"
	"teamtalk/file_server/internal/task"
	"teamtalk/internal/wire"
	"teamtalk/pb/basedefine"
	"teamtalk/pb/file"
)

// download is an off-line file on its way to its receiver, who pulls it block
// by block. Source: docs/protocol/flows.md §16.5.
type download struct {
	server *Server

	// Owned by the lane of the client.
	blob  blob.Reader // nil before it is opened and after its end
	size  int64
	next  int64 // offset of the next block; -1 before the first
	owner uint32
	ended bool
}

// enterDownload logs the receiver of an off-line file in, whether or not this
// process took the upload.
func (s *Server) enterDownload(c *client, seq uint16) {
	d := &download{server: s, next: -1}
	c.transfer = d
	d.submit(c, func() {
		if err := d.open(c); err != nil {
			d.ended = true
			c.refuse(seq, err)
			return
		}
		c.welcome(seq)
	})
}

func (d *download) open(c *client) error {
	ctx := d.server.base
	e, info, err := d.server.offlineFile(ctx, c.taskID, c.user)
	if err != nil {
		return err
	}
	if c.user != info.To {
		return task.ErrUser
	}
	hash, err := e.Blob()
	if err != nil {
		return err
	}
	d.owner = info.From
	d.blob, d.size, err = d.server.store.Open(ctx, hash)
	return err
}

func (d *download) submit(c *client, job func()) {
	if !c.lane.Submit(job) {
		d.server.metrics.dropped("too_many_pulls")
		c.conn.Close(reasonOverflow)
	}
}

func (d *download) pull(c *client, pdu wire.PDU, req *file.IMFilePullDataReq) {
	offset, seq := int64(req.GetOffset()), pdu.Seq
	d.submit(c, func() {
		if d.blob == nil {
			return
		}
		if err := d.send(c, offset, seq); err != nil {
			d.fail(c, seq, offset, err)
		}
	})
}

var errOffset = errors.New("offset not that of the next block")

// blocks are buffers for what is read.
var blocks = sync.Pool{New: func() any { return new([blockSize]byte) }} //nolint:gochecknoglobals // a pool

// send answers a pull, 0504 to 0505. What is asked for begins at a block, and
// goes on from there; how much was asked for is not looked at.
func (d *download) send(c *client, offset int64, seq uint16) error {
	if offset >= d.size || offset%blockSize != 0 || d.next >= 0 && offset != d.next {
		return errOffset
	}
	buf := blocks.Get().(*[blockSize]byte)
	defer blocks.Put(buf)
	data := buf[:min(blockSize, d.size-offset)]
	if n, err := d.blob.ReadAt(data, offset); n < len(data) {
		return fmt.Errorf("read block: %w", err)
	}
	d.next = offset + int64(len(data))
	c.conn.SendMessage(wire.FilePullDataRes, seq, &file.IMFilePullDataRsp{
		ResultCode: proto.Uint32(0), TaskId: proto.String(c.taskID), UserId: proto.Uint32(c.user),
		Offset: proto.Uint32(uint32(offset)), FileData: data,
	})
	d.server.metrics.moved(kindDownload, len(data))
	if d.next == d.size {
		c.tell(basedefine.ClientFileState_CLIENT_FILE_DONE, d.owner)
		d.end("done")
		c.conn.Close(reasonDone)
	}
	return nil
}

// fail answers a pull with an error, which Windows shows.
// Source: docs/protocol/defects.md G11.
func (d *download) fail(c *client, seq uint16, offset int64, err error) {
	d.server.log.Info("download failed", "task_id", c.taskID, "user_id", c.user, "error", err)
	d.end("failed")
	c.conn.SendMessage(wire.FilePullDataRes, seq, &file.IMFilePullDataRsp{
		ResultCode: proto.Uint32(1), TaskId: proto.String(c.taskID), UserId: proto.Uint32(c.user),
		Offset: proto.Uint32(uint32(offset)), FileData: []byte{},
	})
	c.conn.Close(reasonFailed)
}

// block: nobody sends blocks to a download.
func (d *download) block(c *client, _ wire.PDU, _ *file.IMFilePullDataRsp) {
	d.server.metrics.dropped("bad_block")
	c.conn.Close(reasonBad)
}

// state: the receiver has enough.
func (d *download) state(c *client, _ wire.PDU, _ *file.IMFileState) { c.conn.Close(reasonCancelled) }

// end runs in the lane.
func (d *download) end(result string) {
	if d.ended {
		return
	}
	d.ended = true
	d.server.metrics.ended(kindDownload, result)
	if d.blob != nil {
		if err := d.blob.Close(); err != nil {
			d.server.log.Warn("blob not closed", "error", err)
		}
		d.blob = nil
	}
}

func (d *download) left(c *client) {
	if !c.lane.Submit(func() { d.end("cut") }) {
		d.server.metrics.dropped("lane_full")
	}
}
