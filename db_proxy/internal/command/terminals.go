package command

import (
	"context"
	"slices"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	"teamtalk/db_proxy/internal/store"
	"teamtalk/internal/im"
	"teamtalk/internal/wire"
	"teamtalk/pb/basedefine"
	"teamtalk/pb/extension"
)

// terminalStore keeps what has arrived at terminals.
type terminalStore interface {
	historyStore
	// OpenTerminal returns the conversations in which messages wait for a
	// terminal; for one that is not known, none.
	OpenTerminal(ctx context.Context, t store.Terminal) ([]store.Backlog, error)
	// DeliveredUpto returns the cursor of a known terminal.
	DeliveredUpto(ctx context.Context, t store.Terminal, kind im.Kind, peer uint32) (im.MsgID, error)
}

// deliverySettler writes delivery cursors behind.
type deliverySettler interface {
	// SettleDeliveries returns when the cursors noted before are in SQL, or
	// ctx ends.
	SettleDeliveries(ctx context.Context)
}

// DeliveryWriter takes delivery cursors to be written behind.
type DeliveryWriter interface{ Delivered(d store.Delivery) }

// terminals answers 0790 and 0792.
type terminals struct {
	store  terminalStore
	access access
	behind deliverySettler
	voice  VoiceKeeper
}

func terminalCommands(t *terminals) []Command {
	return []Command{
		{ID: wire.TerminalReq, Asker: ByUser, Reply: wire.TerminalRes, Query: t.open},
		{ID: wire.BacklogReq, Asker: ByUser, Reply: wire.BacklogRes, Query: t.page},
	}
}

// open answers with the conversations in which messages wait for a terminal,
// 0790 to 0791. Source: docs/protocol.md, "Terminals".
func (t *terminals) open(ctx context.Context, r *Request) (proto.Message, error) {
	req := new(extension.IMTerminalReq)
	if err := parse(r, req); err != nil {
		return nil, err
	}
	t.behind.SettleDeliveries(ctx)
	waiting, err := t.store.OpenTerminal(ctx, store.Terminal{User: im.UserID(req.GetUserId()), Name: req.GetTerminal()})
	if err != nil {
		return nil, err
	}
	res := &extension.IMTerminalRsp{UserId: proto.Uint32(req.GetUserId()), AttachData: req.GetAttachData()}
	for _, w := range waiting {
		res.Backlog = append(res.Backlog, &extension.Backlog{
			SessionType: basedefine.SessionType(w.Kind).Enum(), SessionId: proto.Uint32(w.Peer),
			Newest: proto.Uint32(uint32(w.Newest)),
		})
	}
	return res, nil
}

// page answers with the messages behind an id or behind the terminal's
// cursor, oldest first, 0792 to 0793. newest is known to be stored, and ids
// are committed in their order: up to it, what the page lacks does not exist
// for the user. What is before they joined takes no place in a page.
func (t *terminals) page(ctx context.Context, r *Request) (proto.Message, error) {
	req := new(extension.IMBacklogReq)
	if err := parse(r, req); err != nil {
		return nil, err
	}
	kind, err := parseKind(req.GetSessionType())
	if err != nil {
		return nil, err
	}
	after := im.MsgID(req.GetAfter())
	if req.After == nil {
		t.behind.SettleDeliveries(ctx)
		terminal := store.Terminal{User: im.UserID(req.GetUserId()), Name: req.GetTerminal()}
		if after, err = t.store.DeliveredUpto(ctx, terminal, kind, req.GetSessionId()); err != nil {
			return nil, err
		}
	}
	res := &extension.IMBacklogRsp{
		UserId: proto.Uint32(req.GetUserId()), SessionType: req.GetSessionType().Enum(),
		SessionId: proto.Uint32(req.GetSessionId()), After: proto.Uint32(uint32(after)),
		Upto: proto.Uint32(max(req.GetNewest(), uint32(after))), AttachData: req.GetAttachData(),
	}
	if after >= im.MsgID(req.GetNewest()) {
		return res, nil
	}
	k := store.SessionKey{User: im.UserID(req.GetUserId()), Kind: kind, Peer: req.GetSessionId()}
	ref, since, ok, err := t.access.of(ctx, k)
	switch {
	case err != nil:
		return nil, err
	case !ok:
		res.Denied = proto.Bool(true)
		return res, nil
	}
	begin := min(max(after, since.After), im.MsgID(req.GetNewest()))
	count := min(req.GetNewest()-uint32(begin), max(req.GetLimit(), 1), im.MaxHistory)
	upto := begin + im.MsgID(count)
	found, err := t.store.History(ctx, ref, upto, int(count), since)
	if err != nil {
		return nil, err
	}
	found = slices.DeleteFunc(found, func(m store.Message) bool { return m.ID <= after })
	slices.Reverse(found)
	t.voice.Fill(ctx, found)
	page := messageInfos(found)
	res.MsgList = page
	if n := len(page); n > 0 && n < len(found) {
		upto = found[n-1].ID // more does not fit
	}
	res.Upto = proto.Uint32(uint32(upto))
	return res, nil
}

// delivered stores what has arrived at terminals, 0794. It is never answered:
// a cursor that is lost costs its terminal some messages it has already.
func delivered(behind DeliveryWriter) Operation {
	return func(r *Request) error {
		m := new(extension.IMDeliveryCursors)
		if err := proto.Unmarshal(r.Body, m); err != nil {
			return im.Wrap(im.Invalid, "parse delivery cursors", err)
		}
		for _, c := range m.GetCursors() {
			kind := im.Kind(c.GetSessionType())
			if c.GetUserId() == 0 || !validTerminal(c.GetTerminal()) || !kind.Valid() ||
				c.GetSessionId() == 0 || im.MsgID(c.GetMsgId()) > im.MaxMsgID {
				return im.Errorf(im.Invalid, "delivery cursor of nothing")
			}
			behind.Delivered(store.Delivery{
				Terminal: store.Terminal{User: im.UserID(c.GetUserId()), Name: c.GetTerminal()},
				Kind:     kind, Peer: c.GetSessionId(), Upto: im.MsgID(c.GetMsgId()),
			})
		}
		return nil
	}
}

// validTerminal refuses what the database would: with it, nothing else would
// be written.
func validTerminal(name string) bool {
	return name != "" && len(name) <= store.MaxTerminalName && utf8.ValidString(name)
}
