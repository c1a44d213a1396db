package fileserver

import (
	"sync"

	"teamtalk/file_server/internal/task"
	"teamtalk/internal/wire"
	"teamtalk/pb/basedefine"
	"teamtalk/pb/file"
)

// relay is an on-line transfer: it passes blocks from one connection to the
// other and keeps none. Source: docs/protocol/flows.md §16.3.
type relay struct {
	server *Server
	task   *task.Task

	mu       sync.Mutex // guards the fields below; may be held over Conn.Send
	sender   *client
	receiver *client
	pulls    int    // 0504 that are not answered
	seq      uint16 // of the receiver's last 0504
	over     bool
}

// relays finds the relay of a task that one side has entered.
type relays struct {
	mu   sync.Mutex // guards the field below; a leaf
	byID map[string]*relay
}

func (rs *relays) of(s *Server, t *task.Task) *relay {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if rs.byID == nil {
		rs.byID = map[string]*relay{}
	}
	r := rs.byID[t.ID]
	if r == nil {
		r = &relay{server: s, task: t}
		rs.byID[t.ID] = r
	}
	return r
}

func (rs *relays) forget(id string) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	delete(rs.byID, id)
}

// enterRelay logs a side of an on-line transfer in. The receiver is told when
// both are there, 0503.
func (s *Server) enterRelay(c *client, seq uint16) {
	t, err := s.tasks.Find(c.taskID)
	if err == nil && t.Offline {
		err = task.ErrUser
	}
	if err != nil {
		c.refuse(seq, err)
		return
	}
	r := s.relays.of(s, t)
	r.mu.Lock() // whoever sees that both have entered must see both
	defer r.mu.Unlock()
	state, err := t.Enter(c.role, c.user)
	if err != nil {
		c.refuse(seq, err)
		return
	}
	if c.role == task.Sender {
		r.sender = c
	} else {
		r.receiver = c
	}
	c.transfer = r
	c.welcome(seq)
	if state == task.Transferring && r.receiver != nil {
		r.receiver.tell(basedefine.ClientFileState_CLIENT_FILE_PEER_READY, t.From)
	}
}

// maxAskedSize is the largest block a receiver may ask for: it must fit into
// one PDU of the sender.
const maxAskedSize = maxClientPDU - 1024

func (r *relay) pull(c *client, pdu wire.PDU, req *file.IMFilePullDataReq) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.over:
	case c != r.receiver || r.sender == nil,
		int64(req.GetOffset()) >= r.task.Size, req.GetDataSize() == 0, req.GetDataSize() > maxAskedSize:
		r.fail("bad_pull")
	case r.pulls >= maxPulls:
		r.fail("too_many_pulls")
	default:
		r.pulls++
		r.seq = pdu.Seq
		r.sender.conn.SendPDU(wire.FilePullDataReq, pdu.Seq, pdu.Body)
	}
}

func (r *relay) block(c *client, pdu wire.PDU, res *file.IMFilePullDataRsp) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.over:
	case c != r.sender || r.receiver == nil, r.pulls == 0,
		int64(res.GetOffset())+int64(len(res.GetFileData())) > r.task.Size:
		r.fail("bad_block")
	default:
		r.pulls--
		r.server.metrics.moved(kindOnline, len(res.GetFileData()))
		r.receiver.conn.SendPDU(wire.FilePullDataRes, r.seq, pdu.Body)
	}
}

func (r *relay) state(c *client, pdu wire.PDU, state *file.IMFileState) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over {
		return
	}
	var result string
	switch state.GetState() {
	case basedefine.ClientFileState_CLIENT_FILE_DONE:
		result = "done"
	case basedefine.ClientFileState_CLIENT_FILE_CANCEL:
		result = "cancelled"
	case basedefine.ClientFileState_CLIENT_FILE_REFUSE:
		result = "refused"
	case basedefine.ClientFileState_CLIENT_FILE_PEER_READY:
		r.fail("bad_state")
		return
	default:
		r.fail("bad_state")
		return
	}
	if other := r.other(c); other != nil {
		other.conn.SendPDU(wire.FileState, 0, pdu.Body)
	}
	r.end(result)
}

func (r *relay) other(c *client) *client {
	if c == r.sender {
		return r.receiver
	}
	return r.sender
}

// fail ends a transfer that broke a rule; both are told that it is cancelled.
// It is called with mu held.
func (r *relay) fail(reason string) {
	r.server.metrics.dropped(reason)
	for _, c := range []*client{r.sender, r.receiver} {
		if c != nil {
			c.tell(basedefine.ClientFileState_CLIENT_FILE_CANCEL, r.task.From)
		}
	}
	r.end("failed")
}

// end closes both sides after what they are owed. It is called with mu held.
func (r *relay) end(result string) {
	if r.over {
		return
	}
	r.over = true
	r.server.metrics.ended(kindOnline, result)
	reason := reasonCancelled
	switch result {
	case "done":
		reason = reasonDone
	case "failed":
		reason = reasonFailed
	}
	for _, c := range []*client{r.sender, r.receiver} {
		if c != nil {
			c.conn.Close(reason)
		}
	}
	r.server.relays.forget(r.task.ID)
	r.server.tasks.Remove(r.task)
}

// left is the end of one connection. Who waited alone may come again; a
// transfer that had begun is over, and the other side hears of it.
func (r *relay) left(c *client) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over {
		return
	}
	other := r.other(c)
	if c == r.sender {
		r.sender = nil
	} else {
		r.receiver = nil
	}
	state := r.task.Leave(r.server.clock())
	if other == nil || state != task.Over {
		return
	}
	other.tell(basedefine.ClientFileState_CLIENT_FILE_CANCEL, c.user)
	r.end("cut")
}
