package textcrypt

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"
)

// TestVectors checks every worked example of
// docs/protocol/wire.md §5.1 and §5.2.
func TestVectors(t *testing.T) {
	t.Parallel()
	for plain, want := range map[string]string{
		"hello":                         "nnZSBwfPCz60q69ddmfIJA==",
		"a":                             "8+lyaGSNdKxdsEEADyYxvw==",
		"你好":                            "UKheN9KmjZEOcj7ZdGedvw==",
		"[语音]":                          "QhGXlpFjvMFUNrtl1aaPzA==",
		"123456789012":                  "qRbX2o2N6/0vxpOpQhCOOg==",
		"1234567890123":                 "ovYKzOY+0lEFsnZlqUWIQAr+GZ43+2mMfQMFqTsGBjY=",
		"1234567890123456":              "zyFIAqnq8fihaJFqgH9gVAfU6OB7fpsvZh6GP3dYB9g=",
		"hello world, TeamTalk":         "fSYV2fvjcrm9oICVyp07roL/y+xoM3Oa1yg8srVbU5s=",
		"1234567890123456789012345678":  "zyFIAqnq8fihaJFqgH9gVOiDZG1k9Y2vmCqd43gIZw4=",
		"12345678901234567890123456789": "zyFIAqnq8fihaJFqgH9gVF2UmOR2mCNVPn04dFCYFaXgAjGO8xbyD9tUy63YSSIG",
	} {
		got := Standard().Encrypt(plain)
		if string(got) != want {
			t.Errorf("Encrypt(%q) = %s, want %s", plain, got, want)
		}
		back, err := Standard().Decrypt([]byte(want))
		if err != nil || back != plain {
			t.Errorf("Decrypt(%s) = %q, %v, want %q", want, back, err, plain)
		}
	}
}

func TestSizes(t *testing.T) {
	t.Parallel()
	for n, want := range map[int]int{MaxPlain: 4096, MaxPlain + 1: 4120} {
		if got := len(Standard().Encrypt(strings.Repeat("x", n))); got != want {
			t.Errorf("%d bytes are %d encrypted, want %d", n, got, want)
		}
	}
	for n := range 100 {
		plain := strings.Repeat("x", n)
		got, err := Standard().Decrypt(Standard().Encrypt(plain))
		if err != nil || got != plain {
			t.Errorf("%d bytes came back as %q, %v", n, got, err)
		}
	}
}

func TestDecryptSpace(t *testing.T) {
	t.Parallel()
	got, err := Standard().Decrypt([]byte(" nnZSBwfP\tCz60\r\nq69ddmfIJA== "))
	if err != nil || got != "hello" {
		t.Errorf("Decrypt with white space = %q, %v, want hello", got, err)
	}
}

func TestDecryptRefuses(t *testing.T) {
	t.Parallel()
	other, err := New([]byte(strings.Repeat("k", 32)))
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		data string
		want error // nil: any error
	}{
		"empty":           {data: "", want: ErrSize},
		"plain text":      {data: "hello, world"},
		"no whole block":  {data: base64.StdEncoding.EncodeToString(make([]byte, 17)), want: ErrSize},
		"foreign key":     {data: string(other.Encrypt("hello")), want: ErrLength},
		"arbitrary block": {data: base64.StdEncoding.EncodeToString(make([]byte, 16)), want: ErrLength},
	} {
		dst, err := Standard().AppendDecrypt([]byte("kept"), []byte(tc.data))
		if err == nil || (tc.want != nil && !errors.Is(err, tc.want)) {
			t.Errorf("%s: error %v, want %v", name, err, tc.want)
		}
		if string(dst) != "kept" {
			t.Errorf("%s: dst = %q, want it unchanged", name, dst)
		}
	}
	if _, err := New([]byte("short")); err == nil {
		t.Error("New accepted a short key")
	}
}

// The hot path makes no garbage.
func TestAppendDoesNotAllocate(t *testing.T) {
	plain := []byte(strings.Repeat("x", 128))
	enc, dec := make([]byte, 0, 1024), make([]byte, 0, 1024)
	allocs := testing.AllocsPerRun(100, func() {
		enc = Standard().AppendEncrypt(enc[:0], plain)
		dec, _ = Standard().AppendDecrypt(dec[:0], enc)
	})
	if allocs != 0 {
		t.Errorf("%v allocations per round trip, want 0", allocs)
	}
}

func BenchmarkAppendEncrypt(b *testing.B) {
	b.ReportAllocs()
	plain := []byte(strings.Repeat("x", 100))
	var dst []byte
	for b.Loop() {
		dst = Standard().AppendEncrypt(dst[:0], plain)
	}
}
