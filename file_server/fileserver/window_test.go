package fileserver

import (
	"net/http"
	"sync"
	"testing"

	"teamtalk/internal/im"
	"teamtalk/internal/link/linktest"
	"teamtalk/internal/share"
)

// gate stops whoever comes to a step, until it is opened.
type gate struct {
	step    string
	once    sync.Once
	reached chan struct{} // closed when somebody stands before it
	open    chan struct{}
}

func (w *world) gate(step string) *gate {
	g := &gate{step: step, reached: make(chan struct{}), open: make(chan struct{})}
	hold := func(at string) {
		if at == g.step {
			g.once.Do(func() { close(g.reached) })
			<-g.open
		}
	}
	w.hold.Store(&hold)
	return g
}

// Between the last byte of a file and its answer there is no moment in which its
// receiver is told that it does not exist, or its sender may send it again,
// wherever completing it stands and while the collector runs.
func TestAlwaysComingOrThere(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, store string) {
		w := sharing(t, store)
		data := content(100_000)
		for step, want := range map[string]int{
			"whole": http.StatusConflict, "committed": http.StatusConflict, "entered": http.StatusOK, "discarded": http.StatusOK,
		} {
			id, token := w.begin(len(data), hexSum(data))
			bobs := w.token(share.Download, bob, toBob(), id)
			g := w.gate(step)
			var sending sync.WaitGroup
			sending.Go(func() { w.patch(id, token, 0, data) })
			linktest.Wait(t, g.reached, step)
			if _, err := w.collectOnce(t.Context(), false); err != nil {
				t.Error(err)
			}
			r := w.do("GET", "/files/"+id, bobs, nil)
			if r.StatusCode != want {
				t.Errorf("%s: the receiver is told %s, want %d", step, r.Status, want)
			}
			if r := w.do("POST", "/files/", token, nil, tusHeader, "Upload-Length: 5", metadata("a.bin", "")); r.StatusCode != http.StatusConflict {
				t.Errorf("%s: sent again: %s", step, r.Status)
			}
			w.hold.Store(nil)
			close(g.open)
			sending.Wait()
			equal(t, w.want(w.do("GET", "/files/"+id, bobs, nil), 200).body, data)
			w.announced(im.OK)
		}
	})
}

// A receiver who looks while a file is completed finds it on its way or whole:
// whatever happens between the two places he looks at.
func TestLookedForWhileItIsCompleted(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, store string) {
		w := sharing(t, store)
		data := content(100_000)
		for _, sent := range []int{0, 1, len(data) - 1} { // before he looks; the rest comes while he looks
			id, token := w.begin(len(data), hexSum(data))
			if sent > 0 {
				w.want(w.patch(id, token, 0, data[:sent]), 204)
			}
			g := w.gate("look")
			var looking sync.WaitGroup
			var got reply
			looking.Go(func() { got = w.do("GET", "/files/"+id, w.token(share.Download, bob, toBob(), id), nil) })
			linktest.Wait(t, g.reached, "a look")
			w.want(w.patch(id, token, sent, data[sent:]), 204)
			close(g.open)
			looking.Wait()
			if got.StatusCode != http.StatusOK {
				t.Errorf("with %d bytes of %d: %s", sent, len(data), got.Status)
			}
			w.hold.Store(nil)
			w.announced(im.OK)
		}
	})
}
