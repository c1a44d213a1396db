package pushserver

import (
	"context"
	"crypto/x509"
	"fmt"
	"os"
	"strings"
	"sync/atomic"

	"teamtalk/push_server/internal/apns"
	"teamtalk/push_server/internal/fcm"
	"teamtalk/push_server/internal/outbox"
)

// client is a service with its credentials.
type client interface {
	outbox.Provider
	Close()
}

// service is an outbox.Provider whose credentials can be replaced while it
// sends. Safe from any goroutine; nil is one without credentials.
type service struct{ current atomic.Pointer[client] }

func newService(c client) *service {
	s := new(service)
	s.current.Store(&c)
	return s
}

// Send is outbox.Provider's.
func (s *service) Send(ctx context.Context, n *outbox.Note) outbox.Verdict {
	return (*s.current.Load()).Send(ctx, n)
}

// replace goes on with other credentials; what is being sent is sent with the
// old ones.
func (s *service) replace(c client) { (*s.current.Swap(&c)).Close() }

func (s *service) close() {
	if s != nil {
		(*s.current.Load()).Close()
	}
}

// Renew reads the files with the credentials again. A service that had none
// when the server was started has none until the next start.
func (s *Server) Renew() error {
	apple, google, err := s.open()
	if err != nil {
		return fmt.Errorf("push_server: %w", err)
	}
	if s.apple != nil {
		s.apple.replace(apple)
	}
	if s.google != nil {
		s.google.replace(google)
	}
	return nil
}

// open reads the credentials that the configuration names; nil for a service
// without.
func (s *Server) open() (apple, google client, err error) {
	roots, err := rootCAs(s.cfg.ProviderCAFile)
	if err != nil {
		return nil, nil, err
	}
	if s.cfg.APNsKeyFile != "" || s.cfg.CertPath != "" {
		if apple, err = s.openAPNs(roots); err != nil {
			return nil, nil, err
		}
	}
	if s.cfg.FCMAccountFile != "" {
		account, err := fcm.LoadAccount(s.cfg.FCMAccountFile)
		if err != nil {
			return nil, nil, fmt.Errorf("FcmAccountFile %s: %w", s.cfg.FCMAccountFile, err)
		}
		google = fcm.New(fcm.Config{
			URL: strings.TrimSuffix(s.cfg.FCMURL, "/"), Account: account, RootCAs: roots, Clock: s.clock,
		})
	}
	return apple, google, nil
}

func (s *Server) openAPNs(roots *x509.CertPool) (*apns.Client, error) {
	cfg := &s.cfg
	c := apns.Config{URL: strings.TrimSuffix(cfg.APNsURL, "/"), Topic: cfg.APNsTopic, RootCAs: roots, Clock: s.clock}
	if c.URL == "" {
		c.URL = apns.Production
		if cfg.Sandbox {
			c.URL = apns.Sandbox
		}
	}
	var err error
	if cfg.APNsKeyFile != "" {
		c.KeyID, c.TeamID = cfg.APNsKeyID, cfg.APNsTeamID
		if c.Key, err = apns.LoadKey(cfg.APNsKeyFile); err != nil {
			return nil, fmt.Errorf("ApnsKeyFile %s: %w", cfg.APNsKeyFile, err)
		}
	} else if c.Certificate, err = apns.LoadCertificate(cfg.CertPath, cfg.KeyPath, cfg.KeyPassword.Reveal()); err != nil {
		return nil, fmt.Errorf("CertPath %s, KeyPath %s: %w", cfg.CertPath, cfg.KeyPath, err)
	}
	return apns.New(c)
}

// rootCAs reads a file of certificate authorities; nil for none.
func rootCAs(path string) (*x509.CertPool, error) {
	if path == "" {
		return nil, nil //nolint:nilnil // those of the system
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("ProviderCAFile: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("ProviderCAFile %s has no certificate", path)
	}
	return pool, nil
}
