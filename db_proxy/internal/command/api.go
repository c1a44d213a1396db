package command

import (
	"context"

	"google.golang.org/protobuf/proto"

	"teamtalk/db_proxy/internal/store"
	"teamtalk/internal/im"
	"teamtalk/internal/wire"
	"teamtalk/pb/extension"
)

// apiStore is the database behind http_msg_server's API.
type apiStore interface {
	apiUserStore
	apiGroupStore
	apiRequestStore
	historyStore
	// CheckAPIKey returns a key that holds; im.Denied for any other.
	CheckAPIKey(ctx context.Context, id string, hash store.SecretHash) (store.APIKey, error)
	AddAPIChanges(ctx context.Context, changes []store.APIChange) error
}

// api answers what http_msg_server asks for its API, 07A0 to 07AB and
// 07B0 to 07B3. Every
// answer carries a code; a request that fails changed nothing.
type api struct {
	store     apiStore
	users     userForgetter
	relations relationFinder
	slow      func(task func()) bool
}

// apiCommands are for links with the capability "api" only; for any other
// they do not exist.
func apiCommands(a *api) []Command {
	rows := []Command{
		{ID: wire.APIKeyReq, Asker: ByServer, Reply: wire.APIKeyRes, Query: a.key},
		{ID: wire.APIUsersReq, Asker: ByServer, Reply: wire.APIUsersRes, Query: a.listUsers},
		{ID: wire.APIUserSaveReq, Asker: ByServer, Reply: wire.APIUserSaveRes, Query: a.saveUser},
		{ID: wire.APIGroupsReq, Asker: ByServer, Reply: wire.APIGroupsRes, Query: a.listGroups},
		{ID: wire.APIHistoryReq, Asker: ByServer, Reply: wire.APIHistoryRes, Query: a.history},
		{ID: wire.APIAuditReq, Asker: ByServer, Reply: wire.APIAuditRes, Query: a.audit},
		{ID: wire.APIClaimReq, Asker: ByServer, Reply: wire.APIClaimRes, Query: a.claim},
		{ID: wire.APIEndReq, Asker: ByServer, Reply: wire.APIEndRes, Query: a.end},
	}
	for i := range rows {
		query := rows[i].Query
		rows[i].Query = func(ctx context.Context, r *Request) (proto.Message, error) {
			if !r.API {
				return nil, im.Errorf(im.Denied, "%v over a link without the capability", r.Command)
			}
			return query(ctx, r)
		}
	}
	return rows
}

// wireCode is the code of an answer.
func wireCode(err error) *uint32 { return proto.Uint32(uint32(im.CodeOf(err))) }

// key says whether an API key holds, 07A0 to 07A1.
func (a *api) key(ctx context.Context, r *Request) (proto.Message, error) {
	req := new(extension.IMApiKeyReq)
	if err := parse(r, req); err != nil {
		return nil, err
	}
	var hash store.SecretHash
	copy(hash[:], req.GetSecretHash())
	k, err := a.store.CheckAPIKey(ctx, req.GetKeyId(), hash)
	res := &extension.IMApiKeyRsp{Code: wireCode(err), AttachData: req.GetAttachData()}
	if err == nil {
		res.Name, res.Scopes, res.Rate = proto.String(k.Name), k.Scopes, proto.Uint32(k.Rate)
	}
	return res, err
}

// audit writes changes into the audit table, 07AA to 07AB.
func (a *api) audit(ctx context.Context, r *Request) (proto.Message, error) {
	req := new(extension.IMApiAuditReq)
	if err := parse(r, req); err != nil {
		return nil, err
	}
	changes := make([]store.APIChange, 0, len(req.GetChanges()))
	for _, c := range req.GetChanges() {
		changes = append(changes, store.APIChange{
			AtMs: c.GetAtMs(), KeyID: c.GetKeyId(), Action: c.GetAction(), Subject: c.GetSubject(),
			RequestID: c.GetRequestId(), Remote: c.GetRemote(), Status: c.GetStatus(),
		})
	}
	err := a.store.AddAPIChanges(ctx, changes)
	return &extension.IMApiAuditRsp{Code: wireCode(err), AttachData: req.GetAttachData()}, err
}
