package auth

import (
	"crypto/md5" // what the legacy column holds
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"

	"teamtalk/db_proxy/internal/store"
)

// The parameters of new hashes: 19 MiB, two passes, one thread.
const (
	memoryKiB  = 19 * 1024
	passes     = 2
	threads    = 1
	saltSize   = 16
	keySize    = 32
	digestSize = 8
)

// Bounds of what a stored hash may ask for.
const (
	maxMemoryKiB = 256 * 1024
	maxPasses    = 16
	maxThreads   = 16
)

// phc is a stored argon2id hash. The zero value matches nothing, and takes as
// long as a real one to say so.
type phc struct {
	memory, passes uint32
	threads        uint8
	salt, key      string
	// legacy is the digest of the MD5 columns that stood beside the hash
	// when it was made, "" if they were blank. While they are as they were,
	// the hash is the password; when they changed, they are. It stands as
	// parameter l in the text.
	legacy string
}

// Hash returns the argon2id hash, in PHC form, of what clients send for a
// password: the lowercase hex MD5. It takes tens of milliseconds; accounts
// created together with one password may share the result, and then share
// what Auth remembers of it. The legacy columns beside it must be blank.
func Hash(password string) string { return newPHC(password).String() }

func newPHC(password string) phc {
	salt := make([]byte, saltSize)
	_, _ = rand.Read(salt) // never fails
	h := phc{memory: memoryKiB, passes: passes, threads: threads, salt: string(salt)}
	h.key = string(h.derive(password, keySize))
	return h
}

func (h phc) derive(password string, size uint32) []byte {
	return argon2.IDKey([]byte(password), []byte(h.salt), h.passes, h.memory, h.threads, size)
}

// matches hashes the password and compares in constant time.
func (h phc) matches(password string) bool {
	if h.key == "" {
		dummy := phc{memory: memoryKiB, passes: passes, threads: threads, salt: strings.Repeat("-", saltSize)}
		dummy.derive(password, keySize)
		return false
	}
	return subtle.ConstantTimeCompare(h.derive(password, uint32(len(h.key))), []byte(h.key)) == 1
}

// current reports whether a new hash would be made the same way.
func (h phc) current() bool {
	return h.memory == memoryKiB && h.passes == passes && h.threads == threads && len(h.key) == keySize
}

func (h phc) String() string {
	legacy := ""
	if h.legacy != "" {
		legacy = ",l=" + encode(h.legacy)
	}
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d%s$%s$%s",
		argon2.Version, h.memory, h.passes, h.threads, legacy, encode(h.salt), encode(h.key))
}

func encode(s string) string { return base64.RawStdEncoding.EncodeToString([]byte(s)) }

// parsePHC reads what String wrote; false, and the zero value, for anything
// else.
func parsePHC(s string) (phc, bool) {
	parts := strings.Split(s, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return phc{}, false
	}
	var h phc
	params, legacy, _ := strings.Cut(parts[3], ",l=")
	if _, err := fmt.Sscanf(params, "m=%d,t=%d,p=%d", &h.memory, &h.passes, &h.threads); err != nil {
		return phc{}, false
	}
	var ok [3]bool
	h.legacy, ok[0] = decode(legacy)
	h.salt, ok[1] = decode(parts[4])
	h.key, ok[2] = decode(parts[5])
	if ok != [3]bool{true, true, true} || !h.bearable() {
		return phc{}, false
	}
	return h, true
}

func decode(s string) (string, bool) {
	raw, err := base64.RawStdEncoding.DecodeString(s)
	return string(raw), err == nil
}

// bearable reports whether a stored hash asks for no more than its bounds.
func (h phc) bearable() bool {
	return h.memory > 0 && h.memory <= maxMemoryKiB && h.passes > 0 && h.passes <= maxPasses &&
		h.threads > 0 && h.threads <= maxThreads &&
		len(h.salt) >= saltSize/2 && len(h.key) >= saltSize && len(h.key) <= 2*keySize
}

// legacyDigest names the content of the MD5 columns, "" if they are blank. It
// is stored only beside the columns themselves: alone it would be a fast way
// to test guesses.
func legacyDigest(c store.Credentials) string {
	if c.Legacy == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(c.Legacy + "$" + c.Salt))
	return string(sum[:digestSize])
}

// matchesLegacy compares a password with the MD5 columns.
// Source: docs/protocol/wire.md §7.
func matchesLegacy(c store.Credentials, password string) bool {
	sum := md5.Sum([]byte(password + c.Salt)) // as above
	return subtle.ConstantTimeCompare([]byte(hex.EncodeToString(sum[:])), []byte(c.Legacy)) == 1
}

// isMD5 reports whether s is what clients send: 32 lowercase hex digits.
func isMD5(s string) bool {
	if len(s) != 2*md5.Size {
		return false
	}
	return strings.Trim(s, "0123456789abcdef") == ""
}
