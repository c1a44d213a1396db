package config

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
)

// Hidden is a value that no log, error or dump shows. The zero value means
// that none was configured.
type Hidden string

const redacted = "[hidden]"

// Reveal returns the secret itself.
func (h Hidden) Reveal() string { return string(h) }

// String hides the secret from fmt.
func (h Hidden) String() string {
	if h == "" {
		return ""
	}
	return redacted
}

// GoString hides the secret from %#v.
func (h Hidden) GoString() string { return h.String() }

// MarshalText hides the secret from encoders.
func (h Hidden) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// LogValue hides the secret from slog.
func (h Hidden) LogValue() slog.Value { return slog.StringValue(h.String()) }

// maxSecretFile is more than any password or key needs.
const maxSecretFile = 64 << 10

// readSecret returns the content of a secret's file without the line break at
// its end. A relative path counts from the folder of the configuration file.
func readSecret(configFile, path string) (secret, warning, reason string) {
	if !filepath.IsAbs(path) {
		path = filepath.Join(filepath.Dir(configFile), path)
	}
	info, err := os.Stat(path)
	if err != nil {
		return "", "", err.Error()
	}
	if !info.Mode().IsRegular() || info.Size() > maxSecretFile {
		return "", "", path + " is not a small regular file"
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return "", "", err.Error()
	}
	if info.Mode().Perm()&0o007 != 0 {
		warning = path + " can be read by every user of this machine"
	}
	secret = strings.TrimRight(string(content), "\r\n")
	if secret == "" {
		return "", warning, path + " is empty"
	}
	return secret, warning, ""
}
