// Package ask turns the PDUs of server links into calls that return an
// answer: it notes a number in attach_data, which every server echoes, and
// finds by it who is waiting. Source: docs/protocol/wire.md §8.
package ask

import (
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"sync"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"teamtalk/internal/link"
	"teamtalk/internal/wire"
)

// Why there is no answer.
var (
	ErrLost     = errors.New("the link was lost before the answer")
	ErrNoServer = errors.New("no server is linked")
	ErrTooMany  = errors.New("too many requests are under way")
)

// maxWaiting bounds the questions under way.
const maxWaiting = 20_000

// mark begins our attach_data, so that nobody else's is taken for ours.
const mark = 'A'

// Calls are questions under way. The zero value is ready; it is safe from any
// goroutine.
type Calls struct {
	mu      sync.Mutex // guards the fields below; a leaf
	lastID  uint64
	waiting map[uint64]*call
}

// call is a question under way.
type call struct {
	link   *link.Link
	answer wire.Command
	done   chan reply // of one
}

type reply struct {
	body []byte
	err  error
}

// Exchange sends a question over l, which may be nil, and returns the body of
// its answer. The message must have an attach_data field.
func (c *Calls) Exchange(
	ctx context.Context, l *link.Link, req proto.Message, command, answer wire.Command,
) ([]byte, error) {
	if l == nil {
		return nil, ErrNoServer
	}
	asked := &call{link: l, answer: answer, done: make(chan reply, 1)}
	id, ok := c.add(asked)
	if !ok {
		return nil, ErrTooMany
	}
	defer c.forget(id)
	setAttach(req, id)
	if !l.SendMessage(command, 0, req) {
		return nil, ErrLost
	}
	select {
	case r := <-asked.done:
		return r.body, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (c *Calls) add(asked *call) (id uint64, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.waiting) >= maxWaiting {
		return 0, false
	}
	if c.waiting == nil {
		c.waiting = map[uint64]*call{}
		c.lastID = rand.Uint64() // two Calls on one link must not share numbers
	}
	c.lastID++
	c.waiting[c.lastID] = asked
	return c.lastID, true
}

func (c *Calls) forget(id uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.waiting, id)
}

// Outcome says what became of a PDU.
type Outcome uint8

// The outcomes of Answered.
const (
	Taken Outcome = iota // somebody was waiting for it
	Late                 // somebody had been
	Other                // it is no answer to a question of ours
)

// Answered gives an answer to whoever asked.
func (c *Calls) Answered(pdu wire.PDU) Outcome {
	id, ok := attachOf(pdu.Body)
	if !ok {
		return Other
	}
	c.mu.Lock()
	asked := c.waiting[id]
	if asked == nil || asked.answer != pdu.Command {
		c.mu.Unlock()
		return Late
	}
	delete(c.waiting, id)
	c.mu.Unlock()
	asked.done <- reply{body: append([]byte(nil), pdu.Body...)}
	return Taken
}

// Lost ends what was asked over a link that is gone.
func (c *Calls) Lost(l *link.Link) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, asked := range c.waiting {
		if asked.link == l {
			delete(c.waiting, id)
			asked.done <- reply{err: ErrLost}
		}
	}
}

// attachField is attach_data in every request and answer that has it.
const attachField = 20

// attachSize is that of our attach_data: the mark, and a number that is never
// used again.
const attachSize = 9

func setAttach(m proto.Message, id uint64) {
	field := m.ProtoReflect().Descriptor().Fields().ByNumber(attachField)
	note := binary.BigEndian.AppendUint64([]byte{mark}, id)
	m.ProtoReflect().Set(field, protoreflect.ValueOfBytes(note))
}

// attachOf reads the number back from an encoded answer.
func attachOf(body []byte) (id uint64, ok bool) {
	for len(body) > 0 {
		number, kind, n := protowire.ConsumeTag(body)
		if n < 0 {
			return 0, false
		}
		size := protowire.ConsumeFieldValue(number, kind, body[n:])
		if size < 0 {
			return 0, false
		}
		if number == attachField && kind == protowire.BytesType {
			value, _ := protowire.ConsumeBytes(body[n:])
			if len(value) != attachSize || value[0] != mark {
				return 0, false
			}
			return binary.BigEndian.Uint64(value[1:]), true
		}
		body = body[n+size:]
	}
	return 0, false
}
