// Package textcrypt owns the encryption of message text that every TeamTalk
// client applies before sending and undoes after receiving: AES-256 in ECB
// mode under a key compiled into all clients, with a length suffix, in Base64
// (docs/protocol/wire.md §5). It hides text from a casual look and no more;
// servers store and relay the result unchanged.
package textcrypt

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
)

// StandardKey is the key all original clients share.
// Source: docs/protocol/wire.md §5.
const StandardKey = "12345678901234567890123456789012"

// MaxPlain is the longest text in bytes whose encrypted form fits the content
// column of 4,096 characters. Source: docs/protocol/wire.md §5.2.
const MaxPlain = 3068

// suffix is the length in bytes of the plaintext length at the end of the last
// block.
const suffix = 4

// Decryption errors. Both mean that the data is not text encrypted with this
// key; it may still be readable as it is.
var (
	ErrSize   = errors.New("textcrypt: size is not a positive multiple of the block size")
	ErrLength = errors.New("textcrypt: length suffix larger than the text")
)

// Cipher encrypts and decrypts with one key. It is safe for concurrent use.
type Cipher struct {
	block cipher.Block
}

// New returns a Cipher for an AES key of 32 bytes, the aesKey of the servers.
func New(key []byte) (*Cipher, error) {
	if len(key) != len(StandardKey) {
		return nil, fmt.Errorf("textcrypt: key of %d bytes, want %d", len(key), len(StandardKey))
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("textcrypt: %w", err)
	}
	return &Cipher{block: block}, nil
}

// standard is the one Cipher of the standard key; its key schedule is never
// computed twice.
var standard = sync.OnceValue(func() *Cipher {
	block, err := aes.NewCipher([]byte(StandardKey))
	if err != nil {
		return nil // impossible: the key has a legal length
	}
	return &Cipher{block: block}
})

// Standard returns the Cipher of the key that all original clients share.
func Standard() *Cipher { return standard() }

// paddedLen is the size of a text of n bytes with padding and suffix.
func paddedLen(n int) int {
	return (n + suffix + aes.BlockSize - 1) / aes.BlockSize * aes.BlockSize
}

// AppendEncrypt appends the wire form of plain to dst. It allocates only when
// dst is too small. A server drops a message with empty data, so callers do
// not send empty text.
func (c *Cipher) AppendEncrypt(dst, plain []byte) []byte {
	padded := paddedLen(len(plain))
	encoded := base64.StdEncoding.EncodedLen(padded)
	start := len(dst)
	// The blocks are encrypted in the free space behind the result, so that
	// neither step needs a buffer of its own.
	dst = slices.Grow(dst, encoded+padded)
	blocks := dst[start+encoded : start+encoded+padded]
	n := copy(blocks, plain)
	clear(blocks[n:])
	binary.BigEndian.PutUint32(blocks[padded-suffix:], uint32(len(plain)))
	for i := 0; i < padded; i += aes.BlockSize {
		c.block.Encrypt(blocks[i:i+aes.BlockSize], blocks[i:i+aes.BlockSize])
	}
	dst = dst[:start+encoded]
	base64.StdEncoding.Encode(dst[start:], blocks)
	return dst
}

// Encrypt returns the wire form of plain.
func (c *Cipher) Encrypt(plain string) []byte { return c.AppendEncrypt(nil, []byte(plain)) }

// AppendDecrypt appends the text whose wire form is data to dst. On an error
// dst is returned unchanged. White space in data is ignored.
func (c *Cipher) AppendDecrypt(dst, data []byte) ([]byte, error) {
	data = dropSpace(data)
	start := len(dst)
	out := slices.Grow(dst, base64.StdEncoding.DecodedLen(len(data)))
	n, err := base64.StdEncoding.Decode(out[start:cap(out)], data)
	if err != nil {
		return dst, fmt.Errorf("textcrypt: %w", err)
	}
	if n == 0 || n%aes.BlockSize != 0 {
		return dst, fmt.Errorf("%w: %d", ErrSize, n)
	}
	blocks := out[start : start+n]
	for i := 0; i < n; i += aes.BlockSize {
		c.block.Decrypt(blocks[i:i+aes.BlockSize], blocks[i:i+aes.BlockSize])
	}
	size := binary.BigEndian.Uint32(blocks[n-suffix:])
	if int64(size) > int64(n-suffix) {
		return dst, fmt.Errorf("%w: %d > %d", ErrLength, size, n-suffix)
	}
	return out[:start+int(size)], nil
}

// Decrypt returns the text whose wire form is data.
func (c *Cipher) Decrypt(data []byte) (string, error) {
	plain, err := c.AppendDecrypt(nil, data)
	if err != nil {
		return "", err
	}
	return string(plain), nil
}

// dropSpace returns data without the white space that the decoder does not
// skip itself: data itself when there is none, which is always so except after
// hand-made input.
func dropSpace(data []byte) []byte {
	if bytes.IndexByte(data, ' ') < 0 && bytes.IndexByte(data, '\t') < 0 {
		return data
	}
	return slices.DeleteFunc(slices.Clone(data), func(b byte) bool { return b == ' ' || b == '\t' })
}
