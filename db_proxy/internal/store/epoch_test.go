package store

import (
	"testing"
	"time"
)

func TestEpochsFollow(t *testing.T) {
	t.Parallel()
	first := Epoch{ID: [16]byte{1}}
	second := Epoch{ID: [16]byte{2}, Began: time.Unix(100, 0)}
	third := Epoch{ID: [16]byte{3}, Began: time.Unix(200, 0)}
	for _, c := range []struct {
		e, known Epoch
		want     bool
	}{
		{second, first, true},
		{third, first, true},
		{third, second, true},
		{first, second, false},
		{first, third, false},
		{second, third, false},
		{Epoch{ID: [16]byte{4}}, first, false}, // another database
	} {
		if got := c.e.Follows(c.known); got != c.want {
			t.Errorf("%s follows %s: %v", c.e, c.known, got)
		}
	}
}
