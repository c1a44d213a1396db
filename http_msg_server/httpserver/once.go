package httpserver

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"google.golang.org/protobuf/proto"

	"teamtalk/internal/im"
	"teamtalk/internal/wire"
	"teamtalk/pb/extension"
)

// replayed marks the answer to a repeat.
const replayed = "Idempotent-Replayed"

// once is a request that was given an Idempotency-Key. The database knows what
// every key was first used for and what was answered, so that all servers give
// a repeat the first answer, whatever was restarted since.
//
// Every execution is an attempt with a token of its own. When it ends, its
// answer is stored. One that does not end is taken over by the next repeat,
// which finds what it did: a message by its operation id, a user or group in
// the row of the request, where the transaction that made it noted it under the
// token. So an attempt that was taken over makes nothing any more. Everything
// else may be done twice.
type once struct {
	key         string
	attempt     *extension.ApiAttempt
	fingerprint []byte
	again       bool // an attempt before this one ended without an answer
}

// Key is the Idempotency-Key; "" without one.
func (o *once) Key() string {
	if o == nil {
		return ""
	}
	return o.key
}

// Attempt is that of a request with a key; nil without one.
func (o *once) Attempt() *extension.ApiAttempt {
	if o == nil {
		return nil
	}
	return o.attempt
}

// Again reports whether an attempt before this one may have done everything.
func (o *once) Again() bool { return o != nil && o.again }

// The states of a claim. Source: docs/protocol.md; pb/IM.Api.proto.
const (
	claimFresh    = 1
	claimAgain    = 2
	claimUnderWay = 3
	claimAnswered = 4
	claimOther    = 5
)

// How long a repeat waits for the first request to end, and how often it looks.
const (
	underWayPatience = 2 * time.Second
	underWayPoll     = 50 * time.Millisecond
)

// runOnce carries a request out, or answers what it was answered before.
func (c *call) runOnce(key string, in any) (any, error) {
	token := make([]byte, 16)
	_, _ = rand.Read(token) // never fails
	id := sha256.Sum256([]byte(c.key.ID + "\x00" + key))
	c.once = &once{
		key: key, attempt: &extension.ApiAttempt{RequestId: id[:], Token: token}, fingerprint: c.fingerprint(in),
	}
	first, err := c.claim()
	if err != nil {
		return nil, err
	}
	if first != nil {
		return c.replay(first)
	}
	out, err := c.op.run(c, in)
	c.settle(out, err)
	return out, err
}

// fingerprint tells requests apart. It has a secret in it, since a body may be
// a password.
func (c *call) fingerprint(in any) []byte {
	body, _ := json.Marshal(in) // our own types always encode
	mac := hmac.New(sha256.New, []byte(c.server.cfg.AESKey.Reveal()))
	_, _ = fmt.Fprintf(mac, "%s\x00%s\x00%s", c.r.Method, c.r.URL.Path, body) // never fails
	return mac.Sum(nil)
}

// claim begins the attempt; it returns the first answer if there is one. While
// another attempt is at it, it waits.
func (c *call) claim() (*extension.IMApiClaimRsp, error) {
	ctx, cancel := context.WithTimeout(c.ctx(), underWayPatience)
	defer cancel()
	for {
		res, err := c.server.claim(c.ctx(), c.once)
		if err != nil {
			return nil, err
		}
		switch res.GetState() {
		case claimFresh, claimAgain:
			c.once.again = res.GetState() == claimAgain
			return nil, nil //nolint:nilnil // there is no answer
		case claimAnswered:
			return res, nil
		case claimUnderWay:
		default: // claimOther
			return nil, reused()
		}
		select {
		case <-ctx.Done():
			return nil, underWay()
		case <-time.After(underWayPoll):
		}
	}
}

// claim asks a db_proxy, and once more if the answer is lost: the same attempt
// may claim again.
func (s *Server) claim(ctx context.Context, o *once) (res *extension.IMApiClaimRsp, err error) {
	for range 2 {
		res = new(extension.IMApiClaimRsp)
		req := &extension.IMApiClaimReq{Attempt: o.attempt, Fingerprint: o.fingerprint}
		err = s.backend.API(ctx, req, wire.APIClaimReq, res)
		if im.CodeOf(err) != im.Unavailable {
			break
		}
	}
	return res, err
}

// replay gives the first answer, field by field.
func (c *call) replay(first *extension.IMApiClaimRsp) (any, error) {
	if c.status = int(first.GetStatus()); c.status == http.StatusCreated {
		c.status = http.StatusOK // nothing is created now
	}
	c.w.Header().Set(replayed, "true")
	return json.RawMessage(first.GetAnswer()), nil
}

// settle ends the attempt. A good answer is stored. A refusal did nothing, so
// that the key is free again, unless an attempt before did something. After any
// other failure nobody knows: the next repeat finds out.
func (c *call) settle(out any, err error) {
	req := &extension.IMApiEndReq{Attempt: c.once.attempt}
	switch {
	case err == nil:
		req.Status = proto.Uint32(uint32(c.status))
		if c.status != http.StatusNoContent {
			req.Answer, _ = json.Marshal(out) // our own types always encode
		}
	case faultOf(err).Status < http.StatusInternalServerError && !c.once.again:
		req.NothingDone = proto.Bool(true)
	}
	// Whoever asked may have gone, the answer is for whoever asks next. Without
	// it, the next attempt finds what this one did.
	ctx := context.WithoutCancel(c.ctx())
	if err := c.server.backend.API(ctx, req, wire.APIEndReq, new(extension.IMApiEndRsp)); err != nil {
		c.server.log.WarnContext(ctx, "answer not kept for repeats", "operation", c.op.ID, "request_id", c.id, "error", err)
	}
}

// reused is the answer to a key that was used for something else.
func reused() *fault {
	return conflict(idempotencyHeader, "this key was used for another request")
}

// underWay is the answer while the first request with a key is not answered.
func underWay() *fault {
	f := conflict(idempotencyHeader, "the first request with this key is still under way; repeat it later")
	f.Code, f.Wait = "under_way", retryAfter
	return f
}
