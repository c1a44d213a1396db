package rolemain

import "testing"

func TestCollectAt(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		live    uint64
		percent int
	}{
		{"nothing yet", 0, 4800},
		{"a small heap may gather the spare memory", 16 << 20, 300},
		{"rounded down", 20 << 20, 225},
		{"as much as the spare memory", 48 << 20, 100},
		{"a large heap as ever", 4 << 30, 100},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if got := collectAt(c.live); got != c.percent {
				t.Errorf("collectAt(%d) = %d, want %d", c.live, got, c.percent)
			}
		})
	}
}
