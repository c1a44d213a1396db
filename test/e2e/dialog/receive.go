package dialog

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"teamtalk/internal/im"
	"teamtalk/internal/wire"
)

// firstExtension is the lowest field number that is ours; a client that
// announced nothing must never see one. Source: docs/protocol.md.
const firstExtension = 100

// fieldAttach is the number of attach_data in every message that has it;
// clients must not see it (docs/protocol/defects.md F7).
const fieldAttach = 20

// decoder turns the body of a PDU into events.
type decoder struct {
	push bool // comes unasked, with seq 0
	read func(p *Player, t *terminal, r *request, body []byte) ([]event, error)
}

// collect decodes what has arrived on a terminal and returns a channel that is
// closed when more comes.
func (p *Player) collect(t *terminal) (closed bool, news <-chan struct{}) {
	pdus, closed, news := t.inbox.take()
	for _, pdu := range pdus {
		t.arrived = append(t.arrived, p.decode(t, pdu)...)
	}
	if closed && t.conn != nil {
		t.close()
		t.arrived = append(t.arrived, say("closed"))
	}
	return closed, news
}

// decode turns a PDU into events. Whatever breaks a rule that clients rely on
// becomes an event that no script expects.
func (p *Player) decode(t *terminal, pdu wire.PDU) []event {
	if pdu.Command == wire.Heartbeat {
		return []event{t.echo(pdu)}
	}
	if pdu.Version != 1 || pdu.Flag != 0 || pdu.Reserved != 0 || pdu.Service != pdu.Command.Service() {
		return []event{say("header", fmt.Sprintf("%#04x version %d flag %d service %d reserved %d",
			uint16(pdu.Command), pdu.Version, pdu.Flag, pdu.Service, pdu.Reserved))}
	}
	d, known := decoders[pdu.Command]
	stray := say("stray", fmt.Sprintf("%#04x seq %d %s", uint16(pdu.Command), pdu.Seq, hex.EncodeToString(pdu.Body)))
	if !known || d.push != (pdu.Seq == 0) {
		return []event{stray}
	}
	var r *request
	if !d.push {
		r = t.pending[pdu.Seq]
		if r == nil || !r.answeredBy(pdu.Command) {
			return []event{stray}
		}
		t.answered(pdu.Seq, r)
		if r.late {
			return nil
		}
		if r.quiet && r.last != nil && string(r.last) == string(pdu.Body) {
			return nil
		}
		r.last = pdu.Body
	}
	events, err := d.read(p, t, r, pdu.Body)
	if err != nil {
		return []event{say("broken", fmt.Sprintf("%#04x:", uint16(pdu.Command)), text(err.Error()))}
	}
	for i := range events {
		events[i].answers = r
	}
	return events
}

// answeredBy reports whether a command answers the request.
func (r *request) answeredBy(c wire.Command) bool {
	return c == r.want || (c == wire.MsgNack && r.want == wire.MsgDataAck)
}

// answered counts an answer to a request. An Android client may get the list
// of users in parts (docs/protocol/defects.md F9).
func (t *terminal) answered(seq uint16, r *request) {
	if r.want == wire.MsgDataAck {
		t.lastAck = r
	}
	if r.quiet || (t.profile.MergeUsers && r.want == wire.AllUsersRes) {
		return
	}
	if r.left--; r.left <= 0 {
		delete(t.pending, seq)
	}
}

// echo compares a heartbeat with the one sent.
func (t *terminal) echo(pdu wire.PDU) event {
	header := wire.AppendHeader(nil, pdu.Command, pdu.Seq, pdu.Reserved, len(pdu.Body))
	header[4], header[5] = byte(pdu.Version>>8), byte(pdu.Version)
	header[6], header[7] = byte(pdu.Flag>>8), byte(pdu.Flag)
	header[8], header[9] = byte(pdu.Service>>8), byte(pdu.Service)
	got := append(header, pdu.Body...)
	if slices.Equal(got, t.heartbeat) {
		return say("heartbeat")
	}
	return say("heartbeat altered", hex.EncodeToString(got))
}

// answer makes the decoder of an answer.
func answer[M any, P body[M]](read func(p *Player, t *terminal, r *request, m P) []event) decoder {
	return decoder{read: decode(read)}
}

// push makes the decoder of a push.
func push[M any, P body[M]](read func(p *Player, t *terminal, m P) []event) decoder {
	return decoder{push: true, read: decode(func(p *Player, t *terminal, _ *request, m P) []event {
		return read(p, t, m)
	})}
}

// body is a pointer to a protobuf message.
type body[M any] interface {
	*M
	proto.Message
}

// decode unmarshals a body, checks what holds for all of them and reads it.
func decode[M any, P body[M]](read func(p *Player, t *terminal, r *request, m P) []event,
) func(*Player, *terminal, *request, []byte) ([]event, error) {
	return func(p *Player, t *terminal, r *request, body []byte) ([]event, error) {
		m := P(new(M))
		if err := proto.Unmarshal(body, m); err != nil {
			return nil, err
		}
		if err := t.lawful(m.ProtoReflect(), r != nil); err != nil {
			return nil, err
		}
		return read(p, t, r, m), nil
	}
}

// lawful checks what holds for every PDU to a client: no attach_data, no
// extension that was not asked for, and in answers the real user id.
func (t *terminal) lawful(m protoreflect.Message, isAnswer bool) (err error) {
	m.Range(func(field protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case field.Number() == fieldAttach:
			err = errors.New("attach_data leaks")
		case field.Number() >= firstExtension && len(t.caps) == 0:
			err = fmt.Errorf("field %s was not asked for", field.Name())
		case isAnswer && field.Name() == "user_id" && im.UserID(v.Uint()) != t.me:
			err = fmt.Errorf("user_id %d is not %d", v.Uint(), t.me)
		}
		return err == nil
	})
	if err == nil && len(m.GetUnknown()) > 0 {
		err = fmt.Errorf("unknown fields %x", m.GetUnknown())
	}
	return err
}
