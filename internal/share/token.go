package share

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"teamtalk/internal/im"
	"teamtalk/internal/secret"
)

// Right is what a token allows.
type Right string

// The rights.
const (
	Upload   Right = "upload"
	Download Right = "download"
)

// TokenFor is how long a token can be used to begin something. A transfer that
// was begun goes on; for a new one a client asks for a new token.
const TokenFor = 15 * time.Minute

// ErrToken says that a token is none of ours, is over or is for something else.
var ErrToken = errors.New("share: token not valid")

// Grant lets one user send or fetch one file of one conversation.
type Grant struct {
	Right Right
	File  string
	User  im.UserID
	Conv  im.Conversation
}

// claims are a Grant in a JSON web token.
type claims struct {
	jwt.RegisteredClaims

	Right   Right   `json:"right"`
	File    string  `json:"file"`
	Kind    im.Kind `json:"kind"`
	Session uint32  `json:"session"` // as the user knows the conversation
}

// Signer makes and checks tokens. It is safe for concurrent use.
type Signer struct {
	secret secret.Value
	clock  func() time.Time
}

// NewSigner returns a Signer with the secret that msg_servers and file_servers
// share.
func NewSigner(shared secret.Value, clock func() time.Time) *Signer {
	return &Signer{secret: shared, clock: clock}
}

// Sign makes a token and says until when it holds.
func (s *Signer) Sign(g Grant) (token string, expires time.Time, err error) {
	expires = s.clock().Add(TokenFor).Truncate(time.Second)
	token, err = jwt.NewWithClaims(jwt.SigningMethodHS256, claims{
		RegisteredClaims: jwt.RegisteredClaims{
			Subject: strconv.FormatUint(uint64(g.User), 10), ExpiresAt: jwt.NewNumericDate(expires),
		},
		Right: g.Right, File: g.File, Kind: g.Conv.Kind, Session: g.Conv.SessionID(g.User),
	}).SignedString([]byte(s.secret.Reveal()))
	if err != nil {
		return "", time.Time{}, fmt.Errorf("sign token: %w", err)
	}
	return token, expires, nil
}

// Verify returns what a token allows. Any other than a fresh one of ours, for
// this right and file, is ErrToken.
func (s *Signer) Verify(token string, right Right, file string) (Grant, error) {
	var c claims
	_, err := jwt.ParseWithClaims(token, &c, func(*jwt.Token) (any, error) { return []byte(s.secret.Reveal()), nil },
		jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()}), jwt.WithExpirationRequired(), jwt.WithTimeFunc(s.clock))
	if err != nil {
		return Grant{}, fmt.Errorf("%w: %w", ErrToken, err)
	}
	user, err := strconv.ParseUint(c.Subject, 10, 32)
	if err != nil || user == 0 || !c.Kind.Valid() || c.Session == 0 ||
		c.Right != right || file != "" && c.File != file || !ValidID(c.File) {
		return Grant{}, ErrToken
	}
	return Grant{
		Right: c.Right, File: c.File, User: im.UserID(user),
		Conv: im.ConversationOf(im.UserID(user), c.Kind, c.Session),
	}, nil
}
