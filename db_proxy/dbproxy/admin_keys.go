package dbproxy

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"strings"
	"time"

	"teamtalk/db_proxy/internal/store"
	"teamtalk/internal/im"
)

// KeySpec is an API key to make.
type KeySpec struct {
	Name   string
	Scopes []string
	Rate   uint32 // requests per second
}

// Key is what operators see of an API key. Token is there once, when it was
// made: it is not stored.
type Key struct {
	ID      string   `json:"id"`
	Name    string   `json:"name"`
	Scopes  []string `json:"scopes"`
	Rate    uint32   `json:"rate"`
	Revoked bool     `json:"revoked,omitempty"`
	Created uint32   `json:"created"` // Unix seconds
	Token   string   `json:"token,omitempty"`
}

// MaxKeyRate is the highest Rate of an API key.
const MaxKeyRate = 100_000

// AddAPIKey makes an API key and returns its token. Which scopes exist is the
// caller's knowledge.
func (a *Admin) AddAPIKey(ctx context.Context, spec KeySpec) (Key, error) {
	if strings.TrimSpace(spec.Name) == "" || len(spec.Scopes) == 0 {
		return Key{}, im.Errorf(im.Invalid, "an API key needs a name and scopes")
	}
	if spec.Rate == 0 || spec.Rate > MaxKeyRate {
		return Key{}, im.Errorf(im.Invalid, "the rate of an API key must be 1 to %d", MaxKeyRate)
	}
	id := strings.ToLower(rand.Text()[:10])
	token, hash := newToken(id)
	k := store.APIKey{ID: id, Name: spec.Name, Scopes: spec.Scopes, Rate: spec.Rate}
	if err := a.store.AddAPIKey(ctx, k, hash); err != nil {
		return Key{}, err
	}
	made := keyOf(k)
	made.Token, made.Created = token, uint32(time.Now().Unix()) //nolint:forbidigo // for people
	return made, nil
}

// newToken makes what a back end sends as its bearer token: tt_ID_SECRET. The
// secret has 130 random bits.
func newToken(id string) (token string, hash store.SecretHash) {
	secret := rand.Text()
	return "tt_" + id + "_" + secret, sha256.Sum256([]byte(secret))
}

func keyOf(k store.APIKey) Key {
	return Key{ID: k.ID, Name: k.Name, Scopes: k.Scopes, Rate: k.Rate, Revoked: k.Revoked, Created: k.Created}
}

// APIKeys returns all API keys, without their tokens, the oldest first.
func (a *Admin) APIKeys(ctx context.Context) ([]Key, error) {
	all, err := a.store.APIKeys(ctx)
	keys := make([]Key, 0, len(all))
	for _, k := range all {
		keys = append(keys, keyOf(k))
	}
	return keys, err
}

// RevokeAPIKey ends an API key; http_msg_servers learn of it within seconds.
// im.NotFound: there is none of that id.
func (a *Admin) RevokeAPIKey(ctx context.Context, id string) error {
	return a.store.RevokeAPIKey(ctx, id)
}

// RotateAPIKey makes a new token for an API key. The old one holds for grace
// more, so that back ends can be changed over one by one. im.NotFound: there
// is no such key, or it is revoked.
func (a *Admin) RotateAPIKey(ctx context.Context, id string, grace time.Duration) (Key, error) {
	if grace < 0 || grace > 90*24*time.Hour {
		return Key{}, im.Errorf(im.Invalid, "the grace of a rotation must be 0 to 90 days")
	}
	token, hash := newToken(id)
	if err := a.store.RotateAPIKey(ctx, id, hash, uint32(grace/time.Second)); err != nil {
		return Key{}, err
	}
	return Key{ID: id, Token: token}, nil
}
