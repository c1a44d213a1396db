package dialog

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"

	"teamtalk/client"
	"teamtalk/internal/im"
	"teamtalk/internal/wire"
	"teamtalk/pb/basedefine"
	"teamtalk/pb/buddy"
	"teamtalk/pb/message"
)

// historyVerbs: what was said, and with whom.
var historyVerbs = map[string]verb{
	// history SESSION [from ID] [count N]: every message is shown.
	"history": func(p *Player, t *terminal, args []word) error { return p.askList(t, args, "history") },

	// ids SESSION [from ID] [count N]: only the ids are shown.
	"ids": func(p *Player, t *terminal, args []word) error { return p.askList(t, args, "ids") },

	// byid SESSION ID...
	"byid": func(p *Player, t *terminal, args []word) error {
		if len(args) == 0 {
			return errors.New("byid SESSION and ids")
		}
		kind, session, err := p.session(args[0])
		if err != nil {
			return err
		}
		m := &message.IMGetMsgByIdReq{
			UserId: t.meID(), SessionType: basedefine.SessionType(kind).Enum(), SessionId: proto.Uint32(session),
		}
		for _, w := range args[1:] {
			from, to, _ := strings.Cut(w.text, "-") // 1-150
			low, err := number(word{text: from})
			if err != nil {
				return err
			}
			high := low
			if to != "" {
				if high, err = number(word{text: to}); err != nil {
					return err
				}
			}
			for id := low; id <= high; id++ {
				m.MsgIdList = append(m.MsgIdList, id)
			}
		}
		_, err = t.send(wire.MsgByIDReq, m, wire.MsgByIDRes, "")
		return err
	},

	// latest SESSION: the newest id.
	"latest": func(p *Player, t *terminal, args []word) error {
		kind, session, err := p.session(word{text: first(args)})
		if err != nil {
			return err
		}
		_, err = t.send(wire.LatestMsgIDReq, &message.IMGetLatestMsgIdReq{
			UserId: t.meID(), SessionType: basedefine.SessionType(kind).Enum(), SessionId: proto.Uint32(session),
		}, wire.LatestMsgIDRes, "")
		return err
	},

	// sessions [since T]: the recent conversations.
	"sessions": func(_ *Player, t *terminal, args []word) error {
		since, err := since(args)
		if err != nil {
			return err
		}
		_, err = t.send(wire.RecentSessionsReq, &buddy.IMRecentContactSessionReq{
			UserId: t.meID(), LatestUpdateTime: proto.Uint32(since),
		}, wire.RecentSessionsRes, "")
		return err
	},

	// remove SESSION: off the list of recent conversations.
	"remove": func(p *Player, t *terminal, args []word) error {
		kind, session, err := p.session(word{text: first(args)})
		if err != nil {
			return err
		}
		_, err = t.send(wire.RemoveSessionReq, &buddy.IMRemoveSessionReq{
			UserId: t.meID(), SessionType: basedefine.SessionType(kind).Enum(), SessionId: proto.Uint32(session),
		}, wire.RemoveSessionRes, "")
		return err
	},
}

// askList asks for a page of history; shown is how it is to be shown.
func (p *Player) askList(t *terminal, args []word, shown string) error {
	if len(args) == 0 {
		return fmt.Errorf("%s SESSION [from ID] [count N]", shown)
	}
	kind, session, err := p.session(args[0])
	if err != nil {
		return err
	}
	values, err := named(args[1:], "from", "count")
	if err != nil {
		return err
	}
	from, err := numberOr(values, "from", 0)
	if err != nil {
		return err
	}
	count, err := numberOr(values, "count", 20)
	if err != nil {
		return err
	}
	_, err = t.send(wire.MsgListReq, &message.IMGetMsgListReq{
		UserId: t.meID(), SessionType: basedefine.SessionType(kind).Enum(), SessionId: proto.Uint32(session),
		MsgIdBegin: proto.Uint32(from), MsgCnt: proto.Uint32(count),
	}, wire.MsgListRes, shown)
	return err
}

// historyDecoders are the answers to historyVerbs.
var historyDecoders = map[wire.Command]decoder{
	wire.MsgListRes: answer(func(p *Player, _ *terminal, r *request, m *message.IMGetMsgListRsp) []event {
		if r.info == "ids" {
			return []event{say("ids", ids(m.GetMsgList()))}
		}
		var all []event
		for _, info := range m.GetMsgList() {
			msg := client.Message{
				From: im.UserID(info.GetFromSessionId()), ID: im.MsgID(info.GetMsgId()),
				Type: im.MsgType(info.GetMsgType()), Data: info.GetMsgData(),
			}
			if !now(info.GetCreateTime()) {
				return []event{say("history of", info.GetCreateTime())}
			}
			all = append(all, p.describe("history", m.GetSessionId(), &msg))
		}
		return append(all, say("history end"))
	}),
	wire.MsgByIDRes: answer(func(_ *Player, _ *terminal, _ *request, m *message.IMGetMsgByIdRsp) []event {
		return []event{say("byid", ids(m.GetMsgList()))}
	}),
	wire.LatestMsgIDRes: answer(func(_ *Player, _ *terminal, _ *request, m *message.IMGetLatestMsgIdRsp) []event {
		return []event{say("latest", m.GetLatestMsgId())}
	}),
	wire.RecentSessionsRes: answer(func(p *Player, _ *terminal, _ *request, m *buddy.IMRecentContactSessionRsp) []event {
		var all []event
		for _, s := range m.GetContactSessionList() {
			msg := client.Message{
				From: im.UserID(s.GetLatestMsgFromUserId()), ID: im.MsgID(s.GetLatestMsgId()),
				Type: im.MsgType(s.GetLatestMsgType()), Data: s.GetLatestMsgData(),
			}
			what := "session " + p.sessionName(im.Kind(s.GetSessionType()), s.GetSessionId()) + " last"
			if s.GetSessionStatus() != 0 {
				what += " removed"
			}
			all = append(all, p.describe(what, s.GetSessionId(), &msg))
		}
		return append(all, say("sessions", len(m.GetContactSessionList())))
	}),
	wire.RemoveSessionRes: answer(func(_ *Player, _ *terminal, _ *request, m *buddy.IMRemoveSessionRsp) []event {
		return []event{outcome("remove", m.GetResultCode())}
	}),
	wire.RemoveSessionNotify: push(func(p *Player, t *terminal, m *buddy.IMRemoveSessionNotify) []event {
		if im.UserID(m.GetUserId()) != t.me {
			return []event{say("removed by", p.userName(m.GetUserId()))}
		}
		return []event{say("removed", p.sessionName(im.Kind(m.GetSessionType()), m.GetSessionId()))}
	}),
}

// ids writes the ids of messages in their order, runs as "9-5".
func ids(list []*basedefine.MsgInfo) string {
	var runs []string
	for i := 0; i < len(list); {
		end := i
		for end+1 < len(list) && list[end+1].GetMsgId() == list[end].GetMsgId()-1 {
			end++
		}
		run := itoa(list[i].GetMsgId())
		if end > i {
			run += "-" + itoa(list[end].GetMsgId())
		}
		runs = append(runs, run)
		i = end + 1
	}
	if runs == nil {
		return "none"
	}
	return strings.Join(runs, " ")
}

func itoa(n uint32) string { return strconv.FormatUint(uint64(n), 10) }
