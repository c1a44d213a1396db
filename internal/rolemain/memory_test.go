package rolemain

import "testing"

func TestCollectAt(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name            string
		live, allocated uint64
		percent         int
	}{
		{"nothing yet", 0, 0, 100},
		{"busy from the start", 0, 64 << 20, 4800},
		{"a small heap may gather the spare memory", 16 << 20, 64 << 20, 300},
		{"rounded down", 20 << 20, 64 << 20, 225},
		{"as much as the spare memory", 48 << 20, 64 << 20, 100},
		{"a large heap as ever", 4 << 30, 64 << 20, 100},
		{"people log in", 16 << 20, 8 << 20, 100},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if got := collectAt(c.live, c.allocated); got != c.percent {
				t.Errorf("collectAt(%d, %d) = %d, want %d", c.live, c.allocated, got, c.percent)
			}
		})
	}
}
