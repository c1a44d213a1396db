package store

import (
	"bytes"
	"context"

	"teamtalk/internal/im"
)

// Attempt names one execution of a request of the API that was given an
// Idempotency-Key. The zero value is that of a request without one.
type Attempt struct {
	Request [32]byte // id of the request: a digest of the API key and the Idempotency-Key
	Token   [16]byte // random; a request that is begun anew has another one
}

// ClaimState is what an attempt finds.
type ClaimState uint8

// The states. They are values of the protocol.
const (
	ClaimFresh    ClaimState = 1 // the request is new: carry it out
	ClaimAgain    ClaimState = 2 // an earlier attempt ended without an answer: carry it out, and find what that one did
	ClaimUnderWay ClaimState = 3 // another attempt is at it
	ClaimAnswered ClaimState = 4 // it was answered
	ClaimOther    ClaimState = 5 // the key was used for another request
)

// Claim is the answer to an attempt.
type Claim struct {
	State  ClaimState
	Status uint16 // of HTTP, with ClaimAnswered
	Answer []byte // the body, with ClaimAnswered
}

const (
	// claimFor is how long an attempt keeps others away, in seconds: longer than
	// an http_msg_server waits for one answer. One that takes longer may go on:
	// whatever it makes is made once.
	claimFor = 10
	// requestAge is how long requests are remembered at least, in seconds.
	requestAge = 24 * 3600
	// maxRequests are remembered at most; the oldest are forgotten first.
	maxRequests = 2_000_000
	// pruneRows is how many rows are removed in one transaction.
	pruneRows = 1000
)

// MaxAnswer is the length of the longest answer that is remembered, in bytes.
const MaxAnswer = 4 << 20

// ClaimAPIRequest begins an attempt, or says why it must not begin.
// Fingerprint tells what the request asks for. The same attempt may claim
// again.
func (s *Store) ClaimAPIRequest(ctx context.Context, a Attempt, fingerprint [32]byte) (c Claim, err error) {
	err = s.update(ctx, "claim_api_request", func(q querier) error {
		c, err = s.claim(ctx, q, a, fingerprint)
		return err
	})
	return c, err
}

func (s *Store) claim(ctx context.Context, q querier, a Attempt, fingerprint [32]byte) (Claim, error) {
	now := s.now()
	// An INSERT that is ignored uses a number of seq up, by which rows are counted.
	known, err := number(ctx, q, "SELECT COUNT(*) FROM IMApiRequest WHERE id = ?", a.Request[:])
	if err != nil {
		return Claim{}, err
	}
	if known == 0 {
		n, err := q.exec(ctx, `INSERT IGNORE INTO IMApiRequest (id, request, attempt, created, claimed, answer)
			VALUES (?, ?, ?, ?, ?, x'')`, a.Request[:], fingerprint[:], a.Token[:], now, now)
		if err != nil || n == 1 {
			return Claim{State: ClaimFresh}, err
		}
	}
	r, err := lockRequest(ctx, q, a.Request)
	switch {
	case err != nil:
		return Claim{}, err
	case !bytes.Equal(r.fingerprint, fingerprint[:]):
		return Claim{State: ClaimOther}, nil
	case r.Status != 0:
		r.State = ClaimAnswered
		return r.Claim, nil
	case r.attempt == a.Token:
		return Claim{State: ClaimAgain}, nil
	case r.claimed != 0 && max(now, r.claimed)-min(now, r.claimed) < claimFor: // another db_proxy's clock may be ahead
		return Claim{State: ClaimUnderWay}, nil
	}
	_, err = q.exec(ctx, "UPDATE IMApiRequest SET attempt = ?, claimed = ? WHERE id = ?", a.Token[:], now, a.Request[:])
	return Claim{State: ClaimAgain}, err
}

// apiRequest is a row of IMApiRequest.
type apiRequest struct {
	Claim       // without State
	fingerprint []byte
	attempt     [16]byte
	claimed     uint32
	made        uint32
}

// lockRequest reads a row for a change; im.Busy if there is none.
func lockRequest(ctx context.Context, q querier, id [32]byte) (apiRequest, error) {
	scan := func(r scanner) (v apiRequest, err error) {
		var attempt []byte
		err = r.Scan(&v.fingerprint, &attempt, &v.claimed, &v.made, &v.Status, &v.Answer)
		copy(v.attempt[:], attempt)
		return v, err
	}
	rows, err := list(ctx, q, scan, `SELECT request, attempt, claimed, made, status, answer FROM IMApiRequest
		WHERE id = ? /*! FOR UPDATE */`, id[:])
	if err == nil && len(rows) == 0 {
		err = im.Errorf(im.Busy, "the request was forgotten meanwhile")
	}
	if err != nil {
		return apiRequest{}, err
	}
	return rows[0], nil
}

// AnswerAPIRequest ends an attempt with an answer, which every later one is
// given. An attempt that was begun anew changes nothing.
func (s *Store) AnswerAPIRequest(ctx context.Context, a Attempt, status uint16, answer []byte) error {
	if status == 0 || len(answer) > MaxAnswer {
		return im.Errorf(im.TooLarge, "answer %d of %d bytes", status, len(answer))
	}
	if answer == nil {
		answer = []byte{} // the column knows no NULL
	}
	return s.endAttempt(ctx, "UPDATE IMApiRequest SET status = ?, answer = ? WHERE id = ? AND attempt = ? AND status = 0",
		status, answer, a.Request[:], a.Token[:])
}

// LeaveAPIRequest ends an attempt of which nobody knows what it did: the next
// one begins at once.
func (s *Store) LeaveAPIRequest(ctx context.Context, a Attempt) error {
	return s.endAttempt(ctx, "UPDATE IMApiRequest SET claimed = 0 WHERE id = ? AND attempt = ? AND status = 0",
		a.Request[:], a.Token[:])
}

// ForgetAPIRequest ends an attempt that did nothing: its key is as good as new.
func (s *Store) ForgetAPIRequest(ctx context.Context, a Attempt) error {
	return s.endAttempt(ctx, "DELETE FROM IMApiRequest WHERE id = ? AND attempt = ? AND status = 0 AND made = 0",
		a.Request[:], a.Token[:])
}

func (s *Store) endAttempt(ctx context.Context, text string, args ...any) error {
	return s.update(ctx, "end_api_request", func(q querier) error {
		_, err := q.exec(ctx, text, args...)
		return err
	})
}

// made returns the id of what an attempt before made, 0 for nothing, and keeps
// all others from making it until the transaction ends. im.Busy: a later
// attempt has taken over.
func (a Attempt) made(ctx context.Context, q querier) (uint32, error) {
	if a == (Attempt{}) {
		return 0, nil
	}
	r, err := lockRequest(ctx, q, a.Request)
	if err == nil && r.attempt != a.Token {
		err = im.Errorf(im.Busy, "a later attempt carries out the request")
	}
	return r.made, err
}

// note writes down what was made, in the transaction that made it.
func (a Attempt) note(ctx context.Context, q querier, id uint32) error {
	if a == (Attempt{}) {
		return nil
	}
	_, err := q.exec(ctx, "UPDATE IMApiRequest SET made = ? WHERE id = ?", id, a.Request[:])
	return err
}

// PruneAPIRequests forgets requests older than a day, and the oldest of more
// than two million, a thousand in each transaction. It returns how many.
func (s *Store) PruneAPIRequests(ctx context.Context) (total int64, err error) {
	return s.pruneAPIRequests(ctx, maxRequests)
}

func (s *Store) pruneAPIRequests(ctx context.Context, most uint64) (total int64, err error) {
	for n := int64(pruneRows); err == nil && n == pruneRows; total += n {
		n = 0
		err = s.update(ctx, "prune_api_requests", func(q querier) error {
			last, err := s.pruneUpTo(ctx, q, most)
			if err == nil && last > 0 {
				n, err = q.exec(ctx, "DELETE FROM IMApiRequest WHERE seq <= ?", last)
			}
			return err
		})
	}
	return total, err
}

// pruneUpTo returns the last of the oldest rows that are to go, 0 for none.
func (s *Store) pruneUpTo(ctx context.Context, q querier, most uint64) (last uint64, err error) {
	newest, err := number(ctx, q, "SELECT COALESCE(MAX(seq), 0) FROM IMApiRequest")
	if err != nil {
		return 0, err
	}
	type row struct {
		seq     uint64
		created uint32
	}
	scan := func(r scanner) (v row, err error) { return v, r.Scan(&v.seq, &v.created) }
	rows, err := list(ctx, q, scan, "SELECT seq, created FROM IMApiRequest ORDER BY seq LIMIT ?", pruneRows)
	before := s.now() - requestAge
	for _, r := range rows {
		if r.created >= before && r.seq+most > newest {
			break
		}
		last = r.seq
	}
	return last, err
}
