package httpserver

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	"teamtalk/client/textcrypt"
	"teamtalk/http_msg_server/internal/backend"
	"teamtalk/internal/im"
	"teamtalk/internal/wire"
	"teamtalk/pb/basedefine"
	"teamtalk/pb/extension"
)

type newMessage struct {
	FromUserID uint32 `json:"from_user_id,omitempty"` // without it, the system writes
	ToUserID   uint32 `json:"to_user_id,omitempty"`   // either this
	ToGroupID  uint32 `json:"to_group_id,omitempty"`  // or this
	Text       string `json:"text"`
}

type sentMessage struct {
	MsgID      uint32 `json:"msg_id"`
	FromUserID uint32 `json:"from_user_id"`
	ToUserID   uint32 `json:"to_user_id,omitempty"`
	ToGroupID  uint32 `json:"to_group_id,omitempty"`
	CreatedAt  uint32 `json:"created_at"` // Unix seconds
}

type storedMessage struct {
	MsgID      uint32 `json:"msg_id"`
	FromUserID uint32 `json:"from_user_id"`
	CreatedAt  uint32 `json:"created_at"` // Unix seconds
	Type       string `json:"type"`       // text or audio
	Text       string `json:"text,omitempty"`
	Data       []byte `json:"data,omitempty"` // of audio, and of text that was not encrypted with the servers' key
}

type historyPage struct {
	Messages   []storedMessage `json:"messages"` // newest first
	NextCursor string          `json:"next_cursor,omitempty"`
}

func messageOperations() []*operation {
	return []*operation{
		handle(operation{
			ID: "sendMessage", Method: http.MethodPost, Path: "/messages", Scope: MessagesWrite, Status: http.StatusCreated,
			Summary: "Send a text as a user, or as the system, to a user or a group. A user must be a member of the group; " +
				"the system need not be.",
		}, sendMessage),
		handle(operation{
			ID: "listMessages", Method: http.MethodGet, Path: "/messages", Scope: MessagesRead, Status: http.StatusOK,
			Summary: "Messages of two users (user_id and peer_id) or of a group (group_id), newest first.",
			Params: []param{
				{Name: "user_id", In: "query", Integer: true, Help: "One of the two users."},
				{Name: "peer_id", In: "query", Integer: true, Help: "The other one."},
				{Name: "group_id", In: "query", Integer: true, Help: "The group."},
				cursorParam, limitParam,
			},
		}, listMessages),
	}
}

// check is called before the request is carried out.
func (m *newMessage) check() error {
	switch {
	case (m.ToUserID == 0) == (m.ToGroupID == 0):
		return wrong("to_user_id", "give either to_user_id or to_group_id")
	case m.FromUserID != 0 && m.FromUserID == m.ToUserID:
		return wrong("to_user_id", "nobody writes to himself")
	case m.Text == "":
		return wrong("text", "must not be empty")
	case !utf8.ValidString(m.Text):
		return wrong("text", "must be UTF-8")
	case len(m.Text) > textcrypt.MaxPlain:
		return tooLarge("text", fmt.Sprintf("must have at most %d bytes", textcrypt.MaxPlain))
	}
	return nil
}

func sendMessage(c *call, in *newMessage) (*sentMessage, error) {
	m := &backend.Message{
		From: im.UserID(in.FromUserID), Content: c.server.texts.Encrypt(in.Text),
		Created: uint32(c.server.clock().Unix()), Outsider: in.FromUserID == 0,
	}
	if in.FromUserID == 0 {
		var err error
		if m.From, err = c.server.systemUser(c.ctx()); err != nil {
			return nil, err
		}
		if in.ToUserID == uint32(m.From) {
			return nil, wrong("to_user_id", "is the account that the system writes as")
		}
	}
	m.Conv = im.GroupOf(im.GroupID(in.ToGroupID))
	if in.ToGroupID == 0 {
		m.Conv = im.SingleOf(m.From, im.UserID(in.ToUserID))
	}
	m.Op, m.Former = operationIDs(c.key.ID, c.once.Key(), m.From, m.Conv, c.server.clock())
	c.subject = m.Conv.String()
	sent, err := c.server.backend.Send(c.ctx(), m)
	if err != nil {
		return nil, c.whyNotSent(m, err)
	}
	c.subject = fmt.Sprintf("%v message:%d", m.Conv, sent.ID)
	if sent.Repeat {
		c.subject = "" // nothing was changed
		c.status = http.StatusOK
		c.w.Header().Set(replayed, "true")
	}
	if sent.Found {
		if sent.Created, err = c.firstStored(m, sent.ID); err != nil {
			return nil, err
		}
	}
	return &sentMessage{
		MsgID: uint32(sent.ID), FromUserID: uint32(m.From), ToUserID: in.ToUserID, ToGroupID: in.ToGroupID,
		CreatedAt: sent.Created,
	}, nil
}

// whyNotSent says which part of a refused message was wrong.
func (c *call) whyNotSent(m *backend.Message, err error) error {
	code := im.CodeOf(err)
	if code != im.Denied && code != im.NotFound {
		if code == im.TooLarge {
			return tooLarge("text", "is over the limit")
		}
		return err
	}
	c.subject = "" // nothing was changed
	from, lookup := c.account(uint32(m.From), "from_user_id")
	switch {
	case lookup != nil:
		return lookup
	case from.GetStatus() != im.StatusActive:
		return conflict("from_user_id", "this user is disabled")
	case m.Conv.Kind == im.Single:
		return missing("an active user of this id", "to_user_id")
	}
	if _, lookup := c.group(uint32(m.Conv.Group), "to_group_id"); lookup != nil {
		return lookup
	}
	return conflict("from_user_id", "this user is not a member of the group")
}

// firstStored returns when a message was stored that this one repeats, and
// refuses a repeat that says something else.
func (c *call) firstStored(m *backend.Message, id im.MsgID) (created uint32, err error) {
	res, err := c.history(m.Conv, uint32(id)+1, 1)
	if err != nil {
		return 0, err
	}
	all := res.GetMessages()
	switch {
	case len(all) != 1 || all[0].GetMsgId() != uint32(id):
		return m.Created, nil // somebody removed it
	case !slices.Equal(all[0].GetMsgData(), m.Content):
		return 0, reused()
	}
	return all[0].GetCreateTime(), nil
}

// systemUser returns the account that the system writes as, and makes it when
// it is first needed.
func (s *Server) systemUser(ctx context.Context) (im.UserID, error) {
	s.systemMu.Lock()
	defer s.systemMu.Unlock()
	if s.system != 0 {
		return im.UserID(s.system), nil
	}
	secret := make([]byte, 32)
	_, _ = rand.Read(secret) // never fails
	res := new(extension.IMApiUserSaveRsp)
	err := s.backend.API(ctx, &extension.IMApiUserSaveReq{
		Name: proto.String(s.cfg.SystemUser), Password: clientMD5(hex.EncodeToString(secret)),
	}, wire.APIUserSaveReq, res)
	if err != nil {
		return 0, fmt.Errorf("make the account of the system: %w", err)
	}
	s.system = res.GetUser().GetUserId()
	if s.system == 0 {
		return 0, errors.New("the account of the system has no id")
	}
	return im.UserID(s.system), nil
}

func (c *call) history(conv im.Conversation, before, limit uint32) (*extension.IMApiHistoryRsp, error) {
	req := &extension.IMApiHistoryReq{
		SessionType: basedefine.SessionType_SESSION_TYPE_GROUP.Enum(), First: proto.Uint32(uint32(conv.Group)),
		BeforeMsgId: proto.Uint32(before), Limit: proto.Uint32(limit),
	}
	if conv.Kind == im.Single {
		req.SessionType = basedefine.SessionType_SESSION_TYPE_SINGLE.Enum()
		req.First, req.Second = proto.Uint32(uint32(conv.Pair.Small)), proto.Uint32(uint32(conv.Pair.Big))
	}
	res := new(extension.IMApiHistoryRsp)
	return res, c.server.backend.API(c.ctx(), req, wire.APIHistoryReq, res)
}

// conversation reads which one the query is about, and that it exists.
func (c *call) conversation() (im.Conversation, error) {
	var ids [3]uint32
	for i, name := range []string{"user_id", "peer_id", "group_id"} {
		var err error
		if ids[i], err = c.queryID(name); err != nil {
			return im.Conversation{}, err
		}
	}
	userID, peerID, groupID := ids[0], ids[1], ids[2]
	switch {
	case groupID != 0 && (userID != 0 || peerID != 0):
		return im.Conversation{}, wrong("group_id", "give either group_id, or user_id and peer_id")
	case groupID != 0:
		_, err := c.group(groupID, "group_id")
		return im.GroupOf(im.GroupID(groupID)), err
	case userID == 0:
		return im.Conversation{}, wrong("user_id", "is missing")
	case peerID == 0:
		return im.Conversation{}, wrong("peer_id", "is missing")
	case userID == peerID:
		return im.Conversation{}, wrong("peer_id", "must be another user")
	}
	found, err := c.accounts(userID, peerID)
	if err != nil {
		return im.Conversation{}, err
	}
	for name, id := range map[string]uint32{"user_id": userID, "peer_id": peerID} {
		if found[id] == nil {
			return im.Conversation{}, missing(fmt.Sprintf("user %d", id), name)
		}
	}
	return im.SingleOf(im.UserID(userID), im.UserID(peerID)), nil
}

func listMessages(c *call, _ *none) (*historyPage, error) {
	conv, err := c.conversation()
	if err != nil {
		return nil, err
	}
	p, err := c.page(conv.String())
	if err != nil {
		return nil, err
	}
	res, err := c.history(conv, p.after, p.limit)
	if err != nil {
		return nil, err
	}
	out := &historyPage{Messages: []storedMessage{}}
	for _, m := range res.GetMessages() {
		out.Messages = append(out.Messages, c.server.readable(m))
	}
	if n := len(out.Messages); n > 0 {
		out.NextCursor = next(res.GetMore(), conv.String(), out.Messages[n-1].MsgID)
	}
	return out, nil
}

// readable is a message as people read it, if it can be.
func (s *Server) readable(m *basedefine.MsgInfo) storedMessage {
	out := storedMessage{
		MsgID: m.GetMsgId(), FromUserID: m.GetFromSessionId(), CreatedAt: m.GetCreateTime(), Type: "text",
	}
	if im.MsgType(m.GetMsgType()).Audio() {
		out.Type, out.Data = "audio", m.GetMsgData()
		return out
	}
	text, err := s.texts.Decrypt(m.GetMsgData())
	if err != nil || !utf8.ValidString(text) {
		out.Data = m.GetMsgData()
		return out
	}
	out.Text = text
	return out
}
