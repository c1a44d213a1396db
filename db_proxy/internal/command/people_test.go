package command

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"teamtalk/db_proxy/internal/store"
	"teamtalk/internal/im"
	"teamtalk/internal/wire"
	"teamtalk/pb/basedefine"
	"teamtalk/pb/buddy"
	"teamtalk/pb/login"
	"teamtalk/pb/server"
)

func (e *env) validate(name, password string) *server.IMValidateRsp {
	e.t.Helper()
	res := new(server.IMValidateRsp)
	_ = e.ask(wire.ValidateReq, &server.IMValidateReq{
		UserName: proto.String(name), Password: proto.String(clientMD5(password)),
		AttachData: attach, ClientAddr: proto.String("10.0.0.1:4000"),
	}, res)
	return res
}

func TestValidate(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	want := &server.IMValidateRsp{
		UserName: proto.String("alice"), ResultCode: proto.Uint32(0), ResultString: proto.String("成功"),
		AttachData: attach,
		UserInfo: &basedefine.UserInfo{
			UserId: proto.Uint32(uint32(e.alice)), UserGender: proto.Uint32(0), UserNickName: proto.String("Alice"),
			AvatarUrl: proto.String(""), DepartmentId: proto.Uint32(1), Email: proto.String(""),
			UserRealName: proto.String("alice"), UserTel: proto.String(""), UserDomain: proto.String(""),
			Status: proto.Uint32(0), SignInfo: proto.String(""),
		},
	}
	// By the MD5, then by what became of it.
	for range 3 {
		equal(t, "right", e.validate("alice", "12345"), want)
	}
	refused := func(name string, code uint32, text string) *server.IMValidateRsp {
		return &server.IMValidateRsp{
			UserName: proto.String(name), ResultCode: proto.Uint32(code), ResultString: proto.String(text), AttachData: attach,
		}
	}
	equal(t, "no password", e.validate("bob", "12345"), refused("bob", 1, "用户名/密码错误"))
	equal(t, "unknown", e.validate("nobody", "12345"), refused("nobody", 1, "用户名/密码错误"))
	if err := e.store.SetUserStatus(t.Context(), "alice", 3); err != nil {
		t.Fatal(err)
	}
	equal(t, "left", e.validate("alice", "12345"), refused("alice", 1, "用户名/密码错误"))
	e.broken.Store(true)
	equal(t, "no SQL", e.validate("alice", "12345"), refused("alice", 2, "服务端内部错误"))
	e.broken.Store(false)
	e.slow.Store(false)
	equal(t, "too many log-ins", e.validate("nobody", "12345"), refused("nobody", 2, "服务端内部错误"))
	e.slow.Store(true)
	for range 10 {
		e.validate("carol", "wrong")
	}
	equal(t, "eleventh", e.validate("carol", "wrong"), refused("carol", 1, "用户名/密码错误"))
	equal(t, "twelfth", e.validate("carol", "wrong"), refused("carol", 6, "用户名/密码错误次数太多"))
	e.pass(30 * time.Minute)
	equal(t, "later", e.validate("carol", "wrong"), refused("carol", 1, "用户名/密码错误"))
}

func ids(list []*basedefine.UserInfo) []uint32 {
	out := make([]uint32, len(list))
	for i, u := range list {
		out[i] = u.GetUserId()
	}
	slices.Sort(out)
	return out
}

func TestUsersByID(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	if err := e.store.SetUserStatus(t.Context(), "carol", 3); err != nil {
		t.Fatal(err)
	}
	a, b, c := uint32(e.alice), uint32(e.bob), uint32(e.carol)
	for name, tt := range map[string]struct{ ask, want []uint32 }{
		"some":         {[]uint32{b, a}, []uint32{a, b}},
		"twice":        {[]uint32{b, b, b}, []uint32{b}},
		"leaver":       {[]uint32{c}, []uint32{c}},
		"unknown":      {[]uint32{a, 9999, 0}, []uint32{a}},
		"none":         {nil, []uint32{}},
		"only unknown": {[]uint32{9999}, []uint32{}},
	} {
		res := new(buddy.IMUsersInfoRsp)
		e.ok(wire.UserInfoReq, &buddy.IMUsersInfoReq{UserId: &a, UserIdList: tt.ask, AttachData: attach}, res)
		if got := ids(res.GetUserInfoList()); !slices.Equal(got, tt.want) || res.GetUserId() != a || string(res.GetAttachData()) != string(attach) {
			t.Errorf("%s: %v, want %v", name, res, tt.want)
		}
	}
}

func TestAllUsers(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	a, b, c := uint32(e.alice), uint32(e.bob), uint32(e.carol)
	since := func(known uint32) ([]uint32, uint32) {
		res := new(buddy.IMAllUserRsp)
		e.ok(wire.AllUsersReq, &buddy.IMAllUserReq{UserId: &a, LatestUpdateTime: &known, AttachData: attach}, res)
		return ids(res.GetUserList()), res.GetLatestUpdateTime()
	}
	all, first := since(0)
	if !slices.Equal(all, []uint32{a, b, c}) || first == 0 {
		t.Fatalf("all: %v, %d", all, first)
	}
	if got, latest := since(first); len(got) != 0 || latest != first {
		t.Errorf("up to date: %v, %d", got, latest)
	}
	e.pass(48 * time.Hour)
	if err := e.store.SetUserStatus(t.Context(), "carol", 3); err != nil {
		t.Fatal(err)
	}
	got, second := since(first)
	if !slices.Contains(got, c) || second <= first {
		t.Errorf("a leaver: %v, %d", got, second)
	}
	if got, _ := since(0); !slices.Equal(got, []uint32{a, b}) {
		t.Errorf("all without leavers: %v", got)
	}
	// A phone whose clock is fast, and one whose clock is right.
	if got, _ := since(second + 3600); !slices.Equal(got, []uint32{c}) {
		t.Errorf("an hour ahead: %v", got)
	}
	if got, latest := since(second + 2*24*60*60); len(got) != 0 || latest != second+2*24*60*60 {
		t.Errorf("two days later: %v, %d", got, latest)
	}
	if got, _ := since(1); len(got) != 3 {
		t.Errorf("since 1: %v", got)
	}
	if got, _ := since(1 << 31); len(got) != 0 {
		t.Errorf("far ahead: %v", got)
	}
}

func TestFitting(t *testing.T) {
	t.Parallel()
	big := store.User{SignInfo: strings.Repeat("x", 10<<20)}
	if n := len(fitting([]store.User{big, big, big, big, big, big, big})); n != 5 {
		t.Errorf("%d of 10 MiB fit", n)
	}
	if n := len(fitting(make([]store.User, 1000))); n != 1000 {
		t.Errorf("%d small ones fit", n)
	}
	u := store.User{ID: 1 << 31, Sex: 2, Department: 1 << 31, Status: 4, Name: "alice", Nick: "阿里", Email: "a@b"}
	if encoded := proto.Size(userInfo(&u)); encoded > userSize(&u) {
		t.Errorf("size %d is more than %d", encoded, userSize(&u))
	}
}

func TestDepartments(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	id, err := e.store.EnsureDepartment(t.Context(), "研发")
	if err != nil {
		t.Fatal(err)
	}
	since := func(known uint32) *buddy.IMDepartmentRsp {
		res := new(buddy.IMDepartmentRsp)
		e.ok(wire.DepartmentsReq, &buddy.IMDepartmentReq{UserId: proto.Uint32(uint32(e.alice)), LatestUpdateTime: &known, AttachData: attach}, res)
		return res
	}
	now := uint32(noon.Unix())
	equal(t, "all", since(0), &buddy.IMDepartmentRsp{
		UserId: proto.Uint32(uint32(e.alice)), LatestUpdateTime: &now, AttachData: attach,
		DeptList: []*basedefine.DepartInfo{{
			DeptId: &id, Priority: proto.Uint32(0), DeptName: proto.String("研发"), ParentDeptId: proto.Uint32(0),
			DeptStatus: basedefine.DepartmentStatusType_DEPT_STATUS_OK.Enum(),
		}},
	})
	equal(t, "up to date", since(now), &buddy.IMDepartmentRsp{UserId: proto.Uint32(uint32(e.alice)), LatestUpdateTime: &now, AttachData: attach})
}

func TestSignature(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	for name, tt := range map[string]struct {
		user   uint32
		text   string
		result uint32
	}{
		"plain":          {uint32(e.alice), "hello", 0},
		"same again":     {uint32(e.alice), "hello", 0},
		"empty":          {uint32(e.alice), "", 0},
		"128 characters": {uint32(e.alice), strings.Repeat("语", 128), 0},
		"129 characters": {uint32(e.alice), strings.Repeat("a", 129), 1},
		"not UTF-8":      {uint32(e.alice), "a\xff", 1},
		"unknown user":   {9999, "hello", 1},
	} {
		res := new(buddy.IMChangeSignInfoRsp)
		err := e.ask(wire.ChangeSignInfoReq, &buddy.IMChangeSignInfoReq{UserId: &tt.user, SignInfo: &tt.text, AttachData: attach}, res)
		want := &buddy.IMChangeSignInfoRsp{UserId: &tt.user, ResultCode: &tt.result, AttachData: attach}
		if tt.result == 0 {
			want.SignInfo = &tt.text
		}
		equal(t, name, res, want)
		if (err == nil) != (tt.result == 0) {
			t.Errorf("%s: %v", name, err)
		}
		if tt.result != 0 {
			continue
		}
		if u, err := e.directory.User(t.Context(), e.alice); err != nil || u.SignInfo != tt.text {
			t.Errorf("%s: stored %q, %v", name, u.SignInfo, err)
		}
	}
}

// What clients send is text to SQL, whatever is in it.
// Source: docs/protocol/defects.md D5.
func TestQuotesAreText(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	for _, name := range []string{"alice' OR '1'='1", "alice'-- ", `alice" OR ""="`, "alice\\' OR 1=1 #"} {
		if res := e.validate(name, "12345"); res.GetResultCode() != 1 || res.GetUserInfo() != nil {
			t.Errorf("%s: %v", name, res)
		}
	}
	for _, sign := range []string{"it's", `\'; DROP TABLE IMUser; -- `, `",avatar="x`} {
		res := new(buddy.IMChangeSignInfoRsp)
		err := e.ask(wire.ChangeSignInfoReq, &buddy.IMChangeSignInfoReq{
			UserId: proto.Uint32(uint32(e.alice)), SignInfo: &sign, AttachData: attach,
		}, res)
		u, findErr := e.directory.User(t.Context(), e.alice)
		if err != nil || findErr != nil || res.GetResultCode() != 0 || u.SignInfo != sign || u.Avatar != "" {
			t.Errorf("%s: %v, %v, %v, %+v", sign, res, err, findErr, u)
		}
	}
}

func TestAvatar(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	for url, result := range map[string]uint32{"g0/000/1.png": 0, strings.Repeat("a", 256): 1} {
		res := new(buddy.IMChangeAvatarRsp)
		_ = e.ask(wire.ChangeAvatarReq, &buddy.IMChangeAvatarReq{
			UserId: proto.Uint32(uint32(e.alice)), AvatarUrl: &url, AttachData: attach,
		}, res)
		equal(t, url, res, &buddy.IMChangeAvatarRsp{UserId: proto.Uint32(uint32(e.alice)), ResultCode: &result, AttachData: attach})
	}
	if u, err := e.directory.User(t.Context(), e.alice); err != nil || u.Avatar != "g0/000/1.png" {
		t.Errorf("stored %q, %v", u.Avatar, err)
	}
}

func TestPushShield(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	query := func(user, result uint32, status *uint32) {
		t.Helper()
		res := new(login.IMQueryPushShieldRsp)
		_ = e.ask(wire.QueryPushShieldReq, &login.IMQueryPushShieldReq{UserId: &user, AttachData: attach}, res)
		equal(t, fmt.Sprint("query ", user), res, &login.IMQueryPushShieldRsp{
			UserId: &user, ResultCode: &result, ShieldStatus: status, AttachData: attach,
		})
	}
	set := func(user, status, result uint32) {
		t.Helper()
		res := new(login.IMPushShieldRsp)
		_ = e.ask(wire.PushShieldReq, &login.IMPushShieldReq{UserId: &user, ShieldStatus: &status, AttachData: attach}, res)
		want := &login.IMPushShieldRsp{UserId: &user, ResultCode: &result, AttachData: attach}
		if result == 0 {
			want.ShieldStatus = &status
		}
		equal(t, fmt.Sprint("set ", user, status), res, want)
	}
	alice := uint32(e.alice)
	query(alice, 0, proto.Uint32(0))
	set(alice, 1, 0)
	query(alice, 0, proto.Uint32(1))
	set(alice, 1, 0)
	set(alice, 2, 1)
	set(alice, 0, 0)
	query(alice, 0, proto.Uint32(0))
	query(9999, 1, nil)
	set(9999, 1, 1)
}

func (e *env) setToken(user im.UserID, client im.ClientType, token string) {
	e.t.Helper()
	res := new(login.IMDeviceTokenRsp)
	req := &login.IMDeviceTokenReq{UserId: proto.Uint32(uint32(user)), DeviceToken: &token, AttachData: attach}
	if client != 0 {
		req.ClientType = basedefine.ClientType(client).Enum()
	}
	e.ok(wire.DeviceTokenReq, req, res)
	equal(e.t, "device token", res, &login.IMDeviceTokenRsp{UserId: proto.Uint32(uint32(user)), AttachData: attach})
}

// tokens asks for push targets and returns "user:type:token:count" of each.
func (e *env) tokens(users ...im.UserID) []string {
	e.t.Helper()
	res := new(server.IMGetDeviceTokenRsp)
	e.ok(wire.DeviceTokensReq, &server.IMGetDeviceTokenReq{UserId: wireIDs(users), AttachData: attach}, res)
	if string(res.GetAttachData()) != string(attach) {
		e.t.Error("attach_data was changed")
	}
	out := []string{}
	for _, u := range res.GetUserTokenInfo() {
		if u.GetPushType() != pushNormal {
			e.t.Errorf("push type %d", u.GetPushType())
		}
		out = append(out, fmt.Sprintf("%d:%#x:%s:%d", u.GetUserId(), int32(u.GetUserType()), u.GetToken(), u.GetPushCount()))
	}
	return out
}

func TestDeviceTokens(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	check := func(when string, want ...string) {
		t.Helper()
		if got := e.tokens(e.carol, e.alice, e.bob, e.alice, 9999); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", when, got, want)
		}
	}
	check("at first")
	e.setToken(e.alice, im.IOS, "aa")
	e.setToken(e.bob, im.Android, "bb")
	check("registered", "1:0x11:aa:0", "2:0x12:bb:0")
	e.send(e.bob, im.Single, uint32(e.alice), "x")
	e.send(e.bob, im.Single, uint32(e.alice), "y")
	g := e.group(groupTemporary, e.alice, e.carol)
	e.send(e.carol, im.Group, uint32(g), "z")
	check("unread", "1:0x11:aa:3", "2:0x12:bb:0")
	e.setToken(e.alice, im.Windows, "")
	check("PC logs out", "1:0x11:aa:3", "2:0x12:bb:0")
	e.setToken(e.carol, im.IOS, "aa")
	check("phone passed on", "2:0x12:bb:0", "3:0x11:aa:0")
	e.setToken(e.bob, 0, "")
	check("switched off", "3:0x11:aa:0")
	for name, req := range map[string]*login.IMDeviceTokenReq{
		"kind of token unknown": {UserId: proto.Uint32(1), DeviceToken: proto.String("x")},
		"no such client":        {UserId: proto.Uint32(1), DeviceToken: proto.String("x"), ClientType: basedefine.ClientType(5).Enum()},
		"nobody":                {UserId: proto.Uint32(0), DeviceToken: proto.String("x"), ClientType: basedefine.ClientType(0x11).Enum()},
		"long":                  {UserId: proto.Uint32(1), DeviceToken: proto.String(strings.Repeat("x", 256)), ClientType: basedefine.ClientType(0x11).Enum()},
	} {
		e.silent(wire.DeviceTokenReq, req, name)
	}
	check("still", "3:0x11:aa:0")
}

func TestNight(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	for _, user := range []im.UserID{e.alice, e.bob, e.carol} {
		e.setToken(user, []im.ClientType{im.IOS, im.Android, im.IOS}[user-e.alice], fmt.Sprint("t", user))
	}
	for _, user := range []im.UserID{e.alice, e.bob} {
		if err := e.store.SetPushShield(t.Context(), user, true); err != nil {
			t.Fatal(err)
		}
	}
	for hour, want := range map[int]int{0: 2, 7: 2, 8: 3, 12: 3, 21: 3, 22: 2, 23: 2} {
		e.seconds.Store(time.Date(2024, 3, 2, hour, 30, 0, 0, time.UTC).Unix())
		if got := e.tokens(e.alice, e.bob, e.carol); len(got) != want {
			t.Errorf("at %d: %v", hour, got)
		}
	}
	for _, n := range []struct {
		night Night
		hours int
	}{{Night{22, 8}, 10}, {Night{0, 24}, 24}, {Night{0, 0}, 0}, {Night{8, 8}, 0}, {Night{1, 6}, 5}} {
		hours := 0
		for hour := range 24 {
			if n.night.includes(hour) {
				hours++
			}
		}
		if hours != n.hours {
			t.Errorf("%v has %d hours, want %d", n.night, hours, n.hours)
		}
	}
}
