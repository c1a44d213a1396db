package command

import (
	"log/slog"

	"teamtalk/internal/wire"
)

// OperationBehind is what is written after the commits.
type OperationBehind interface {
	DeliveryWriter
	countForgetter
}

// OperationDeps is what the operations need. All are needed.
type OperationDeps struct {
	Store  GroupStore
	Groups Groups
	Mirror MemberMirror
	Lanes  Lanes
	Voice  VoiceKeeper
	Behind OperationBehind
	Log    *slog.Logger
}

// Operations returns the rows of the commands that change a conversation,
// ascending by id.
func Operations(d OperationDeps) []Command {
	g := &groupOps{store: d.Store, groups: d.Groups, mirror: d.Mirror, lanes: d.Lanes, behind: d.Behind, log: d.Log}
	return []Command{
		{ID: wire.MsgData, Reply: wire.MsgData, Operation: sendMessage(d.Lanes, d.Voice, d.Log)},
		{ID: wire.MsgReadAck, Operation: readAck(d.Lanes)},
		{ID: wire.GroupCreateReq, Reply: wire.GroupCreateRes, Query: g.createGroup},
		{ID: wire.GroupChangeMemberReq, Reply: wire.GroupChangeMemberRes, Operation: g.changeMembers},
		{ID: wire.DeliveryCursors, Operation: delivered(d.Behind)},
	}
}
