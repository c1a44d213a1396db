package command

import (
	"log/slog"

	"teamtalk/internal/wire"
	"teamtalk/pb/group"
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
	// Accounts knows who may still ask.
	Accounts accounts
	Mirror   MemberMirror
	Lanes    Lanes
	Turns    Turns
	Voice    VoiceKeeper
	Behind   OperationBehind
	Log      *slog.Logger
}

// Operations returns the rows of the commands that change a conversation,
// ascending by id.
func Operations(d OperationDeps) []Command {
	g := &groupOps{
		store: d.Store, groups: d.Groups, mirror: d.Mirror, lanes: d.Lanes, turns: d.Turns, behind: d.Behind, log: d.Log,
	}
	return guard([]Command{
		{ID: wire.MsgData, Asker: InLane, Reply: wire.MsgData, Operation: sendMessage(d.Lanes, d.Voice, d.Log)},
		{ID: wire.MsgReadAck, Asker: InLane, Operation: readAck(d.Lanes)},
		{
			ID: wire.GroupCreateReq, Reply: wire.GroupCreateRes, Query: g.createGroup, InTurn: true,
			Asker: ByUser, Refusal: refusal[group.IMGroupCreateReq, group.IMGroupCreateRsp](),
		},
		{
			ID: wire.GroupChangeMemberReq, Asker: InLane, Reply: wire.GroupChangeMemberRes, Operation: g.changeMembers,
		},
		{ID: wire.DeliveryCursors, Asker: ByServer, Operation: delivered(d.Behind)},
	}, d.Accounts)
}
