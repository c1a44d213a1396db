//go:build unix

package load

import (
	"testing"

	"teamtalk/internal/im"
)

func TestForget(t *testing.T) {
	t.Parallel()
	for _, last := range []im.MsgID{0, 1, 62, 63, 64, 127, 128, 200, 500} {
		v := &view{asked: 200, read: 150}
		for id := im.MsgID(1); id <= 200; id++ {
			v.add(id)
		}
		v.forget(last)
		if want := min(last, 200); v.highest != want || v.asked != want || v.read != min(want, 150) {
			t.Errorf("forgets behind #%d: %+v", last, v)
		}
		if got := v.missing(200, 0); last < 200 && got != 200 {
			t.Errorf("forgets behind #%d: #%d is the highest that is missing", last, got)
		}
		if got := v.missing(min(last, 200), 0); got != 0 {
			t.Errorf("forgets behind #%d: #%d is missing", last, got)
		}
	}
}
