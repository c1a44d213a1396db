package chat

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"teamtalk/client"
	"teamtalk/internal/im"
	"teamtalk/pb/basedefine"
)

// The markers around the address of a picture in a text. Source: wire.md §5.
const (
	pictureStart = "&$#@~^@[{:"
	pictureEnd   = ":}]&$~@#@"
)

// message translates a message that a server sent.
func message(me im.UserID, m *client.Message) Message {
	text := m.Text()
	if seconds, _, ok := m.Audio(); ok {
		text = fmt.Sprintf("[voice message, %d s]", seconds)
	} else if m.Type.Audio() {
		text = "[voice message]"
	}
	return Message{
		ID: m.ID, From: m.From, Mine: m.From == me, At: time.Unix(int64(m.Created), 0), Text: pictures(text),
	}
}

// pictures makes the addresses of pictures in a text readable.
func pictures(text string) string {
	for {
		before, rest, ok := strings.Cut(text, pictureStart)
		address, after, closed := strings.Cut(rest, pictureEnd)
		if !ok || !closed {
			return text
		}
		text = before + "[picture " + address + "]" + after
	}
}

// contacts translates accounts.
func contacts(users []*basedefine.UserInfo) []Contact {
	list := make([]Contact, 0, len(users))
	for _, u := range users {
		list = append(list, Contact{
			ID: im.UserID(u.GetUserId()), Name: u.GetUserRealName(), Nick: u.GetUserNickName(),
			Signature: u.GetSignInfo(), Left: u.GetStatus() == userLeft,
		})
	}
	return list
}

// userLeft is the status of an account whose owner has left.
const userLeft = 3

// groups translates groups.
func groups(infos []*basedefine.GroupInfo) []Group {
	list := make([]Group, 0, len(infos))
	for _, g := range infos {
		members := make([]im.UserID, 0, len(g.GetGroupMemberList()))
		for _, u := range g.GetGroupMemberList() {
			members = append(members, im.UserID(u))
		}
		list = append(list, Group{ID: im.GroupID(g.GetGroupId()), Name: g.GetGroupName(), Members: members})
	}
	return list
}

// present asks who is on-line. A server without route_server stays silent:
// nobody is on-line then.
func present(ctx context.Context, c *client.Client, users []Contact) []im.UserID {
	ctx, cancel := context.WithTimeout(ctx, presencePatience)
	defer cancel()
	ids := make([]uint32, len(users))
	for i, u := range users {
		ids[i] = uint32(u.ID)
	}
	list, err := c.UsersStatus(ctx, ids...)
	if err != nil {
		return nil
	}
	var on []im.UserID
	for _, u := range list {
		if online(u.GetStatus()) {
			on = append(on, im.UserID(u.GetUserId()))
		}
	}
	return on
}

// online reports whether a status means that the user is there.
func online(s basedefine.UserStatType) bool { return s != basedefine.UserStatType_USER_STATUS_OFFLINE }

// sessions asks for the recent conversations.
func sessions(ctx context.Context, c *client.Client) ([]Session, error) {
	list, err := c.RecentSessions(ctx, 0)
	recent := make([]Session, 0, len(list))
	for _, s := range list {
		recent = append(recent, Session{
			Key:     Key{im.Kind(s.GetSessionType()), s.GetSessionId()},
			Updated: time.Unix(int64(s.GetUpdatedTime()), 0), Latest: im.MsgID(s.GetLatestMsgId()),
		})
	}
	return recent, err
}

// unread asks for the unread conversations.
func unread(ctx context.Context, c *client.Client) ([]Unread, error) {
	_, list, err := c.Unread(ctx)
	all := make([]Unread, 0, len(list))
	for _, u := range list {
		all = append(all, Unread{
			Key:   Key{im.Kind(u.GetSessionType()), u.GetSessionId()},
			Count: int(u.GetUnreadCnt()), Latest: im.MsgID(u.GetLatestMsgId()),
		})
	}
	return all, err
}

// explain says in words for people why something did not work.
func explain(err error) string {
	switch {
	case err == nil:
		return "disconnected"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, client.ErrAckTimeout):
		return "no answer from the server"
	case errors.Is(err, client.ErrOffline):
		return "not connected"
	case errors.Is(err, client.ErrTooLong):
		return "text empty or too long"
	case errors.Is(err, io.EOF):
		return "the server closed the connection"
	}
	if refused, ok := errors.AsType[*client.LoginError](err); ok {
		if refused.Permanent() {
			return "log-in refused: wrong name or password"
		}
		return fmt.Sprintf("log-in refused by the server (%d)", int32(refused.Code))
	}
	if none, ok := errors.AsType[*client.LocateError](err); ok {
		return explainLocate(none)
	}
	if nack, ok := errors.AsType[*client.NackError](err); ok {
		return "refused by the server: " + strings.ReplaceAll(nack.Code.String(), "_", " ")
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Addr != nil {
		return fmt.Sprintf("%s: %v", op.Addr, innermost(op))
	}
	return strings.TrimPrefix(err.Error(), "client: ")
}

// explainLocate says why a login_server names no msg_server. Its own words are
// Chinese.
func explainLocate(err *client.LocateError) string {
	switch err.Code {
	case 1:
		return "no msg_server is running"
	case 2:
		return "all msg_servers are full"
	}
	return fmt.Sprintf("the login_server refuses (%d)", err.Code)
}

// innermost returns the cause at the end of a chain.
func innermost(err error) error {
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return err
		}
		err = next
	}
}
