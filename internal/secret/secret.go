// Package secret holds what no log, error or dump may show.
package secret

import (
	"log/slog"
	"sync/atomic"
)

// Value is a secret that fmt, encoders and slog do not show. Its copies are one
// secret: what Replace does to one of them all of them reveal, so a password
// can be changed while the server runs. Whoever uses a secret therefore keeps the
// Value and reveals it each time. Values are safe from any goroutine. The zero
// Value is no secret, and stays none.
type Value struct{ text *atomic.Pointer[string] }

const redacted = "[hidden]"

// New returns a secret; the zero Value for an empty text.
func New(text string) Value {
	if text == "" {
		return Value{}
	}
	v := Value{text: new(atomic.Pointer[string])}
	v.text.Store(&text)
	return v
}

// Reveal returns the secret itself, "" for none.
func (v Value) Reveal() string {
	if v.text == nil {
		return ""
	}
	return *v.text.Load()
}

// Replace makes v and all its copies reveal what other reveals now, and reports
// whether that is something else than before. Nothing becomes no secret, and no
// secret becomes one.
func (v Value) Replace(other Value) bool {
	next := other.Reveal()
	if v.text == nil || next == "" || next == v.Reveal() {
		return false
	}
	v.text.Store(&next)
	return true
}

// String hides the secret from fmt.
func (v Value) String() string {
	if v.text == nil {
		return ""
	}
	return redacted
}

// GoString hides the secret from %#v.
func (v Value) GoString() string { return v.String() }

// MarshalText hides the secret from encoders.
func (v Value) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// LogValue hides the secret from slog.
func (v Value) LogValue() slog.Value { return slog.StringValue(v.String()) }
