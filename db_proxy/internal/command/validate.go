package command

import (
	"context"
	"time"

	"google.golang.org/protobuf/proto"

	"teamtalk/db_proxy/internal/auth"
	"teamtalk/db_proxy/internal/store"
	"teamtalk/internal/im"
	"teamtalk/internal/wire"
	"teamtalk/pb/basedefine"
	"teamtalk/pb/server"
)

// authenticator decides log-ins in two steps, the second of which hashes.
type authenticator interface {
	Start(ctx context.Context, name, md5, addr string) (*auth.Attempt, store.User, auth.Result)
	Finish(ctx context.Context, a *auth.Attempt) (store.User, auth.Result)
	Abandon(a *auth.Attempt)
}

// validation answers 0703.
type validation struct {
	auth authenticator
	slow func(task func()) bool
}

// hashPatience is how long a log-in may wait for its hash: clients give up
// after 15 seconds without a log-in. Source: docs/protocol/flows.md §3.
const hashPatience = 10 * time.Second

func validateCommands(v *validation) []Command {
	return []Command{{ID: wire.ValidateReq, Asker: ByServer, Reply: wire.ValidateRes, Query: v.validate}}
}

// validate checks a name and password, 0703 to 0704.
//
// Source: docs/protocol/flows.md §3. Who reconnects is answered at once; whose
// password must be hashed waits with others of the kind, and keeps nobody else
// waiting.
func (v *validation) validate(ctx context.Context, r *Request) (proto.Message, error) {
	req := new(server.IMValidateReq)
	if err := parse(r, req); err != nil {
		return nil, err
	}
	attempt, user, result := v.auth.Start(ctx, req.GetUserName(), req.GetPassword(), req.GetClientAddr())
	if result != auth.Pending {
		return validateReply(req, user, result), nil
	}
	later := context.WithoutCancel(ctx)
	accepted := v.slow(func() {
		ctx, cancel := context.WithTimeout(later, hashPatience)
		defer cancel()
		user, result := v.auth.Finish(ctx, attempt)
		r.Reply(wire.ValidateRes, validateReply(req, user, result))
	})
	if !accepted {
		v.auth.Abandon(attempt)
		return validateReply(req, store.User{}, auth.Unavailable), im.Errorf(im.Busy, "too many log-ins wait for a hash")
	}
	return nil, nil //nolint:nilnil // the answer follows
}

// Results of 0704. Source: docs/protocol/flows.md §3.
const (
	validateOK      = 0
	validateWrong   = 1
	validateFailed  = 2
	validateTooMany = 6
)

func validateReply(req *server.IMValidateReq, user store.User, result auth.Result) proto.Message {
	code, text := uint32(validateFailed), "服务端内部错误"
	switch result {
	case auth.OK:
		code, text = validateOK, "成功"
	case auth.Wrong:
		code, text = validateWrong, "用户名/密码错误"
	case auth.TooMany:
		code, text = validateTooMany, "用户名/密码错误次数太多"
	case auth.Unavailable, auth.Pending:
	}
	res := &server.IMValidateRsp{
		UserName:     proto.String(req.GetUserName()),
		ResultCode:   proto.Uint32(code),
		ResultString: proto.String(text),
		AttachData:   req.GetAttachData(),
	}
	if result == auth.OK {
		res.UserInfo = userInfo(&user)
	}
	return res
}

// userInfo is a user as clients see them. Source: docs/protocol/messages.md,
// "Field semantics that the names do not tell".
func userInfo(u *store.User) *basedefine.UserInfo {
	return &basedefine.UserInfo{
		UserId:       proto.Uint32(uint32(u.ID)),
		UserGender:   proto.Uint32(uint32(u.Sex)),
		UserNickName: proto.String(u.Nick),
		AvatarUrl:    proto.String(u.Avatar),
		DepartmentId: proto.Uint32(u.Department),
		Email:        proto.String(u.Email),
		UserRealName: proto.String(u.Name),
		UserTel:      proto.String(u.Phone),
		UserDomain:   proto.String(u.Domain),
		Status:       proto.Uint32(uint32(u.Status)),
		SignInfo:     proto.String(u.SignInfo),
	}
}

// userSize is at least the size of userInfo on the wire.
func userSize(u *store.User) int {
	const numbersAndTags = 64
	return numbersAndTags + len(u.Nick) + len(u.Avatar) + len(u.Email) + len(u.Name) +
		len(u.Phone) + len(u.Domain) + len(u.SignInfo)
}
