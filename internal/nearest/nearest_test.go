package nearest_test

import (
	"testing"

	"teamtalk/internal/nearest"
)

func TestOf(t *testing.T) {
	t.Parallel()
	names := []string{"to", "file", "quit", "groups"}
	for word, want := range map[string]string{
		"fiel": "file", "fil": "file", "FILE": "file", "qiut": "quit", "group": "groups",
		"t": "to", "": "", "xyz": "", "history": "", "a": "",
	} {
		if got := nearest.Of(word, names); got != want {
			t.Errorf("%q is taken for %q, want %q", word, got, want)
		}
	}
}
