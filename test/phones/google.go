package phones

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// askGoogle is the token endpoint of the account and FCM HTTP v1.
func (s *Services) askGoogle(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.ProtoMajor != 2 || r.Method != http.MethodPost:
		s.refuse(w, http.StatusMethodNotAllowed, "google: %s %s", r.Proto, r.Method)
	case r.URL.Path == "/token":
		s.grant(w, r)
	case r.URL.Path == "/v1/projects/"+projectID+"/messages:send":
		s.sendMessage(w, r)
	default:
		s.refuse(w, http.StatusNotFound, "google: %s", r.URL.Path)
	}
}

// grant gives out an access token for a signed assertion.
func (s *Services) grant(w http.ResponseWriter, r *http.Request) {
	claims := jwt.MapClaims{}
	_, err := jwt.ParseWithClaims(r.PostFormValue("assertion"), claims,
		func(*jwt.Token) (any, error) { return &s.credentials.googleKey.PublicKey, nil },
		jwt.WithValidMethods([]string{"RS256"}), jwt.WithIssuer(account), jwt.WithAudience(s.google.URL+"/token"),
		jwt.WithIssuedAt(), jwt.WithExpirationRequired())
	if err != nil || r.PostFormValue("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer" ||
		claims["scope"] != "https://www.googleapis.com/auth/firebase.messaging" {
		s.refuse(w, http.StatusBadRequest, "google: assertion: %v", err)
		return
	}
	if until, err := claims.GetExpirationTime(); err != nil || time.Until(until.Time) > maxAge {
		s.refuse(w, http.StatusBadRequest, "google: the assertion holds until %v", until)
		return
	}
	s.mu.Lock()
	s.access++
	s.revoked = false
	number := s.access
	s.mu.Unlock()
	_ = json.NewEncoder(w).Encode(map[string]any{
		"access_token": "granted-" + strconv.Itoa(number), "expires_in": 3599, "token_type": "Bearer",
	})
}

// granted reports whether a request has the access token given out last.
func (s *Services) granted(r *http.Request) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.revoked && r.Header.Get("Authorization") == fmt.Sprintf("Bearer granted-%d", s.access)
}

func (s *Services) sendMessage(w http.ResponseWriter, r *http.Request) {
	if !s.granted(r) {
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, `{"error":{"code":401,"status":"UNAUTHENTICATED"}}`)
		return
	}
	var body struct {
		Message struct {
			Token        string `json:"token"`
			Notification *struct {
				Body string `json:"body"`
			} `json:"notification"`
			Data    map[string]string `json:"data"`
			Android struct {
				Priority     string `json:"priority"`
				TTL          string `json:"ttl"`
				Notification *struct {
					Count uint32 `json:"notification_count"`
				} `json:"notification"`
			} `json:"android"`
		} `json:"message"`
	}
	text, err := io.ReadAll(r.Body)
	m := &body.Message
	if err != nil || strict(text, &body) != nil || m.Token == "" ||
		(m.Notification == nil) != (m.Android.Notification == nil) {
		s.refuse(w, http.StatusBadRequest, "google: %s", text)
		return
	}
	badge, err := strconv.ParseUint(m.Data["badge"], 10, 32)
	ring, priority := Ring{Badge: uint32(badge), Data: m.Data["custom"]}, "NORMAL"
	if m.Notification != nil {
		ring.Line, priority = m.Notification.Body, "HIGH"
	}
	if _, ttl := time.ParseDuration(m.Android.TTL); ttl != nil || err != nil || m.Android.Priority != priority ||
		m.Notification != nil && m.Android.Notification.Count != ring.Badge {
		s.refuse(w, http.StatusBadRequest, "google: %s", text)
		return
	}
	switch o := s.push(m.Token, ring); {
	case o.gone:
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, `{"error":{"code":404,"status":"NOT_FOUND","details":[{"errorCode":"UNREGISTERED"}]}}`)
	case o.status != 0:
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(o.status)
	default:
		_, _ = io.WriteString(w, `{"name":"projects/`+projectID+`/messages/1"}`)
	}
}
