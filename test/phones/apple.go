package phones

import (
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Bounds of Apple, in bytes. Source: "Sending notification
// requests to APNs", developer.apple.com.
const (
	maxPayload  = 4096
	deviceToken = 32
)

// appleByToken wants a signed provider token with each request.
func (s *Services) appleByToken(w http.ResponseWriter, r *http.Request) {
	signed, ok := strings.CutPrefix(r.Header.Get("Authorization"), "bearer ")
	if !ok {
		s.refuse(w, http.StatusForbidden, "apple: MissingProviderToken")
		return
	}
	token, err := jwt.Parse(signed, func(*jwt.Token) (any, error) { return &s.credentials.appleKey.PublicKey, nil },
		jwt.WithValidMethods([]string{"ES256"}), jwt.WithIssuer(teamID), jwt.WithIssuedAt())
	if err != nil || token.Header["kid"] != keyID {
		s.refuse(w, http.StatusForbidden, "apple: InvalidProviderToken: %v", err)
		return
	}
	if at, err := token.Claims.GetIssuedAt(); err != nil || time.Since(at.Time) > maxAge {
		s.refuse(w, http.StatusForbidden, "apple: ExpiredProviderToken")
		return
	}
	if r.Header.Get("apns-topic") != Topic {
		s.refuse(w, http.StatusBadRequest, "apple: topic %q", r.Header.Get("apns-topic"))
		return
	}
	s.askApple(w, r)
}

// appleTrusting is reached with the client certificate only, which names the
// topic.
func (s *Services) appleTrusting(w http.ResponseWriter, r *http.Request) {
	if topic := r.Header.Get("apns-topic"); topic != "" && topic != Topic {
		s.refuse(w, http.StatusBadRequest, "apple: topic %q", topic)
		return
	}
	s.askApple(w, r)
}

// askApple takes a request of somebody who may ask.
func (s *Services) askApple(w http.ResponseWriter, r *http.Request) {
	token, ok := strings.CutPrefix(r.URL.Path, "/3/device/")
	raw, err := hex.DecodeString(token)
	switch {
	case r.ProtoMajor != 2 || r.Method != http.MethodPost || !ok:
		s.refuse(w, http.StatusMethodNotAllowed, "apple: %s %s %s", r.Proto, r.Method, r.URL.Path)
		return
	case err != nil || len(raw) != deviceToken:
		s.refuse(w, http.StatusBadRequest, "apple: BadDeviceToken %q", token)
		return
	}
	var body struct {
		APS struct {
			Alert *struct {
				Body string `json:"body"`
			} `json:"alert"`
			Badge *uint32 `json:"badge"`
			Sound string  `json:"sound"`
		} `json:"aps"`
		Custom string `json:"custom"`
	}
	text, err := io.ReadAll(io.LimitReader(r.Body, maxPayload+1))
	if err != nil || len(text) > maxPayload || strict(text, &body) != nil || body.APS.Badge == nil {
		s.refuse(w, http.StatusBadRequest, "apple: payload %s", text)
		return
	}
	h := r.Header
	ring := Ring{Badge: *body.APS.Badge, Data: body.Custom}
	priority := "5"
	if body.APS.Alert != nil {
		ring.Line, priority = body.APS.Alert.Body, "10"
	}
	until, err := strconv.ParseInt(h.Get("apns-expiration"), 10, 64)
	if h.Get("apns-push-type") != "alert" || h.Get("apns-priority") != priority ||
		(body.APS.Sound == "") != (body.APS.Alert == nil) || err != nil || until <= time.Now().Unix() {
		s.refuse(w, http.StatusBadRequest, "apple: headers %v for %s", h, text)
		return
	}
	switch o := s.push(token, ring); {
	case o.gone:
		w.WriteHeader(http.StatusGone)
		_, _ = io.WriteString(w, `{"reason":"Unregistered","timestamp":1700000000000}`)
	case o.status != 0:
		w.WriteHeader(o.status)
		_, _ = io.WriteString(w, `{"reason":"`+map[int]string{
			http.StatusTooManyRequests: "TooManyRequests", http.StatusServiceUnavailable: "ServiceUnavailable",
		}[o.status]+`"}`)
	}
}

// strict decodes JSON that may have no field of another name.
func strict(text []byte, v any) error {
	d := json.NewDecoder(strings.NewReader(string(text)))
	d.DisallowUnknownFields()
	return d.Decode(v)
}
