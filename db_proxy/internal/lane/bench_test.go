package lane

import (
	"sync"
	"testing"

	"teamtalk/internal/im"
)

// BenchmarkSend keeps 2,000 sends of 20 conversations under way: the batches
// are those of a loaded server on an embedded database.
func BenchmarkSend(b *testing.B) { benchmark(b, 0) }

// BenchmarkSendAndRead has a read of the receiver between every two messages.
func BenchmarkSendAndRead(b *testing.B) { benchmark(b, 2) }

func benchmark(b *testing.B, readEvery int) {
	b.Helper()
	f := newFixture(b)
	slots := make(chan struct{}, 2000)
	var all sync.WaitGroup
	done := func(err error) {
		if err != nil && im.CodeOf(err) != im.NotFound { // read before anything was said
			b.Error(err)
		}
		<-slots
		all.Done()
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		from, to := im.UserID(i%5+1), im.UserID(i%4+6)
		i++
		submit := func(op Operation) {
			slots <- struct{}{}
			all.Add(1)
			if err := f.Submit(op); err != nil {
				b.Fatal(err)
			}
		}
		s := text(from, to)
		s.Content = "nnZSBwfPCz60q69ddmfIJA==nnZSBwfPCz60q69ddmfIJA==nnZSBwfPCz60q69ddmfIJA=="
		s.Done = func(_ Sent, err error) { done(err) }
		submit(s)
		if readEvery > 0 && i%readEvery == 0 {
			submit(&Read{Conv: s.Conv, User: to, Done: done})
		}
	}
	all.Wait()
}
