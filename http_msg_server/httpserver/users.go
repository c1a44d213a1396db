package httpserver

import (
	"crypto/md5" //nolint:gosec // the protocol's: clients send the MD5 of the password
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	"teamtalk/internal/im"
	"teamtalk/internal/wire"
	"teamtalk/pb/basedefine"
	"teamtalk/pb/extension"
)

// user is an account.
type user struct {
	ID           uint32 `json:"user_id"`
	Name         string `json:"name"`
	Nick         string `json:"nick"`
	Disabled     bool   `json:"disabled"`
	Avatar       string `json:"avatar"`
	DepartmentID uint32 `json:"department_id"`
	Email        string `json:"email"`
	Phone        string `json:"phone"`
	Signature    string `json:"signature"`
}

type userPage struct {
	Users      []user `json:"users"`
	NextCursor string `json:"next_cursor,omitempty"`
}

type newUser struct {
	Name     string `json:"name"`
	Nick     string `json:"nick,omitempty"`
	Password string `json:"password"`
}

type userChange struct {
	Nick     *string `json:"nick,omitempty"`
	Password *string `json:"password,omitempty"`
	Disabled *bool   `json:"disabled,omitempty"`
}

func userOperations() []*operation {
	return []*operation{
		handle(operation{
			ID: "listUsers", Method: http.MethodGet, Path: "/users", Scope: UsersRead, Status: http.StatusOK,
			Summary: "Accounts in ascending id, disabled ones included; with name, the one of that name.",
			Params:  []param{cursorParam, limitParam, {Name: "name", In: "query", Help: "Log-in name, exactly."}},
		}, listUsers),
		handle(operation{
			ID: "createUser", Method: http.MethodPost, Path: "/users", Scope: UsersWrite, Status: http.StatusCreated,
			Summary: "Make an account. 409 if the name is taken.",
		}, createUser),
		handle(operation{
			ID: "getUser", Method: http.MethodGet, Path: "/users/{user_id}", Scope: UsersRead, Status: http.StatusOK,
			Summary: "One account.", Params: []param{userInPath},
		}, getUser),
		handle(operation{
			ID: "changeUser", Method: http.MethodPatch, Path: "/users/{user_id}", Scope: UsersWrite, Status: http.StatusOK,
			Summary: "Change nick or password, disable or enable. A user who is disabled is logged off everywhere.",
			Params:  []param{userInPath},
		}, changeUser),
	}
}

// Bounds of accounts, in characters.
const (
	maxName     = 32
	maxNick     = 32
	maxPassword = 128
)

// checkName refuses what is no name of at most limit characters.
func checkName(field, v string, limit int) error {
	switch {
	case !utf8.ValidString(v) || strings.ContainsFunc(v, unicode.IsControl):
		return wrong(field, "must be text without control characters")
	case v == "" || strings.TrimSpace(v) != v:
		return wrong(field, "must not be empty, nor begin or end with a blank")
	case utf8.RuneCountInString(v) > limit:
		return wrong(field, fmt.Sprintf("must have at most %d characters", limit))
	}
	return nil
}

func checkPassword(v string) error {
	if v == "" || utf8.RuneCountInString(v) > maxPassword {
		return wrong("password", fmt.Sprintf("must have 1 to %d characters", maxPassword))
	}
	return nil
}

// check is called before the request is carried out.
func (u *newUser) check() error {
	if err := checkName("name", u.Name, maxName); err != nil {
		return err
	}
	if u.Nick != "" {
		if err := checkName("nick", u.Nick, maxNick); err != nil {
			return err
		}
	}
	return checkPassword(u.Password)
}

// check is called before the request is carried out.
func (u *userChange) check() error {
	if u.Nick == nil && u.Password == nil && u.Disabled == nil {
		return wrong("", "nothing to change: give nick, password or disabled")
	}
	if u.Nick != nil {
		if err := checkName("nick", *u.Nick, maxNick); err != nil {
			return err
		}
	}
	if u.Password != nil {
		return checkPassword(*u.Password)
	}
	return nil
}

func userOf(u *basedefine.UserInfo) user {
	return user{
		ID: u.GetUserId(), Name: u.GetUserRealName(), Nick: u.GetUserNickName(), Disabled: u.GetStatus() != im.StatusActive,
		Avatar: u.GetAvatarUrl(), DepartmentID: u.GetDepartmentId(), Email: u.GetEmail(), Phone: u.GetUserTel(),
		Signature: u.GetSignInfo(),
	}
}

func (c *call) users(req *extension.IMApiUsersReq) (*extension.IMApiUsersRsp, error) {
	res := new(extension.IMApiUsersRsp)
	return res, c.server.backend.API(c.ctx(), req, wire.APIUsersReq, res)
}

func listUsers(c *call, _ *none) (*userPage, error) {
	p, err := c.page("users")
	if err != nil {
		return nil, err
	}
	req := &extension.IMApiUsersReq{AfterUserId: proto.Uint32(p.after), Limit: proto.Uint32(p.limit)}
	if name := c.r.URL.Query().Get("name"); name != "" {
		req = &extension.IMApiUsersReq{Name: proto.String(name)}
	}
	res, err := c.users(req)
	if err != nil {
		return nil, err
	}
	out := &userPage{Users: []user{}}
	for _, u := range res.GetUsers() {
		out.Users = append(out.Users, userOf(u))
	}
	if n := len(out.Users); n > 0 {
		out.NextCursor = next(res.GetMore(), "users", out.Users[n-1].ID)
	}
	return out, nil
}

// accounts returns those of the ids that exist, by id.
func (c *call) accounts(ids ...uint32) (map[uint32]*basedefine.UserInfo, error) {
	found := make(map[uint32]*basedefine.UserInfo, len(ids))
	if len(ids) == 0 {
		return found, nil
	}
	res, err := c.users(&extension.IMApiUsersReq{UserIds: ids})
	for _, u := range res.GetUsers() {
		found[u.GetUserId()] = u
	}
	return found, err
}

// account returns one account; 404 on field if there is none.
func (c *call) account(id uint32, field string) (*basedefine.UserInfo, error) {
	found, err := c.accounts(id)
	if err != nil {
		return nil, err
	}
	if found[id] == nil {
		return nil, missing(fmt.Sprintf("user %d", id), field)
	}
	return found[id], nil
}

func getUser(c *call, _ *none) (*user, error) {
	id, err := c.pathID(userInPath)
	if err != nil {
		return nil, err
	}
	found, err := c.account(id, userInPath.Name)
	if err != nil {
		return nil, err
	}
	u := userOf(found)
	return &u, nil
}

// clientMD5 is what a client sends for a password.
// Source: docs/protocol/wire.md §7.
func clientMD5(password string) *string {
	sum := md5.Sum([]byte(password)) //nolint:gosec // the protocol's
	return proto.String(hex.EncodeToString(sum[:]))
}

func (c *call) saveUser(req *extension.IMApiUserSaveReq) (*extension.IMApiUserSaveRsp, error) {
	res := new(extension.IMApiUserSaveRsp)
	return res, c.server.backend.API(c.ctx(), req, wire.APIUserSaveReq, res)
}

func createUser(c *call, in *newUser) (*user, error) {
	req := &extension.IMApiUserSaveReq{
		Name: proto.String(in.Name), Password: clientMD5(in.Password), Attempt: c.once.Attempt(),
	}
	if in.Nick != "" {
		req.Nick = proto.String(in.Nick)
	}
	c.subject = "user:" + in.Name
	res, err := c.saveUser(req)
	if err != nil {
		return nil, err
	}
	if res.GetExisted() {
		c.subject = ""
		return nil, conflict("name", fmt.Sprintf("user %d has this name", res.GetUser().GetUserId()))
	}
	u := userOf(res.GetUser())
	c.subject = fmt.Sprintf("user:%d", u.ID)
	return &u, nil
}

func changeUser(c *call, in *userChange) (*user, error) {
	id, err := c.pathID(userInPath)
	if err != nil {
		return nil, err
	}
	req := &extension.IMApiUserSaveReq{UserId: proto.Uint32(id), Nick: in.Nick}
	if in.Password != nil {
		req.Password = clientMD5(*in.Password)
	}
	if in.Disabled != nil {
		req.Status = proto.Uint32(im.StatusActive)
		if *in.Disabled {
			req.Status = proto.Uint32(im.StatusLeft)
		}
	}
	c.subject = fmt.Sprintf("user:%d", id)
	res, err := c.saveUser(req)
	if im.CodeOf(err) == im.NotFound {
		c.subject = ""
		return nil, missing(fmt.Sprintf("user %d", id), userInPath.Name)
	}
	if err != nil {
		return nil, err
	}
	if in.Disabled != nil && *in.Disabled {
		// He is disabled whether this reaches him or not: a log-in fails, and
		// what he sends is refused.
		_ = c.server.kick(im.UserID(id), allClients)
	}
	u := userOf(res.GetUser())
	return &u, nil
}

// unknownOf returns those of the ids that have no account, ascending.
func unknownOf(ids []uint32, found map[uint32]*basedefine.UserInfo) (unknown []uint32) {
	for _, id := range ids {
		if found[id] == nil {
			unknown = append(unknown, id)
		}
	}
	slices.Sort(unknown)
	return slices.Compact(unknown)
}
