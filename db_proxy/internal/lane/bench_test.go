package lane

import (
	"sync"
	"testing"

	"teamtalk/internal/im"
)

// BenchmarkSend keeps 2,000 sends of 20 conversations under way: the batches
// are those of a loaded server on an embedded database.
func BenchmarkSend(b *testing.B) {
	f := newFixture(b)
	slots := make(chan struct{}, 2000)
	var all sync.WaitGroup
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		from, to := im.UserID(i%5+1), im.UserID(i%4+6)
		i++
		slots <- struct{}{}
		all.Add(1)
		s := text(from, to)
		s.Content = "nnZSBwfPCz60q69ddmfIJA==nnZSBwfPCz60q69ddmfIJA==nnZSBwfPCz60q69ddmfIJA=="
		s.Done = func(_ Sent, err error) {
			if err != nil {
				b.Error(err)
			}
			<-slots
			all.Done()
		}
		if err := f.Submit(s); err != nil {
			b.Fatal(err)
		}
	}
	all.Wait()
}
