package command

import (
	"context"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"teamtalk/internal/im"
)

// Asker says whose account must be active for a command to be done: that of
// whoever asks, whose session may have begun before the account was closed.
// Every row of the table says it.
type Asker uint8

// The askers. Field numbers are those of the request.
const (
	_          Asker = iota
	ByUser           // the user in field 1, checked before the query runs
	ByReceiver       // the user in field 2, likewise
	InLane           // the user of the operation, whom the lanes check in its turn
	ByServer         // no user: a server asks for itself, or has checked the user
)

// accounts knows whose account is active; an error im.Denied is a no.
type accounts interface {
	Active(ctx context.Context, id im.UserID) error
}

// guard lets only askers through whose account is active.
func guard(rows []Command, known accounts) []Command {
	for i := range rows {
		row, query := rows[i], rows[i].Query
		field := protowire.Number(row.Asker)
		if query == nil || row.Asker != ByUser && row.Asker != ByReceiver {
			continue
		}
		rows[i].Query = func(ctx context.Context, r *Request) (proto.Message, error) {
			// User 0 is a server. An http_msg_server of ours has checked who may
			// do what, and speaks for back ends.
			if user := im.UserID(number(r.Body, field)); user != 0 && !r.API {
				if err := known.Active(ctx, user); err != nil {
					if row.Refusal == nil {
						return nil, err
					}
					return row.Refusal(r.Body), err
				}
			}
			return query(ctx, r)
		}
	}
	return rows
}

// WhoAsks returns the user behind a request; 0 is a server.
func (c *Command) WhoAsks(body []byte) im.UserID {
	switch c.Asker {
	case ByReceiver:
		return im.UserID(number(body, 2))
	case ByServer:
		return 0
	default:
		return im.UserID(number(body, 1))
	}
}

// number finds the value of a field of an encoded message; 0 if it has none.
func number(body []byte, want protowire.Number) (found uint64) {
	for len(body) > 0 {
		field, kind, n := protowire.ConsumeTag(body)
		if n < 0 {
			return found // the query says what is wrong with it
		}
		size := protowire.ConsumeFieldValue(field, kind, body[n:])
		if size < 0 {
			return found
		}
		if field == want && kind == protowire.VarintType {
			found, _ = protowire.ConsumeVarint(body[n:])
		}
		body = body[n+size:]
	}
	return found
}

// refusal makes the answer S to a request Q that says no: result_code 1, and of
// the request what the answer must repeat.
func refusal[Q, S any, P messageOf[Q], R messageOf[S]]() func(body []byte) proto.Message {
	return func(body []byte) proto.Message {
		req, res := P(new(Q)), R(new(S))
		if proto.Unmarshal(body, req) != nil {
			return nil
		}
		from, to := req.ProtoReflect(), res.ProtoReflect()
		for i := range to.Descriptor().Fields().Len() {
			field := to.Descriptor().Fields().Get(i)
			asked := from.Descriptor().Fields().ByName(field.Name())
			repeats := field.Cardinality() == protoreflect.Required || field.Name() == "attach_data"
			switch {
			case field.Name() == "result_code":
				to.Set(field, protoreflect.ValueOfUint32(1))
			case repeats && asked != nil && from.Has(asked):
				to.Set(field, from.Get(asked))
			}
		}
		return res
	}
}

// messageOf is the message with the fields M.
type messageOf[M any] interface {
	*M
	proto.Message
}
