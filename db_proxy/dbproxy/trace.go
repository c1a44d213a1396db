package dbproxy

import (
	"context"
	"encoding/hex"
	"slices"
	"strconv"

	"teamtalk/db_proxy/internal/store"
	"teamtalk/internal/im"
)

// MessageRef names one message: Kind "single" with A, B and ID, "group" with
// Group and ID, or "client" with ClientID and, as far as they are known, its
// sender A and its receiver, B or Group. Users and groups are named by their
// name or, where none has that name, by their number.
type MessageRef struct {
	Kind     string `json:"kind"`
	A        string `json:"a,omitempty"`
	B        string `json:"b,omitempty"`
	Group    string `json:"group,omitempty"`
	ID       uint32 `json:"id,omitempty"`
	ClientID string `json:"client_id,omitempty"`
}

// MessageFacts is what the database knows of a message.
type MessageFacts struct {
	Conversation string `json:"conversation,omitempty"` // single:1-2 or group:3; "" if no message was found
	ID           uint32 `json:"msg_id,omitempty"`
	// Places are where messages of a client's id are stored, if there are
	// several; the rest is then empty.
	Places      []PlaceFact `json:"places,omitempty"`
	OperationID string      `json:"operation_id,omitempty"` // hex

	Stored  bool   `json:"stored"`
	From    uint32 `json:"from,omitempty"`
	Type    uint8  `json:"type,omitempty"`   // im.MsgType
	Hidden  bool   `json:"hidden,omitempty"` // its status keeps clients from seeing it
	Created uint32 `json:"created,omitempty"`
	Newest  uint32 `json:"newest,omitempty"` // id of the newest message of the conversation

	GroupName string            `json:"group_name,omitempty"`
	Users     []uint32          `json:"users"` // the pair, or the members of the group now
	Names     map[uint32]string `json:"names"`
	Read      []CursorFact      `json:"read"`
	Delivered []CursorFact      `json:"delivered"`
}

// PlaceFact is where a message is stored.
type PlaceFact struct {
	Conversation string `json:"conversation"`
	ID           uint32 `json:"msg_id"`
	From         uint32 `json:"from"`
}

// CursorFact is how far a user has read, or a terminal has confirmed.
type CursorFact struct {
	User     uint32 `json:"user"`
	Terminal string `json:"terminal,omitempty"`
	Upto     uint32 `json:"upto"`
	Updated  uint32 `json:"updated"` // Unix seconds; when it moved last
}

// Message looks a message up with what is known of its conversation. A message
// that is not stored is no error, a user or group that does not exist is
// im.NotFound.
func (a *Admin) Message(ctx context.Context, ref MessageRef) (MessageFacts, error) {
	f := MessageFacts{
		ID: ref.ID, Users: []uint32{}, Names: map[uint32]string{}, Read: []CursorFact{}, Delivered: []CursorFact{},
	}
	at, err := a.place(ctx, ref, &f)
	if err != nil || at.Conv.Kind == 0 {
		return f, err
	}
	f.Conversation, f.ID = at.Conv.String(), uint32(at.ID)
	if err := a.addMessage(ctx, at, &f); err != nil {
		return f, err
	}
	if err := a.addPeople(ctx, at.Conv, &f); err != nil {
		return f, err
	}
	read, delivered, err := a.store.Positions(ctx, at.Conv)
	f.Read, f.Delivered = cursorFacts(read), cursorFacts(delivered)
	return f, err
}

// place finds the conversation; one of kind 0 stands for a client's id that
// nothing is stored under.
func (a *Admin) place(ctx context.Context, ref MessageRef, f *MessageFacts) (at store.Placed, err error) {
	at.ID = im.MsgID(ref.ID)
	switch ref.Kind {
	case "client":
		return a.placeClient(ctx, ref, f)
	case "group":
		group, err := a.groupOf(ctx, ref.Group)
		at.Conv = im.GroupOf(group)
		return at, err
	case "single":
		one, err := a.userOf(ctx, ref.A)
		if err != nil {
			return at, err
		}
		other, err := a.userOf(ctx, ref.B)
		if err != nil {
			return at, err
		}
		if one == other {
			return at, im.Errorf(im.Invalid, "nobody writes to himself")
		}
		at.Conv = im.SingleOf(one, other)
		relations, err := a.store.Relations(ctx, []im.Pair{at.Conv.Pair})
		at.Relation = relations[at.Conv.Pair]
		return at, err
	}
	return at, im.Errorf(im.Invalid, "no kind of conversation: %q", ref.Kind)
}

// userOf finds a user by name or number.
func (a *Admin) userOf(ctx context.Context, name string) (im.UserID, error) {
	found, err := a.store.FindUsers(ctx, []string{name})
	if err != nil {
		return 0, err
	}
	if len(found) == 0 {
		if id, err := strconv.ParseUint(name, 10, 32); err == nil {
			if found, err = a.store.Users(ctx, []im.UserID{im.UserID(id)}); err != nil {
				return 0, err
			}
		}
	}
	if len(found) == 0 {
		return 0, im.Errorf(im.NotFound, "no user %q", name)
	}
	return found[0].ID, nil
}

// groupOf finds a group by name or number.
func (a *Admin) groupOf(ctx context.Context, name string) (im.GroupID, error) {
	id, err := a.store.GroupByName(ctx, name)
	if im.CodeOf(err) != im.NotFound {
		return id, err
	}
	if number, err := strconv.ParseUint(name, 10, 32); err == nil {
		found, err := a.store.Groups(ctx, []im.GroupID{im.GroupID(number)})
		if err != nil {
			return 0, err
		}
		if len(found) > 0 {
			return found[0].ID, nil
		}
	}
	return 0, im.Errorf(im.NotFound, "no group %q", name)
}

// addMessage adds the row of the message, if there is one.
func (a *Admin) addMessage(ctx context.Context, at store.Placed, f *MessageFacts) error {
	last, err := a.store.LastMessages(ctx, []store.ConvRef{at.ConvRef})
	if err != nil {
		return err
	}
	f.Newest = uint32(last[at.Conv].ID)
	m, err := a.store.MessageAt(ctx, at.ConvRef, at.ID)
	if im.CodeOf(err) == im.NotFound {
		return nil
	}
	if err != nil {
		return err
	}
	f.Stored, f.From, f.Type, f.Hidden, f.Created = true, uint32(m.From), uint8(m.Type), m.Status != 0, m.Created
	if !m.Op.IsZero() {
		f.OperationID = hex.EncodeToString(m.Op[:])
	}
	return nil
}

// addPeople adds who gets the messages of a conversation, and all names.
func (a *Admin) addPeople(ctx context.Context, conv im.Conversation, f *MessageFacts) error {
	if conv.Kind == im.Group {
		groups, err := a.store.Groups(ctx, []im.GroupID{conv.Group})
		if err != nil {
			return err
		}
		for _, g := range groups {
			f.GroupName = g.Name
			for _, m := range g.Members {
				f.Users = append(f.Users, uint32(m.User))
			}
		}
	} else {
		f.Users = []uint32{uint32(conv.Pair.Small), uint32(conv.Pair.Big)}
	}
	ids := make([]im.UserID, 0, len(f.Users)+1)
	for _, id := range slices.Concat(f.Users, []uint32{f.From}) {
		ids = append(ids, im.UserID(id))
	}
	users, err := a.store.Users(ctx, ids)
	for _, u := range users {
		f.Names[uint32(u.ID)] = u.Name
	}
	return err
}

func cursorFacts(all []store.Position) []CursorFact {
	facts := make([]CursorFact, len(all))
	for i, p := range all {
		facts[i] = CursorFact{User: uint32(p.User), Terminal: p.Terminal, Upto: uint32(p.Upto), Updated: p.Updated}
	}
	return facts
}
