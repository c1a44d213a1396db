package dbproxy

import (
	"context"
	"encoding/hex"
	"slices"

	"teamtalk/db_proxy/internal/store"
	"teamtalk/internal/im"
)

// maxPlaces is how many messages of one client_msg_id are listed.
const maxPlaces = 1000

// placeClient finds the message of a client's id: in the conversation that is
// named, else wherever it occurs.
func (a *Admin) placeClient(ctx context.Context, ref MessageRef, f *MessageFacts) (at store.Placed, err error) {
	from, conv, err := a.clientConversation(ctx, ref)
	if err != nil {
		return at, err
	}
	found, err := a.store.ByOperation(ctx, im.FormerOperationOf(ref.ClientID))
	if err != nil {
		return at, err
	}
	var more []store.Placed
	if conv.Kind != 0 {
		op := im.OperationOf(im.OfClient, conv, ref.ClientID)
		f.OperationID = hex.EncodeToString(op[:])
		more, err = a.store.ByOperation(ctx, op)
	} else {
		more, err = a.store.Search(ctx, from, func(conv im.Conversation) im.OperationID {
			return im.OperationOf(im.OfClient, conv, ref.ClientID)
		}, maxPlaces)
	}
	if err != nil {
		return at, err
	}
	found = slices.DeleteFunc(append(found, more...), func(p store.Placed) bool {
		return from != 0 && p.From != from || conv.Kind != 0 && p.Conv != conv
	})
	if len(found) == 1 {
		return found[0], nil
	}
	for _, p := range found {
		f.Places = append(f.Places, PlaceFact{Conversation: p.Conv.String(), ID: uint32(p.ID), From: uint32(p.From)})
	}
	return at, nil
}

// clientConversation reads what is known of the sender and the conversation of
// a client's id; zero values stand for what is not.
func (a *Admin) clientConversation(
	ctx context.Context, ref MessageRef,
) (from im.UserID, conv im.Conversation, err error) {
	if ref.A != "" {
		if from, err = a.userOf(ctx, ref.A); err != nil {
			return 0, conv, err
		}
	}
	switch {
	case ref.Group != "":
		group, err := a.groupOf(ctx, ref.Group)
		return from, im.GroupOf(group), err
	case ref.B != "" && ref.A != "":
		to, err := a.userOf(ctx, ref.B)
		if err == nil && to == from {
			err = im.Errorf(im.Invalid, "nobody writes to himself")
		}
		return from, im.SingleOf(from, to), err
	}
	return from, conv, nil
}
