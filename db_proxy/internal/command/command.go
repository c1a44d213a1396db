// Package command holds what db_proxy answers: one table, one file per
// command. A handler parses, authorises, stores, replies. It sees no SQL, no
// sockets and no locks; what it needs of storage it declares as a small
// interface.
//
// There are two kinds. A query reads, runs on a worker and returns its reply.
// An operation changes a conversation: it is handed to the lane of that
// conversation and replies when its transaction has committed.
package command

import (
	"context"

	"google.golang.org/protobuf/proto"

	"teamtalk/internal/wire"
)

// Request is one PDU of a msg_server.
type Request struct {
	Command wire.Command
	Seq     uint16
	// Body is a copy and belongs to the request.
	Body []byte
	// Reply sends one PDU back on the link the request came from; it may be
	// called from any goroutine, also after the link is gone.
	Reply func(command wire.Command, m proto.Message)
	// Capable reports whether the msg_server is one of ours and understands
	// the extensions of docs/protocol.md.
	Capable bool
	// API reports whether the request came from an http_msg_server of ours,
	// which has checked who may do what.
	API bool
}

// Query answers a request on a worker. A nil message means that the protocol
// has no answer for this case: the client gets none. An error is logged and
// counted by the caller; a query that has a result field to carry it returns
// both, the answer and the error.
type Query func(ctx context.Context, r *Request) (proto.Message, error)

// Operation hands a request to its lane. It runs on an event loop: it parses
// and submits, and never blocks. An error means that nothing was submitted;
// it is logged and counted by the caller.
type Operation func(r *Request) error

// Command is one row of the table: exactly one of Query and Operation is set.
type Command struct {
	ID    wire.Command
	Reply wire.Command // 0: never answered
	Query Query
	// Asker is whose account must be active, and Refusal the answer of a query
	// if it is not; nil: the client gets none.
	Asker   Asker
	Refusal func(body []byte) proto.Message
	// InTurn queries of one asker run one after the other. They wait only for
	// each other and for large requests.
	InTurn bool
	// Turn, if set, calls run when the query's turn has come: after what its
	// user submitted before. It must not block; an error is the query's.
	Turn func(r *Request, run func()) error
	// Slow queries have workers of their own, so that hashing passwords
	// keeps nobody else waiting.
	Slow      bool
	Operation Operation
}
