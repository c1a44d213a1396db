package config

import (
	"os"
	"path/filepath"
	"strings"
)

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
