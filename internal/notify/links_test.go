package notify

import (
	"testing"

	"teamtalk/internal/link"
)

// While one push_server is linked, there is one to push through, whichever
// others come and go. Source: docs/protocol/defects.md E9.
func TestPushServers(t *testing.T) {
	t.Parallel()
	n := new(Notifier)
	links := (*pushLinks)(n)
	want := func(when string, all ...*link.Link) {
		t.Helper()
		got := map[*link.Link]int{}
		for range 6 {
			got[n.pushServer()]++
		}
		if len(got) != max(len(all), 1) {
			t.Errorf("%s: %d are used, want %d", when, len(got), len(all))
		}
		for _, l := range all {
			if got[l] != 6/len(all) {
				t.Errorf("%s: one is used %d times of 6", when, got[l])
			}
		}
		if len(all) == 0 && got[nil] != 6 {
			t.Errorf("%s: one is used", when)
		}
	}
	first, second, third := new(link.Link), new(link.Link), new(link.Link)
	want("none")
	links.LinkUp(first)
	links.LinkUp(second)
	links.LinkUp(third)
	want("all", first, second, third)
	links.LinkDown(first)
	want("the first is lost", second, third)
	links.LinkDown(third)
	want("two are lost", second)
	links.LinkUp(first)
	want("one is back", first, second)
	links.LinkDown(first)
	links.LinkDown(second)
	want("all are lost")
}
