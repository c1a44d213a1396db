package trace

import (
	"testing"
	"time"

	"teamtalk/internal/im"
)

func BenchmarkNote(b *testing.B) {
	now := time.Now().UnixNano()
	for name, at := range map[string]int64{"at": now, "clock": 0} {
		b.Run(name, func(b *testing.B) {
			r := New(DefaultEvents)
			e := Record{At: at, Event: Delivered, Conv: im.SingleOf(1, 2), User: 2, Conn: 7}
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				e.Msg = im.MsgID(i)
				e.Conv.Pair.Big = im.UserID(i)
				r.Note(&e)
			}
		})
	}
}

// BenchmarkNoteParallel notes events of many conversations on every core.
func BenchmarkNoteParallel(b *testing.B) {
	r := New(DefaultEvents)
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		e := Record{At: 1, Event: Delivered, User: 2, Conn: 7}
		for i := uint32(0); pb.Next(); i++ {
			e.Conv = im.SingleOf(im.UserID(i%1000+1), 5000)
			r.Note(&e)
		}
	})
}

func BenchmarkClock(b *testing.B) {
	for b.Loop() {
		_ = time.Now().UnixNano()
	}
}
