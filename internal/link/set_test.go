package link

import (
	"slices"
	"testing"
)

func TestSet(t *testing.T) {
	t.Parallel()
	var set Set
	if !set.Empty() || set.Oldest() != nil || set.Any() != nil {
		t.Error("the zero Set is not empty")
	}
	a, b, c := new(Link), new(Link), new(Link)
	steps := []struct {
		what       string
		leads      bool  // what Add is to report
		heir       *Link // what Remove is to return
		add, leave *Link
		want       []*Link
	}{
		{what: "the first leads", add: a, leads: true, want: []*Link{a}},
		{what: "the second does not", add: b, want: []*Link{a, b}},
		{what: "nor the third", add: c, want: []*Link{a, b, c}},
		{what: "a younger one leaves", leave: b, want: []*Link{a, c}},
		{what: "a stranger leaves", leave: b, want: []*Link{a, c}},
		{what: "it comes back as the youngest", add: b, want: []*Link{a, c, b}},
		{what: "the oldest leaves to the next", leave: a, heir: c, want: []*Link{c, b}},
		{what: "the heir leaves", leave: c, heir: b, want: []*Link{b}},
		{what: "the last leaves to nobody", leave: b},
		{what: "the next to come leads", add: a, leads: true, want: []*Link{a}},
	}
	for _, step := range steps {
		before := set.All()
		kept := slices.Clone(before)
		if step.add != nil {
			if leads := set.Add(step.add); leads != step.leads {
				t.Errorf("%s: Add says it leads: %t", step.what, leads)
			}
		} else if heir := set.Remove(step.leave); heir != step.heir {
			t.Errorf("%s: Remove returns another heir", step.what)
		}
		if !slices.Equal(set.All(), step.want) {
			t.Errorf("%s: %d links, want %d, in their order", step.what, len(set.All()), len(step.want))
		}
		if len(step.want) > 0 && !slices.Contains(step.want, set.Any()) {
			t.Errorf("%s: Any returns a link that is not there", step.what)
		}
		if !slices.Equal(before, kept) {
			t.Errorf("%s: a slice already returned has changed", step.what)
		}
	}
}
