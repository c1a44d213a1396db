// Package apns speaks Apple's HTTP/2 provider API: one request per
// notification over a few shared connections, authorised by a signed token or
// by a client certificate.
//
// Source: "Sending notification requests to APNs" and "Establishing a
// token-based connection to APNs", developer.apple.com.
package apns

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"teamtalk/push_server/internal/outbox"
)

// The addresses of Apple.
const (
	Production = "https://api.push.apple.com"
	Sandbox    = "https://api.sandbox.push.apple.com"
)

// Bounds of Apple: a payload in bytes, and the age of a token, which must be
// renewed between 20 and 60 minutes.
const (
	maxPayload = 4096
	tokenAge   = 40 * time.Minute
	keepFor    = time.Hour // Apple keeps a notification for a phone that is off
)

// tokenDigits is the length of a device token.
// Source: docs/protocol/flows.md §15.
const tokenDigits = 64

// Config of a Client. Either Key with KeyID and TeamID, or Certificate.
type Config struct {
	URL   string // Production or Sandbox, or a stand-in
	Topic string // the app's bundle id; may be empty with a certificate for one app

	Key           *ecdsa.PrivateKey
	KeyID, TeamID string

	Certificate *tls.Certificate

	RootCAs *x509.CertPool // nil: those of the system
	Clock   func() time.Time
}

// Client is an outbox.Provider.
type Client struct {
	cfg  Config
	http *http.Client

	mu     sync.Mutex // guards the fields below; a leaf
	token  string
	signed time.Time
}

// New returns a Client; it connects with the first notification.
func New(cfg Config) (*Client, error) {
	if (cfg.Key == nil) == (cfg.Certificate == nil) {
		return nil, errors.New("apns: either a key or a certificate is needed")
	}
	if cfg.Key != nil && (cfg.KeyID == "" || cfg.TeamID == "" || cfg.Topic == "") {
		return nil, errors.New("apns: a key goes with its id, the team's id and the topic")
	}
	secure := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: cfg.RootCAs}
	if cfg.Certificate != nil {
		secure.Certificates = []tls.Certificate{*cfg.Certificate}
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP2(true) // and nothing else: Apple speaks no HTTP/1.1 here
	return &Client{cfg: cfg, http: &http.Client{Transport: &http.Transport{
		TLSClientConfig: secure, Protocols: protocols, IdleConnTimeout: time.Hour,
		HTTP2: &http.HTTP2Config{SendPingTimeout: time.Minute, PingTimeout: 10 * time.Second},
	}}}, nil
}

// Close ends the connections that are not in use.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// payload is the body of a request. Source: docs/protocol/flows.md §15.
type payload struct {
	APS    aps    `json:"aps"`
	Custom string `json:"custom"`
}

type aps struct {
	Alert *alert `json:"alert,omitempty"`
	Badge uint32 `json:"badge"`
	Sound string `json:"sound,omitempty"`
}

type alert struct {
	Body string `json:"body"`
}

func payloadOf(n *outbox.Note) ([]byte, error) {
	p := payload{APS: aps{Badge: n.Badge}, Custom: n.Data}
	if !n.Silent {
		p.APS.Alert, p.APS.Sound = &alert{Body: n.Flash}, "bingbong.aiff"
	}
	return json.Marshal(p)
}

// Send implements outbox.Provider.
func (c *Client) Send(ctx context.Context, n *outbox.Note) outbox.Verdict {
	body, err := payloadOf(n)
	if err != nil || len(body) > maxPayload {
		return outbox.Verdict{Result: outbox.Failed, Reason: "too_large"}
	}
	if !isToken(n.Token) {
		return outbox.Verdict{Result: outbox.Failed, Reason: "bad_token"}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.cfg.URL+"/3/device/"+n.Token, bytes.NewReader(body))
	if err != nil {
		return outbox.Verdict{Result: outbox.Failed, Reason: "bad_request"}
	}
	if err := c.head(req, n); err != nil {
		return outbox.Verdict{Retry: true, Reason: "not_signed"}
	}
	res, err := c.http.Do(req)
	if err != nil {
		return outbox.Verdict{Retry: true, Reason: "unreachable"}
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(res.Body, 4096))
	if err != nil {
		return outbox.Verdict{Retry: true, Reason: "unreachable"}
	}
	return c.judge(res, text)
}

// head sets the headers of a request.
func (c *Client) head(req *http.Request, n *outbox.Note) error {
	h := req.Header
	h.Set("Content-Type", "application/json")
	h.Set("apns-push-type", "alert") // a changed badge is one, too
	h.Set("apns-priority", "10")
	if n.Silent {
		h.Set("apns-priority", "5")
	}
	h.Set("apns-expiration", strconv.FormatInt(c.cfg.Clock().Add(keepFor).Unix(), 10))
	if c.cfg.Topic != "" {
		h.Set("apns-topic", c.cfg.Topic)
	}
	if c.cfg.Key == nil {
		return nil
	}
	token, err := c.bearer()
	h.Set("Authorization", "bearer "+token)
	return err
}

// bearer returns the signed token of this provider, renewed when it is old.
func (c *Client) bearer() (string, error) {
	now := c.cfg.Clock()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.token != "" && now.Sub(c.signed) < tokenAge {
		return c.token, nil
	}
	t := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.MapClaims{"iss": c.cfg.TeamID, "iat": now.Unix()})
	t.Header["kid"] = c.cfg.KeyID
	signed, err := t.SignedString(c.cfg.Key)
	if err != nil {
		return "", fmt.Errorf("sign the provider's token: %w", err)
	}
	c.token, c.signed = signed, now
	return signed, nil
}

// forget makes the next request sign anew.
func (c *Client) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.token = ""
}

// judge says what an answer means. Source: "Handling notification responses
// from APNs", developer.apple.com.
func (c *Client) judge(res *http.Response, text []byte) outbox.Verdict {
	var answer struct {
		Reason string `json:"reason"`
	}
	_ = json.Unmarshal(text, &answer) // what is no JSON has no reason
	switch {
	case res.StatusCode == http.StatusOK:
		return outbox.Verdict{Result: outbox.Delivered}
	case res.StatusCode == http.StatusGone:
		return outbox.Verdict{Result: outbox.Gone, Reason: "unregistered"}
	case answer.Reason == "ExpiredProviderToken":
		c.forget()
		return outbox.Verdict{Retry: true, Reason: "token_expired"}
	case answer.Reason == "BadDeviceToken", answer.Reason == "DeviceTokenNotForTopic":
		// Of the other environment or app: a mistake in the configuration, for
		// which no user shall lose his token.
		return outbox.Verdict{Result: outbox.Failed, Reason: "bad_token"}
	case res.StatusCode == http.StatusForbidden:
		return outbox.Verdict{Result: outbox.Failed, Reason: "not_authorised"}
	case res.StatusCode == http.StatusTooManyRequests:
		return outbox.Verdict{Retry: true, Reason: "too_many", After: retryAfter(res)}
	case res.StatusCode >= http.StatusInternalServerError:
		return outbox.Verdict{Retry: true, Reason: "provider_fault", After: retryAfter(res)}
	}
	return outbox.Verdict{Result: outbox.Failed, Reason: "refused"}
}

func retryAfter(res *http.Response) time.Duration {
	seconds, err := strconv.Atoi(res.Header.Get("Retry-After"))
	if err != nil || seconds < 0 {
		return 0
	}
	return time.Duration(seconds) * time.Second
}

func isToken(token string) bool {
	if len(token) != tokenDigits {
		return false
	}
	for _, c := range []byte(token) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') && (c < 'A' || c > 'F') {
			return false
		}
	}
	return true
}
