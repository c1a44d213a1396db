package dialog

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"teamtalk/client"
	"teamtalk/internal/im"
	"teamtalk/internal/wire"
)

// terminal is one connection with the header habits of a client type. Requests
// and pushes are kept apart by it as strictly as the strictest client does: an
// answer must repeat the seq of its request, a push must have seq 0.
type terminal struct {
	name    string
	user    string // of the script
	profile client.Profile
	caps    []string
	device  string

	// Owned by the player.
	conn      *client.RawConn // nil before connect and after close
	me        im.UserID       // 0 before the log-in
	seq       uint16          // last used
	loginSeq  uint16
	pending   map[uint16]*request
	lastPDU   []byte // for repeat
	lastAck   *request
	lastAsked *request // that has an answer
	heartbeat []byte   // sent, its echo not yet seen
	arrived   []event
	forgotten bool // nothing more is checked

	inbox     *inbox
	connected time.Time // when that was tried last (insist)
}

// request is what an answer is waited for.
type request struct {
	want  wire.Command // of the answer
	left  int          // answers still due; repeats add to it
	quiet bool         // further equal answers are no news (insist)
	late  bool         // its answer is not waited for any more (insist)
	asked time.Time
	info  string // what the request named, for answers that do not
	last  []byte // body of the last answer
}

// inbox is what a connection has received, in order.
type inbox struct {
	cancel context.CancelFunc

	mu     sync.Mutex // guards the fields below
	pdus   []wire.PDU
	closed bool
	paused chan struct{} // not nil: do not read until it is closed
	stop   context.CancelFunc
	news   chan struct{} // closed and replaced whenever something comes
}

// open connects.
func (t *terminal) open(ctx context.Context, addr string) error {
	conn, err := client.DialRaw(ctx, addr, "")
	if err != nil {
		return err
	}
	life, cancel := context.WithCancel(context.Background())
	t.conn, t.me, t.pending = conn, 0, make(map[uint16]*request)
	t.seq, t.loginSeq, t.lastPDU = t.profile.LastSeq, 0, nil
	t.inbox = &inbox{cancel: cancel, news: make(chan struct{})}
	go t.inbox.read(life, conn)
	return nil
}

// read receives until the connection or life ends.
func (b *inbox) read(life context.Context, conn *client.RawConn) {
	for {
		ctx, ok := b.permission(life)
		if !ok {
			return
		}
		pdu, err := conn.Receive(ctx)
		if err != nil && ctx.Err() != nil && life.Err() == nil {
			continue // paused
		}
		b.mu.Lock()
		if err == nil {
			b.pdus = append(b.pdus, pdu)
		} else {
			b.closed = true
		}
		close(b.news)
		b.news = make(chan struct{})
		b.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// permission waits while reading is paused and returns the context of the next
// read.
func (b *inbox) permission(life context.Context) (context.Context, bool) {
	for {
		b.mu.Lock()
		paused := b.paused
		if paused == nil {
			ctx, stop := context.WithCancel(life)
			b.stop = stop
			b.mu.Unlock()
			return ctx, life.Err() == nil
		}
		b.mu.Unlock()
		select {
		case <-paused:
		case <-life.Done():
			return nil, false
		}
	}
}

// pause stops reading, so that the network's buffers and then the server's
// fill up; resume goes on.
func (b *inbox) pause() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.paused == nil {
		b.paused = make(chan struct{})
		if b.stop != nil {
			b.stop()
		}
	}
}

func (b *inbox) resume() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.paused != nil {
		close(b.paused)
		b.paused = nil
	}
}

// take returns what came since the last take, whether the connection has
// ended, and a channel that is closed when there is more.
func (b *inbox) take() (pdus []wire.PDU, closed bool, news <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	pdus, b.pdus = b.pdus, nil
	return pdus, b.closed, b.news
}

// close ends the connection from this side.
func (t *terminal) close() {
	if t.conn == nil {
		return
	}
	t.inbox.cancel()
	t.conn.Close()
	t.conn = nil
}

// nextSeq numbers the next request as this client type does.
// Source: docs/protocol/wire.md §1.1, §1.3.
func (t *terminal) nextSeq(command wire.Command) uint16 {
	p := t.profile
	if p.RandomSeq && command == wire.MsgListReq {
		return 0xFF01
	}
	for {
		switch {
		case p.RandomSeq && command != wire.LoginReq:
			t.seq = uint16(1 + rand.UintN(uint(p.LastSeq)))
		case t.seq < p.FirstSeq || t.seq >= p.LastSeq:
			t.seq = p.FirstSeq
		default:
			t.seq++
		}
		if _, taken := t.pending[t.seq]; !taken && (!p.RandomSeq || t.seq != t.loginSeq) {
			return t.seq
		}
	}
}

// send sends a request; want is the command of its answer, 0 for none.
func (t *terminal) send(command wire.Command, m proto.Message, want wire.Command, info string) (*request, error) {
	var body []byte
	if m != nil {
		var err error
		if body, err = (proto.MarshalOptions{AllowPartial: true}).Marshal(m); err != nil {
			return nil, err
		}
	}
	return t.sendBody(command, body, want, info)
}

// sendBody is send for a body that is encoded already, or is garbage.
func (t *terminal) sendBody(command wire.Command, body []byte, want wire.Command, info string) (*request, error) {
	if t.conn == nil {
		return nil, errors.New("not connected")
	}
	seq := t.nextSeq(command)
	if command == wire.LoginReq {
		t.loginSeq = seq
	}
	var r *request
	if want != 0 {
		r = &request{want: want, left: 1, info: info, asked: time.Now()}
		t.pending[seq], t.lastAsked = r, r
	}
	return r, t.write(t.header(wire.Append(nil, command, seq, body)))
}

// header gives a PDU the header fields of this client type.
func (t *terminal) header(pdu []byte) []byte {
	binary.BigEndian.PutUint16(pdu[4:], t.profile.Version)
	binary.BigEndian.PutUint16(pdu[14:], t.profile.Reserved)
	return pdu
}

// write writes a PDU and keeps it for repeat.
func (t *terminal) write(pdu []byte) error {
	if t.conn == nil {
		return errors.New("not connected")
	}
	t.lastPDU = pdu
	// An error shows as the end of the connection, where the script expects it.
	_, _ = t.conn.Write(pdu)
	return nil
}

// repeat sends the last PDU once more, as it was.
func (t *terminal) repeat() error {
	if len(t.lastPDU) < wire.HeaderSize {
		return errors.New("nothing to repeat")
	}
	seq := binary.BigEndian.Uint16(t.lastPDU[12:])
	if r := t.pending[seq]; r != nil {
		r.left++
	} else if t.lastAck != nil {
		t.lastAck.left++
		t.pending[seq] = t.lastAck
	}
	return t.write(t.lastPDU)
}

// event is something that arrived.
type event struct {
	key     string // what sort it is; see keyOf
	words   []word
	answers *request // nil for a push
}

// pairKeys are the first words whose arrivals are sorted by the second one,
// too: they come in no particular order.
var pairKeys = []string{"presence", "session", "unread", "user", "signature", "avatar", "group"}

// keyOf returns the sort of an arrival.
func keyOf(words []word) string {
	if len(words) > 1 && slices.Contains(pairKeys, words[0].text) {
		return words[0].text + " " + words[1].text
	}
	return words[0].text
}

// broadcast reports whether an event goes to everybody and so needs no
// mention.
func (e event) broadcast() bool {
	switch e.words[0].text {
	case "presence", "signature", "avatar", "pc":
		return true
	}
	return false
}

// outraged reports whether something arrived that must never be sent; waiting
// is over then.
func (t *terminal) outraged() bool {
	return slices.ContainsFunc(t.arrived, func(e event) bool {
		return e.key == "stray" || e.key == "header" || e.key == "broken"
	})
}

// say makes an event. Strings are split into words; a text is one quoted word.
func say(parts ...any) event {
	var words []word
	for _, p := range parts {
		switch p := p.(type) {
		case text:
			words = append(words, word{string(p), true})
		default:
			for w := range strings.FieldsSeq(fmt.Sprint(p)) {
				words = append(words, word{text: w})
			}
		}
	}
	return event{key: keyOf(words), words: words}
}

// text is a part of an event that is quoted.
type text string

// leftover describes what has arrived and was not expected.
func (t *terminal) leftover() string {
	var all []string
	for _, e := range t.arrived {
		if !e.broadcast() {
			all = append(all, render(e.words))
		}
	}
	return strings.Join(all, "; ")
}

// wait blocks until news is closed; it reports false after the deadline.
func wait(ctx context.Context, news <-chan struct{}, deadline time.Time) bool {
	timer := time.NewTimer(time.Until(deadline))
	defer timer.Stop()
	select {
	case <-news:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}
