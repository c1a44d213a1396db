package command

import (
	"context"

	"google.golang.org/protobuf/proto"

	"teamtalk/db_proxy/internal/store"
	"teamtalk/internal/im"
	"teamtalk/pb/extension"
)

// apiRequestStore remembers the requests that were given an Idempotency-Key.
type apiRequestStore interface {
	// ClaimAPIRequest may be repeated by the same attempt.
	ClaimAPIRequest(ctx context.Context, a store.Attempt, fingerprint [32]byte) (store.Claim, error)
	// Of these, at most one has an effect on an attempt.
	AnswerAPIRequest(ctx context.Context, a store.Attempt, status uint16, answer []byte) error
	LeaveAPIRequest(ctx context.Context, a store.Attempt) error
	ForgetAPIRequest(ctx context.Context, a store.Attempt) error
}

// claim says whether an attempt may be carried out, 07B0 to 07B1.
func (a *api) claim(ctx context.Context, r *Request) (proto.Message, error) {
	req := new(extension.IMApiClaimReq)
	if err := parse(r, req); err != nil {
		return nil, err
	}
	res := &extension.IMApiClaimRsp{AttachData: req.GetAttachData()}
	attempt, err := parseAttempt(req.GetAttempt().GetRequestId(), req.GetAttempt().GetToken())
	var fingerprint [32]byte
	if copy(fingerprint[:], req.GetFingerprint()) != len(req.GetFingerprint()) {
		err = im.Errorf(im.Invalid, "fingerprint of %d bytes", len(req.GetFingerprint()))
	}
	if err == nil {
		var c store.Claim
		c, err = a.store.ClaimAPIRequest(ctx, attempt, fingerprint)
		res.State, res.Status, res.Answer = proto.Uint32(uint32(c.State)), proto.Uint32(uint32(c.Status)), c.Answer
	}
	res.Code = wireCode(err)
	return res, err
}

// end ends an attempt, 07B2 to 07B3.
func (a *api) end(ctx context.Context, r *Request) (proto.Message, error) {
	req := new(extension.IMApiEndReq)
	if err := parse(r, req); err != nil {
		return nil, err
	}
	attempt, err := parseAttempt(req.GetAttempt().GetRequestId(), req.GetAttempt().GetToken())
	switch status := req.GetStatus(); {
	case err != nil:
	case status != 0:
		err = a.store.AnswerAPIRequest(ctx, attempt, uint16(min(status, 999)), req.GetAnswer())
	case req.GetNothingDone():
		err = a.store.ForgetAPIRequest(ctx, attempt)
	default:
		err = a.store.LeaveAPIRequest(ctx, attempt)
	}
	return &extension.IMApiEndRsp{Code: wireCode(err), AttachData: req.GetAttachData()}, err
}

// parseAttempt reads an attempt.
func parseAttempt(id, token []byte) (a store.Attempt, err error) {
	if len(id) != len(a.Request) || len(token) != len(a.Token) {
		return a, im.Errorf(im.Invalid, "attempt of %d and %d bytes", len(id), len(token))
	}
	return store.Attempt{Request: [32]byte(id), Token: [16]byte(token)}, nil
}
