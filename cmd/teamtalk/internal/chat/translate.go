package chat

import (
	"context"
	"fmt"
	"strings"
	"time"

	"teamtalk/client"
	"teamtalk/internal/im"
	"teamtalk/pb/basedefine"
)

// The markers around the address of a picture in a text.
// Source: docs/protocol/wire.md §4.
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
