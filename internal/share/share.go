// Package share is what msg_server, file_server and clients agree on about the
// files of messages: their ids, the signed tokens that let a user send or
// fetch one, and the text by which a message names its file. Source:
// docs/files.md, docs/protocol.md.
package share

import (
	"crypto/rand"
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// idForm: 130 random bits, then the file_server that has the file.
var idForm = regexp.MustCompile(`^[a-z2-7]{26}-[a-z2-7]{8}$`)

// NewID makes the id of a file at a file_server.
func NewID(server string) string { return strings.ToLower(rand.Text()) + "-" + server }

// NewServer makes the name of a file_server, which it keeps for ever.
func NewServer() string { return strings.ToLower(rand.Text()[:serverLen]) }

const serverLen = 8

// ValidID reports whether an id has the form of NewID.
func ValidID(id string) bool { return idForm.MatchString(id) }

// ServerOf returns the file_server that an id names; "" for what is no id.
func ServerOf(id string) string {
	if !ValidID(id) {
		return ""
	}
	return id[len(id)-serverLen:]
}

// MaxName is the longest name of a file, in bytes.
const MaxName = 255

// ErrName says that a name is empty, too long or of bytes that no file name
// has.
var ErrName = errors.New("share: not the name of a file")

// CleanName returns the last component of a name, whichever system wrote it.
func CleanName(name string) (string, error) {
	name = strings.TrimSpace(name[strings.LastIndexAny(name, `/\`)+1:])
	bad := func(r rune) bool { return r < ' ' || r == 0x7f || r == '\ufffd' || r >= '\u202a' && r <= '\u202e' }
	if name == "" || name == "." || name == ".." || len(name) > MaxName || strings.ContainsFunc(name, bad) {
		return "", ErrName
	}
	return name, nil
}

// link begins the line of a text that names a file.
const link = "teamtalk-file:"

// Text is what a message with a file says: its name and size for people, then
// its id for clients that can fetch it.
func Text(id, name string, size uint64) string {
	return fmt.Sprintf("%s (%s)\n%s%s", name, Bytes(size), link, id)
}

// ParseText finds the file in the text of a message.
func ParseText(text string) (id, name string, ok bool) {
	first, last, found := strings.Cut(text, "\n")
	id, linked := strings.CutPrefix(strings.TrimSpace(last), link)
	if !found || !linked || !ValidID(id) {
		return "", "", false
	}
	if i := strings.LastIndex(first, " ("); i > 0 {
		first = first[:i]
	}
	name, err := CleanName(first)
	return id, name, err == nil
}

// Bytes writes a number of bytes for people.
func Bytes(n uint64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	value, i := float64(n)/unit, 0
	for ; value >= unit && i < 4; i++ {
		value /= unit
	}
	return fmt.Sprintf("%.1f %ciB", value, "KMGTP"[i])
}
