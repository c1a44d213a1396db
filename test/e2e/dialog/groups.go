package dialog

import (
	"errors"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"teamtalk/internal/im"
	"teamtalk/internal/wire"
	"teamtalk/pb/basedefine"
	"teamtalk/pb/group"
)

// groupVerbs: groups and their members.
var groupVerbs = map[string]verb{
	// create GROUP USER...: the name stands for the group from then on.
	"create": func(p *Player, t *terminal, args []word) error {
		return p.createGroup(t, args, basedefine.GroupType_GROUP_TYPE_TMP)
	},
	// create normal GROUP USER...: not for clients.
	"create normal": func(p *Player, t *terminal, args []word) error {
		return p.createGroup(t, args, basedefine.GroupType_GROUP_TYPE_NORMAL)
	},

	// add GROUP USER..., drop GROUP USER...
	"add": func(p *Player, t *terminal, args []word) error {
		return p.changeMembers(t, args, basedefine.GroupModifyType_GROUP_MODIFY_TYPE_ADD)
	},
	"drop": func(p *Player, t *terminal, args []word) error {
		return p.changeMembers(t, args, basedefine.GroupModifyType_GROUP_MODIFY_TYPE_DEL)
	},

	// groups: those that an administrator made.
	"groups": simple(wire.GroupListReq, wire.GroupListRes, func(t *terminal) proto.Message {
		return &group.IMNormalGroupListReq{UserId: t.meID()}
	}),

	// group GROUP... [version N]
	"group": func(p *Player, t *terminal, args []word) error {
		var version uint32
		if n := len(args); n > 2 && args[n-2].text == "version" {
			v, err := number(args[n-1])
			if err != nil {
				return err
			}
			version, args = v, args[:n-2]
		}
		m := &group.IMGroupInfoListReq{UserId: t.meID()}
		for _, w := range args {
			id, err := p.group(w)
			if err != nil {
				return err
			}
			m.GroupVersionList = append(m.GroupVersionList, &basedefine.GroupVersionInfo{
				GroupId: proto.Uint32(uint32(id)), Version: proto.Uint32(version),
			})
		}
		_, err := t.send(wire.GroupInfoReq, m, wire.GroupInfoRes, "")
		return err
	},

	// mute GROUP on, mute GROUP off
	"mute": func(p *Player, t *terminal, args []word) error {
		if len(args) != 2 {
			return errors.New("mute GROUP on|off")
		}
		id, err := p.group(args[0])
		if err != nil {
			return err
		}
		_, err = t.send(wire.GroupShieldReq, &group.IMGroupShieldReq{
			UserId: t.meID(), GroupId: proto.Uint32(uint32(id)), ShieldStatus: onOff(args[1:]),
		}, wire.GroupShieldRes, "")
		return err
	},
}

// createGroup sends 0x0405.
func (p *Player) createGroup(t *terminal, args []word, kind basedefine.GroupType) error {
	if len(args) == 0 {
		return errors.New("create GROUP and its members")
	}
	members, err := p.userIDs(args[1:])
	if err != nil {
		return err
	}
	_, err = t.send(wire.GroupCreateReq, &group.IMGroupCreateReq{
		UserId: t.meID(), GroupType: kind.Enum(), GroupName: proto.String(args[0].text),
		GroupAvatar: proto.String(""), MemberIdList: members,
	}, wire.GroupCreateRes, "")
	return err
}

// changeMembers sends 0x0407.
func (p *Player) changeMembers(t *terminal, args []word, change basedefine.GroupModifyType) error {
	if len(args) == 0 {
		return errors.New("which GROUP?")
	}
	id, err := p.group(args[0])
	if err != nil {
		return err
	}
	members, err := p.userIDs(args[1:])
	if err != nil {
		return err
	}
	_, err = t.send(wire.GroupChangeMemberReq, &group.IMGroupChangeMemberReq{
		UserId: t.meID(), ChangeType: change.Enum(), GroupId: proto.Uint32(uint32(id)), MemberIdList: members,
	}, wire.GroupChangeMemberRes, "")
	return err
}

// groupDecoders are the answers to groupVerbs, and notices.
var groupDecoders = map[wire.Command]decoder{
	wire.GroupCreateRes: answer(func(p *Player, _ *terminal, _ *request, m *group.IMGroupCreateRsp) []event {
		if m.GetResultCode() != 0 {
			return []event{outcome("create", m.GetResultCode())}
		}
		p.groups[m.GetGroupName()] = im.GroupID(m.GetGroupId())
		p.vars[m.GetGroupName()] = itoa(m.GetGroupId())
		return []event{say("create ok", m.GetGroupName(), p.userNames(m.GetUserIdList()))}
	}),
	wire.GroupChangeMemberRes: answer(func(p *Player, _ *terminal, _ *request, m *group.IMGroupChangeMemberRsp) []event {
		verb := changeVerb(m.GetChangeType())
		if m.GetResultCode() != 0 {
			return []event{outcome(verb, m.GetResultCode())}
		}
		return []event{say(verb, "ok", p.userNames(m.GetChgUserIdList()), "now", p.sorted(m.GetCurUserIdList()))}
	}),
	wire.GroupChangeMemberNotify: push(func(p *Player, _ *terminal, m *group.IMGroupChangeMemberNotify) []event {
		return []event{say("members of", p.sessionName(im.Group, m.GetGroupId()),
			p.userName(m.GetUserId()), changeVerb(m.GetChangeType())+"s", p.userNames(m.GetChgUserIdList()),
			"now", p.sorted(m.GetCurUserIdList()))}
	}),
	wire.GroupListRes: answer(func(p *Player, _ *terminal, _ *request, m *group.IMNormalGroupListRsp) []event {
		all := []any{"groups"}
		for _, v := range m.GetGroupVersionList() {
			all = append(all, p.sessionName(im.Group, v.GetGroupId()))
		}
		return []event{say(all...)}
	}),
	wire.GroupInfoRes: answer(func(p *Player, _ *terminal, _ *request, m *group.IMGroupInfoListRsp) []event {
		var all []event
		for _, g := range m.GetGroupInfoList() {
			kind := strings.ToLower(strings.TrimPrefix(g.GetGroupType().String(), "GROUP_TYPE_"))
			all = append(all, say("group", p.sessionName(im.Group, g.GetGroupId()), kind,
				"version", g.GetVersion(), "of", p.userName(g.GetGroupCreatorId()),
				"muted", switched(g.GetShieldStatus()), "members", p.sorted(g.GetGroupMemberList())))
		}
		return append(all, say("group infos:", len(all)))
	}),
	wire.GroupShieldRes: answer(func(_ *Player, _ *terminal, _ *request, m *group.IMGroupShieldRsp) []event {
		return []event{outcome("mute", m.GetResultCode())}
	}),
}

// changeVerb returns "add" or "drop".
func changeVerb(c basedefine.GroupModifyType) string {
	if c == basedefine.GroupModifyType_GROUP_MODIFY_TYPE_DEL {
		return "drop"
	}
	return "add"
}

// sorted returns names in alphabetical order, for lists without an order.
func (p *Player) sorted(ids []uint32) string {
	all := strings.Fields(p.userNames(ids))
	slices.Sort(all)
	return strings.Join(all, " ")
}
