package dialog

import (
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"teamtalk/client"
	"teamtalk/internal/im"
	"teamtalk/internal/wire"
	"teamtalk/pb/basedefine"
	"teamtalk/pb/buddy"
	"teamtalk/pb/extension"
	"teamtalk/pb/file"
	"teamtalk/pb/login"
	"teamtalk/pb/message"
	"teamtalk/pb/switchservice"
)

// meID is the own id as this client type writes it into requests: iOS and Mac
// leave it to the server.
func (t *terminal) meID() *uint32 {
	if t.profile.FromZero {
		return proto.Uint32(0)
	}
	return proto.Uint32(uint32(t.me))
}

// simple makes a verb without arguments.
func simple(command wire.Command, want wire.Command, m func(t *terminal) proto.Message) verb {
	return func(_ *Player, t *terminal, _ []word) error {
		_, err := t.send(command, m(t), want, "")
		return err
	}
}

// accountVerbs: log-in, time, users, presence, settings.
var accountVerbs = map[string]verb{
	// login [password "p"] [name "n"]
	"login": func(p *Player, t *terminal, args []word) error {
		values, err := named(args, "password", "name")
		if err != nil {
			return err
		}
		password, name := Password, p.account(t.user)
		if w, ok := values["password"]; ok {
			password = w.text
		}
		if w, ok := values["name"]; ok {
			name = w.text
		}
		m := &login.IMLoginReq{
			UserName: proto.String(name), Password: proto.String(client.PasswordMD5(password)),
			OnlineStatus:  basedefine.UserStatType_USER_STATUS_ONLINE.Enum(),
			ClientType:    basedefine.ClientType(t.profile.ClientType).Enum(),
			ClientVersion: proto.String(t.profile.Name), Capabilities: t.caps,
		}
		if t.device != "" {
			m.DeviceId = proto.String(t.device)
		}
		_, err = t.send(wire.LoginReq, m, wire.LoginRes, name)
		return err
	},

	"logout": simple(wire.LogoutReq, wire.LogoutRes, func(*terminal) proto.Message { return &login.IMLogoutReq{} }),
	"time":   simple(wire.TimeReq, wire.TimeRes, func(*terminal) proto.Message { return &message.IMClientTimeReq{} }),
	"kick pc": simple(wire.KickPCReq, wire.KickPCRes, func(t *terminal) proto.Message {
		return &login.IMKickPCClientReq{UserId: t.meID()}
	}),
	"night?": simple(wire.QueryPushShieldReq, wire.QueryPushShieldRes, func(t *terminal) proto.Message {
		return &login.IMQueryPushShieldReq{UserId: t.meID()}
	}),

	// night on, night off: no push notifications at night.
	"night": func(_ *Player, t *terminal, args []word) error {
		m := &login.IMPushShieldReq{UserId: t.meID(), ShieldStatus: onOff(args)}
		_, err := t.send(wire.PushShieldReq, m, wire.PushShieldRes, "")
		return err
	},

	// token "T": where push notifications go.
	"token": func(_ *Player, t *terminal, args []word) error {
		m := &login.IMDeviceTokenReq{
			UserId: t.meID(), DeviceToken: proto.String(first(args)),
			ClientType: basedefine.ClientType(t.profile.ClientType).Enum(),
		}
		_, err := t.send(wire.DeviceTokenReq, m, wire.DeviceTokenRes, "")
		return err
	},

	// users [since T]: all accounts; only those of the script are shown.
	"users": func(_ *Player, t *terminal, args []word) error {
		since, err := since(args)
		if err != nil {
			return err
		}
		m := &buddy.IMAllUserReq{UserId: t.meID(), LatestUpdateTime: proto.Uint32(since)}
		_, err = t.send(wire.AllUsersReq, m, wire.AllUsersRes, "")
		return err
	},

	// departments [since T]
	"departments": func(_ *Player, t *terminal, args []word) error {
		since, err := since(args)
		if err != nil {
			return err
		}
		m := &buddy.IMDepartmentReq{UserId: t.meID(), LatestUpdateTime: proto.Uint32(since)}
		_, err = t.send(wire.DepartmentsReq, m, wire.DepartmentsRes, "")
		return err
	},

	// files: those that wait off-line.
	"files": simple(wire.FileHasOfflineReq, wire.FileHasOfflineRes, func(t *terminal) proto.Message {
		return &file.IMFileHasOfflineReq{UserId: t.meID()}
	}),

	// info USER...
	"info": func(p *Player, t *terminal, args []word) error {
		ids, err := p.userIDs(args)
		if err != nil {
			return err
		}
		_, err = t.send(wire.UserInfoReq, &buddy.IMUsersInfoReq{UserId: t.meID(), UserIdList: ids}, wire.UserInfoRes, "")
		return err
	},

	// status USER...: who is at a PC.
	"status": func(p *Player, t *terminal, args []word) error {
		ids, err := p.userIDs(args)
		if err != nil {
			return err
		}
		_, err = t.send(wire.UsersStatusReq, &buddy.IMUsersStatReq{UserId: t.meID(), UserIdList: ids},
			wire.UsersStatusRes, "")
		return err
	},

	// sign "text": the own signature.
	"sign": func(_ *Player, t *terminal, args []word) error {
		m := &buddy.IMChangeSignInfoReq{UserId: t.meID(), SignInfo: proto.String(first(args))}
		_, err := t.send(wire.ChangeSignInfoReq, m, wire.ChangeSignInfoRes, "")
		return err
	},

	// picture "url": the own avatar.
	"picture": func(_ *Player, t *terminal, args []word) error {
		m := &buddy.IMChangeAvatarReq{UserId: t.meID(), AvatarUrl: proto.String(first(args))}
		_, err := t.send(wire.ChangeAvatarReq, m, wire.ChangeAvatarRes, "")
		return err
	},

	// command USER "data" [from USER]: to the terminals of another user.
	"command": func(p *Player, t *terminal, args []word) error {
		if len(args) < 2 {
			return fmt.Errorf("command USER %q", "data")
		}
		values, err := named(args[2:], "from")
		if err != nil {
			return err
		}
		to, err := p.user(args[0])
		if err != nil {
			return err
		}
		from := t.meID()
		if w, ok := values["from"]; ok {
			id, err := p.user(w)
			if err != nil {
				return err
			}
			from = proto.Uint32(uint32(id))
		}
		_, err = t.send(wire.P2PCommand, &switchservice.IMP2PCmdMsg{
			FromUserId: from, ToUserId: proto.Uint32(uint32(to)), CmdMsgData: proto.String(args[1].text),
		}, 0, "")
		return err
	},
}

// first returns the first argument or nothing.
func first(args []word) string {
	if len(args) == 0 {
		return ""
	}
	return args[0].text
}

// onOff returns 1 for "on".
func onOff(args []word) *uint32 {
	if first(args) == "on" {
		return proto.Uint32(1)
	}
	return proto.Uint32(0)
}

// since parses the "since T" of requests for changes.
func since(args []word) (uint32, error) {
	values, err := named(args, "since")
	if err != nil {
		return 0, err
	}
	return numberOr(values, "since", 0)
}

// outcome makes the event of an answer with a result code.
func outcome(verb string, code uint32, rest ...any) event {
	if code != 0 {
		return say(verb, "fails", code)
	}
	return say(append([]any{verb, "ok"}, rest...)...)
}

// closeEnough is how far the server's clock may be from ours: both run on one
// machine.
const closeEnough = time.Minute

// accountDecoders are the answers to accountVerbs, and what comes unasked.
var accountDecoders = map[wire.Command]decoder{
	wire.LoginRes: answer(func(p *Player, t *terminal, r *request, m *login.IMLoginRes) []event {
		if code := m.GetResultCode(); code != 0 {
			return []event{say("login refused", int32(code), text(m.GetResultString()))}
		}
		u := m.GetUserInfo()
		t.me = im.UserID(u.GetUserId())
		if u.GetUserRealName() != r.info || m.GetOnlineStatus() != basedefine.UserStatType_USER_STATUS_ONLINE ||
			u.GetStatus() != 0 || u.SignInfo == nil || !now(m.GetServerTime()) {
			return []event{say("login odd:", m)}
		}
		if user := p.userName(u.GetUserId()); user != t.user {
			return []event{say("login as", user)}
		}
		return []event{say("login ok", strings.Join(m.GetCapabilities(), " "))}
	}),
	wire.LogoutRes: answer(func(_ *Player, _ *terminal, _ *request, m *login.IMLogoutRsp) []event {
		return []event{outcome("logout", m.GetResultCode())}
	}),
	wire.TimeRes: answer(func(_ *Player, _ *terminal, r *request, m *message.IMClientTimeRsp) []event {
		switch {
		case !now(m.GetServerTime()):
			return []event{say("time off:", m.GetServerTime())}
		case r.info == "settle":
			return nil
		}
		return []event{say("time")}
	}),
	wire.KickPCRes: answer(func(_ *Player, _ *terminal, _ *request, m *login.IMKickPCClientRsp) []event {
		return []event{outcome("kick", m.GetResultCode())}
	}),
	wire.PushShieldRes: answer(func(_ *Player, _ *terminal, _ *request, m *login.IMPushShieldRsp) []event {
		return []event{outcome("night", m.GetResultCode(), switched(m.GetShieldStatus()))}
	}),
	wire.QueryPushShieldRes: answer(func(_ *Player, _ *terminal, _ *request, m *login.IMQueryPushShieldRsp) []event {
		return []event{outcome("night", m.GetResultCode(), switched(m.GetShieldStatus()))}
	}),
	wire.DeviceTokenRes: answer(func(*Player, *terminal, *request, *login.IMDeviceTokenRsp) []event {
		return []event{say("token ok")}
	}),
	wire.AllUsersRes: answer(func(p *Player, _ *terminal, _ *request, m *buddy.IMAllUserRsp) []event {
		var ours []string
		for _, user := range p.script.Users {
			for _, u := range m.GetUserList() {
				switch {
				case u.GetUserId() != uint32(p.users[user]):
				case u.GetStatus() != 0:
					ours = append(ours, fmt.Sprintf("%s:%d", user, u.GetStatus()))
				default:
					ours = append(ours, user)
				}
			}
		}
		return []event{say("users", m.GetLatestUpdateTime(), strings.Join(ours, " "))}
	}),
	wire.DepartmentsRes: answer(func(p *Player, _ *terminal, _ *request, m *buddy.IMDepartmentRsp) []event {
		var ours []string
		for _, d := range m.GetDeptList() {
			name, ok := strings.CutSuffix(d.GetDeptName(), "_"+p.tag)
			if ok && d.GetDeptStatus() != 0 {
				name += ":deleted"
			}
			if ok {
				ours = append(ours, name)
			}
		}
		return []event{say("departments", m.GetLatestUpdateTime(), strings.Join(ours, " "))}
	}),
	wire.FileHasOfflineRes: answer(func(p *Player, _ *terminal, _ *request, m *file.IMFileHasOfflineRsp) []event {
		all := []any{"files"}
		for _, f := range m.GetOfflineFileList() {
			all = append(all, p.userName(f.GetFromUserId()), f.GetFileName(), f.GetFileSize())
		}
		return []event{say(all...)}
	}),
	wire.UserInfoRes: answer(func(p *Player, _ *terminal, _ *request, m *buddy.IMUsersInfoRsp) []event {
		var all []event
		for _, u := range m.GetUserInfoList() {
			all = append(all, say("user", p.userName(u.GetUserId()), "status", u.GetStatus(),
				"sign", text(u.GetSignInfo()), "picture", text(u.GetAvatarUrl())))
		}
		return append(all, say("info", len(m.GetUserInfoList())))
	}),
	wire.UsersStatusRes: answer(func(p *Player, _ *terminal, _ *request, m *buddy.IMUsersStatRsp) []event {
		all := make([]string, len(m.GetUserStatList()))
		for i, s := range m.GetUserStatList() {
			all[i] = p.userName(s.GetUserId()) + ":" + presence(s.GetStatus())
		}
		return []event{say("status", strings.Join(all, " "))}
	}),
	wire.ChangeSignInfoRes: answer(func(_ *Player, _ *terminal, _ *request, m *buddy.IMChangeSignInfoRsp) []event {
		return []event{outcome("sign", m.GetResultCode(), text(m.GetSignInfo()))}
	}),
	wire.ChangeAvatarRes: answer(func(_ *Player, _ *terminal, _ *request, m *buddy.IMChangeAvatarRsp) []event {
		return []event{outcome("picture", m.GetResultCode())}
	}),

	wire.KickUser: push(func(_ *Player, t *terminal, m *login.IMKickUser) []event {
		reason := "duplicate"
		if m.GetKickReason() == basedefine.KickReasonType_KICK_REASON_MOBILE_KICK {
			reason = "mobile"
		}
		if im.UserID(m.GetUserId()) != t.me {
			reason += " wrong user"
		}
		return []event{say("kicked", reason)}
	}),
	wire.StatusNotify: push(func(p *Player, _ *terminal, m *buddy.IMUserStatNotify) []event {
		s := m.GetUserStat()
		return []event{say("presence", p.userName(s.GetUserId()), presence(s.GetStatus()))}
	}),
	wire.PCLoginStatusNotify: push(func(_ *Player, _ *terminal, m *buddy.IMPCLoginStatusNotify) []event {
		return []event{say("pc", presence(m.GetLoginStat()))}
	}),
	wire.SignInfoChangedNotify: push(func(p *Player, _ *terminal, m *buddy.IMSignInfoChangedNotify) []event {
		return []event{say("signature", p.userName(m.GetChangedUserId()), text(m.GetSignInfo()))}
	}),
	wire.AvatarChangedNotify: push(func(p *Player, _ *terminal, m *buddy.IMAvatarChangedNotify) []event {
		return []event{say("avatar", p.userName(m.GetChangedUserId()), text(m.GetAvatarUrl()))}
	}),
	wire.MoveServer: push(func(_ *Player, _ *terminal, m *extension.IMMoveServer) []event {
		return []event{say("move", m.GetIp(), m.GetPort())}
	}),
	wire.P2PCommand: push(func(p *Player, _ *terminal, m *switchservice.IMP2PCmdMsg) []event {
		return []event{say("command", p.userName(m.GetFromUserId()), text(m.GetCmdMsgData()))}
	}),
}

// now reports whether a server's clock is right.
func now(seconds uint32) bool {
	return time.Since(time.Unix(int64(seconds), 0)).Abs() < closeEnough
}

// switched returns on or off.
func switched(status uint32) string {
	if status == 1 {
		return "on"
	}
	return "off"
}

// presence returns a state in lower case.
func presence(s basedefine.UserStatType) string {
	return strings.ToLower(strings.TrimPrefix(s.String(), "USER_STATUS_"))
}
