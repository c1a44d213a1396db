package command

import (
	"context"

	"google.golang.org/protobuf/proto"

	"teamtalk/db_proxy/internal/auth"
	"teamtalk/db_proxy/internal/store"
	"teamtalk/internal/im"
	"teamtalk/internal/wire"
	"teamtalk/pb/extension"
)

// apiUserStore reads and changes accounts for the API.
type apiUserStore interface {
	Users(ctx context.Context, ids []im.UserID) ([]store.User, error)
	// UsersAfter returns those above an id, of any status, ascending.
	UsersAfter(ctx context.Context, after im.UserID, limit int) ([]store.User, error)
	// FindUsers returns those of the names that exist.
	FindUsers(ctx context.Context, names []string) ([]store.User, error)
	// CreateUserOnce makes an account once for all attempts of a request; a zero
	// one stands for itself.
	CreateUserOnce(ctx context.Context, a store.Attempt, u store.NewUser) (store.CreatedUser, error)
	// ChangeUser changes all of it or nothing; im.NotFound.
	ChangeUser(ctx context.Context, user im.UserID, c store.UserChange) error
}

// maxAPIPage bounds the entries of one answer to the API.
const maxAPIPage = 1000

func pageLimit(asked uint32) int { return int(min(max(asked, 1), maxAPIPage)) }

// listUsers answers with accounts, 07A2 to 07A3.
func (a *api) listUsers(ctx context.Context, r *Request) (proto.Message, error) {
	req := new(extension.IMApiUsersReq)
	if err := parse(r, req); err != nil {
		return nil, err
	}
	res := &extension.IMApiUsersRsp{AttachData: req.GetAttachData()}
	var found []store.User
	var err error
	switch ids := userIDs(req.GetUserIds()); {
	case len(ids) > 0:
		found, err = a.store.Users(ctx, ids)
	case req.Name != nil:
		found, err = a.store.FindUsers(ctx, []string{req.GetName()})
	default:
		limit := pageLimit(req.GetLimit())
		found, err = a.store.UsersAfter(ctx, im.UserID(req.GetAfterUserId()), limit+1)
		if len(found) > limit {
			found, res.More = found[:limit], proto.Bool(true)
		}
	}
	res.Code = wireCode(err)
	for i := range found {
		res.Users = append(res.Users, userInfo(&found[i]))
	}
	return res, err
}

// saveUser makes or changes an account, 07A4 to 07A5. A password is hashed
// where that keeps nobody else waiting.
func (a *api) saveUser(ctx context.Context, r *Request) (proto.Message, error) {
	req := new(extension.IMApiUserSaveReq)
	if err := parse(r, req); err != nil {
		return nil, err
	}
	if req.GetPassword() == "" {
		return a.save(ctx, req, nil)
	}
	later := context.WithoutCancel(ctx)
	accepted := a.slow(func() {
		ctx, cancel := context.WithTimeout(later, hashPatience)
		defer cancel()
		res, _ := a.save(ctx, req, &store.Credentials{Hash: auth.Hash(req.GetPassword())}) // the code is in the answer
		r.Reply(wire.APIUserSaveRes, res)
	})
	if !accepted {
		err := im.Errorf(im.Busy, "too many passwords wait for a hash")
		return &extension.IMApiUserSaveRsp{Code: wireCode(err), AttachData: req.GetAttachData()}, err
	}
	return nil, nil //nolint:nilnil // the answer follows
}

func (a *api) save(
	ctx context.Context, req *extension.IMApiUserSaveReq, password *store.Credentials,
) (proto.Message, error) {
	res := &extension.IMApiUserSaveRsp{AttachData: req.GetAttachData()}
	id, existed, err := a.write(ctx, req, password)
	if err == nil {
		a.users.ForgetUser(id)
		var found []store.User
		if found, err = a.store.Users(ctx, []im.UserID{id}); len(found) > 0 {
			res.User = userInfo(&found[0])
		}
	}
	if existed {
		res.Existed = proto.Bool(true)
	}
	res.Code = wireCode(err)
	return res, err
}

// write makes or changes one account and returns its id.
func (a *api) write(
	ctx context.Context, req *extension.IMApiUserSaveReq, password *store.Credentials,
) (id im.UserID, existed bool, err error) {
	if req.UserId == nil {
		return a.create(ctx, req, password)
	}
	change := store.UserChange{Nick: req.Nick, Credentials: password}
	if req.Status != nil {
		status := uint8(req.GetStatus())
		if uint32(status) != req.GetStatus() {
			return 0, false, im.Errorf(im.Invalid, "status %d", req.GetStatus())
		}
		change.Status = &status
	}
	id = im.UserID(req.GetUserId())
	return id, false, a.store.ChangeUser(ctx, id, change)
}

// create makes one account, once for an attempt, and returns its id.
func (a *api) create(
	ctx context.Context, req *extension.IMApiUserSaveReq, password *store.Credentials,
) (id im.UserID, existed bool, err error) {
	user := store.NewUser{Name: req.GetName(), Nick: req.GetNick()}
	if user.Nick == "" {
		user.Nick = user.Name
	}
	if password != nil {
		user.Credentials = *password
	}
	var attempt store.Attempt
	if of := req.GetAttempt(); of != nil {
		if attempt, err = parseAttempt(of.GetRequestId(), of.GetToken()); err != nil {
			return 0, false, err
		}
	}
	made, err := a.store.CreateUserOnce(ctx, attempt, user)
	return made.ID, made.Existed, err
}
