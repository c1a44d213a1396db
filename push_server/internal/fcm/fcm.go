// Package fcm speaks Google's FCM HTTP v1 API, authorised by a service account
// over OAuth 2.
//
// Source: "FCM HTTP v1" and "Using OAuth 2.0 for server to server
// applications", developers.google.com.
package fcm

import (
	"bytes"
	"context"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"teamtalk/push_server/internal/outbox"
)

// URL is Google's address.
const URL = "https://fcm.googleapis.com"

const (
	scope     = "https://www.googleapis.com/auth/firebase.messaging"
	grantType = "urn:ietf:params:oauth:grant-type:jwt-bearer"
	assertFor = time.Hour   // the longest that Google takes
	renewAt   = time.Minute // before an access token ends
	keepFor   = "3600s"     // Google keeps a notification for a phone that is off
	maxAnswer = 64 << 10    // bytes
)

// Account is a service account.
type Account struct {
	ProjectID string
	Email     string
	KeyID     string
	Key       *rsa.PrivateKey
	TokenURI  string
}

// LoadAccount reads the JSON file of a service account.
func LoadAccount(path string) (*Account, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var file struct {
		Type      string `json:"type"`
		ProjectID string `json:"project_id"`
		Email     string `json:"client_email"`
		KeyID     string `json:"private_key_id"`
		Key       string `json:"private_key"`
		TokenURI  string `json:"token_uri"`
	}
	if err := json.Unmarshal(text, &file); err != nil {
		return nil, fmt.Errorf("is no JSON file: %w", err)
	}
	if file.Type != "service_account" || file.ProjectID == "" || file.Email == "" || file.TokenURI == "" {
		return nil, errors.New("is not the file of a service account")
	}
	key, err := jwt.ParseRSAPrivateKeyFromPEM([]byte(file.Key))
	if err != nil {
		return nil, fmt.Errorf("read private_key: %w", err)
	}
	return &Account{
		ProjectID: file.ProjectID, Email: file.Email, KeyID: file.KeyID, Key: key, TokenURI: file.TokenURI,
	}, nil
}

// Config of a Client.
type Config struct {
	URL     string // Google's, or a stand-in
	Account *Account
	RootCAs *x509.CertPool // nil: those of the system
	Clock   func() time.Time
}

// Client is an outbox.Provider.
type Client struct {
	cfg  Config
	http *http.Client

	mu     sync.Mutex // guards the fields below; held while a token is fetched
	access string
	until  time.Time
}

// New returns a Client; it connects with the first notification.
func New(cfg Config) *Client {
	return &Client{cfg: cfg, http: &http.Client{Transport: &http.Transport{
		TLSClientConfig:   &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: cfg.RootCAs},
		ForceAttemptHTTP2: true, IdleConnTimeout: time.Hour, Proxy: http.ProxyFromEnvironment,
	}}}
}

// Close ends the connections that are not in use.
func (c *Client) Close() { c.http.CloseIdleConnections() }

type message struct {
	Token        string            `json:"token"`
	Notification *notification     `json:"notification,omitempty"`
	Data         map[string]string `json:"data"`
	Android      android           `json:"android"`
}

type notification struct {
	Body string `json:"body"`
}

type android struct {
	Priority     string               `json:"priority"`
	TTL          string               `json:"ttl"`
	Notification *androidNotification `json:"notification,omitempty"`
}

type androidNotification struct {
	Count uint32 `json:"notification_count"`
}

// bodyOf makes the request for a note. A silent one is data only: the app sets
// its number.
func bodyOf(n *outbox.Note) ([]byte, error) {
	m := message{
		Token: n.Token, Android: android{Priority: "NORMAL", TTL: keepFor},
		Data: map[string]string{"custom": n.Data, "badge": strconv.FormatUint(uint64(n.Badge), 10)},
	}
	if !n.Silent {
		m.Notification = &notification{Body: n.Flash}
		m.Android.Priority, m.Android.Notification = "HIGH", &androidNotification{Count: n.Badge}
	}
	return json.Marshal(struct {
		Message message `json:"message"`
	}{m})
}

// Send implements outbox.Provider.
func (c *Client) Send(ctx context.Context, n *outbox.Note) outbox.Verdict {
	if n.Token == "" {
		return outbox.Verdict{Result: outbox.Failed, Reason: "bad_token"}
	}
	body, err := bodyOf(n)
	if err != nil {
		return outbox.Verdict{Result: outbox.Failed, Reason: "bad_request"}
	}
	access, err := c.bearer(ctx)
	if err != nil {
		return outbox.Verdict{Retry: true, Reason: "not_authorised"}
	}
	address := c.cfg.URL + "/v1/projects/" + url.PathEscape(c.cfg.Account.ProjectID) + "/messages:send"
	status, header, text, err := c.post(ctx, address, "application/json", "Bearer "+access, body)
	if err != nil {
		return outbox.Verdict{Retry: true, Reason: "unreachable"}
	}
	return c.judge(status, header, text, access)
}

// post makes one request.
func (c *Client) post(
	ctx context.Context, address, kind, authorization string, body []byte,
) (status int, header http.Header, text []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return 0, nil, nil, err
	}
	req.Header.Set("Content-Type", kind)
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return 0, nil, nil, err
	}
	defer func() { _ = res.Body.Close() }()
	text, err = io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	return res.StatusCode, res.Header, text, err
}

// bearer returns an access token, a new one when the last is about to end.
func (c *Client) bearer(ctx context.Context) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.cfg.Clock()
	if c.access != "" && now.Before(c.until) {
		return c.access, nil
	}
	account := c.cfg.Account
	t := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.MapClaims{
		"iss": account.Email, "scope": scope, "aud": account.TokenURI,
		"iat": now.Unix(), "exp": now.Add(assertFor).Unix(),
	})
	t.Header["kid"] = account.KeyID
	assertion, err := t.SignedString(account.Key)
	if err != nil {
		return "", fmt.Errorf("sign for the access token: %w", err)
	}
	form := url.Values{"grant_type": {grantType}, "assertion": {assertion}}.Encode()
	status, _, text, err := c.post(ctx, account.TokenURI, "application/x-www-form-urlencoded", "", []byte(form))
	if err != nil {
		return "", fmt.Errorf("ask for an access token: %w", err)
	}
	var answer struct {
		AccessToken string `json:"access_token"`
		ExpiresIn   int    `json:"expires_in"`
	}
	if err := json.Unmarshal(text, &answer); err != nil || status != http.StatusOK || answer.AccessToken == "" {
		return "", fmt.Errorf("ask for an access token: status %d", status)
	}
	c.access = answer.AccessToken
	c.until = now.Add(time.Duration(answer.ExpiresIn)*time.Second - renewAt)
	return c.access, nil
}

// forget makes the next request ask for a new access token, unless somebody
// did already.
func (c *Client) forget(access string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.access == access {
		c.access = ""
	}
}

// judge says what an answer means. Source: "ErrorCode" of FCM HTTP v1,
// developers.google.com.
func (c *Client) judge(status int, header http.Header, text []byte, access string) outbox.Verdict {
	var answer struct {
		Error struct {
			Status  string `json:"status"`
			Details []struct {
				Code string `json:"errorCode"`
			} `json:"details"`
		} `json:"error"`
	}
	_ = json.Unmarshal(text, &answer) // what is no JSON has no code
	code := answer.Error.Status
	for _, d := range answer.Error.Details {
		if d.Code != "" {
			code = d.Code
		}
	}
	wait := time.Duration(0)
	if seconds, err := strconv.Atoi(strings.TrimSpace(header.Get("Retry-After"))); err == nil && seconds > 0 {
		wait = time.Duration(seconds) * time.Second
	}
	switch {
	case status == http.StatusOK:
		return outbox.Verdict{Result: outbox.Delivered}
	case code == "UNREGISTERED":
		return outbox.Verdict{Result: outbox.Gone, Reason: "unregistered"}
	case status == http.StatusUnauthorized:
		c.forget(access)
		return outbox.Verdict{Retry: true, Reason: "token_expired"}
	case status == http.StatusForbidden:
		return outbox.Verdict{Result: outbox.Failed, Reason: "not_authorised"}
	case status == http.StatusTooManyRequests:
		return outbox.Verdict{Retry: true, Reason: "too_many", After: wait}
	case status >= http.StatusInternalServerError:
		return outbox.Verdict{Retry: true, Reason: "provider_fault", After: wait}
	case status == http.StatusBadRequest:
		return outbox.Verdict{Result: outbox.Failed, Reason: "bad_token"}
	}
	return outbox.Verdict{Result: outbox.Failed, Reason: "refused"}
}
