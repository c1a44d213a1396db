package terminal

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"teamtalk/internal/im"
)

var (
	noon = time.Unix(1_700_000_000, 0)
	conv = im.SingleOf(1, 2)
)

// output is an Output that writes down what it is told: "3" a pushed message,
// "-4:9" a gap, "?2/5" a fetch behind 2 up to 5, "??/5" one behind the cursor,
// "open".
type output struct {
	said    []string
	refuse  bool // fetches
	full    bool // the connection
	fetched int  // fetches that are not done
}

func (o *output) Push(frame []byte) bool {
	if !o.full {
		o.said = append(o.said, string(frame))
	}
	return !o.full
}

func (o *output) Gap(_ im.Conversation, first, last im.MsgID) {
	o.said = append(o.said, fmt.Sprintf("-%d:%d", first, last))
}
func (o *output) Open() { o.said = append(o.said, "open") }
func (o *output) Done() { o.fetched-- }
func (o *output) Fetch(f Fetch) bool {
	if o.refuse {
		return false
	}
	o.fetched++
	after := "?"
	if f.Known {
		after = fmt.Sprint(f.After)
	}
	o.said = append(o.said, fmt.Sprintf("?%s/%d", after, f.Newest))
	return true
}

func frame(id im.MsgID) []byte { return []byte(fmt.Sprint(id)) }

func pageOf(ids ...im.MsgID) (page []Message) {
	for _, id := range ids {
		page = append(page, Message{id, frame(id)})
	}
	return page
}

// bench is a terminal under test.
type bench struct {
	*Terminal
	out *output
	t   *testing.T
	now time.Time
}

func newBench(t *testing.T) *bench {
	t.Helper()
	out := &output{}
	b := &bench{Terminal: New(out), out: out, t: t, now: noon}
	b.Start(b.now)
	b.says("open")
	return b
}

// at is a bench that stands behind an id.
func at(t *testing.T, id im.MsgID) *bench {
	t.Helper()
	b := newBench(t)
	b.Opened(nil, b.now)
	b.Opened([]Cursor{{conv, id + 1}}, b.now)
	b.says(fmt.Sprintf("??/%d", id+1))
	b.flows[conv].newest = id // as if the last one had not been
	b.page(id, id)
	b.says("")
	return b
}

func (b *bench) says(want string) {
	b.t.Helper()
	if got := strings.Join(b.out.said, " "); got != want {
		b.t.Fatalf("said %q, want %q", got, want)
	}
	b.out.said = nil
}

func (b *bench) offer(id im.MsgID) { b.Offer(conv, id, frame(id), false, b.now) }
func (b *bench) sends(id im.MsgID) { b.Offer(conv, id, frame(id), true, b.now) }
func (b *bench) acks(id im.MsgID)  { b.Ack(conv, id, b.now) }

// counts checks what acknowledgements say.
func (b *bench) counts(id, want im.MsgID) {
	b.t.Helper()
	if upto, sent := b.Ack(conv, id, b.now); upto != want || !sent {
		b.t.Errorf("an acknowledgement of %d counts up to %d, want %d", id, upto, want)
	}
}

func (b *bench) page(after, upto im.MsgID, ids ...im.MsgID) {
	b.Page(conv, after, upto, pageOf(ids...), false, b.now)
}

// saves moves the clock and returns the cursors that are to be stored.
func (b *bench) saves(later time.Duration, want string) {
	b.t.Helper()
	b.now = b.now.Add(later)
	save, _ := b.Tick(b.now)
	var all []string
	for _, c := range save {
		all = append(all, fmt.Sprint(c.Upto))
	}
	if got := strings.Join(all, " "); got != want {
		b.t.Fatalf("saved %q, want %q", got, want)
	}
}

func TestNothingIsPushedBeforeTheCursorIsKnown(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.offer(7)
	b.says("")
	b.Opened([]Cursor{{conv, 6}}, b.now)
	b.says("??/7")
	b.offer(8)
	b.says("")
	b.page(5, 7, 6, 7)
	b.says("6 7 ?7/8")
	b.page(7, 8, 8)
	b.says("8")
	b.offer(9)
	b.says("9")
}

// The cursor of a new terminal may be made after the first message for it.
func TestANewTerminalBeginsWithItsLogIn(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.offer(7)
	b.offer(8)
	b.Opened(nil, b.now)
	b.says("??/8")
	b.page(8, 8)
	b.says("?6/8")
	b.page(6, 8, 7, 8)
	b.says("7 8")
}

func TestHolesAreFetched(t *testing.T) {
	t.Parallel()
	b := at(t, 4)
	b.offer(5)
	b.offer(8) // 6 was late, and 7
	b.offer(9)
	b.says("5 ?5/8")
	if pushed := b.Page(conv, 5, 8, pageOf(6, 7, 8), false, b.now); len(pushed) != 3 || pushed[0] != 6 {
		t.Errorf("pushed %v", pushed)
	}
	b.says("6 7 8 ?8/9")
	b.offer(6) // comes after all
	b.page(8, 9, 9)
	b.says("9")
	b.offer(9)
	b.says("")
}

func TestWhatCannotBeShownIsMarked(t *testing.T) {
	t.Parallel()
	b := at(t, 0)
	b.offer(9)
	b.says("?0/9")
	b.page(0, 9, 2, 3, 7)
	b.says("-1:1 2 3 -4:6 7 -8:9")
	b.acks(7)
	b.saves(time.Second, "9")
}

func TestOwnMessages(t *testing.T) {
	t.Parallel()
	b := at(t, 2)
	b.sends(3)
	b.sends(4)
	b.saves(time.Second, "4") // nothing to acknowledge
	b.offer(5)
	b.sends(6)
	b.says("5")
	b.saves(time.Second, "")
	b.acks(5)
	b.saves(saveEvery, "6")
	// One behind a hole is not pushed with it, nor marked.
	b.sends(8)
	b.says("?6/8")
	b.page(6, 8, 7, 8)
	b.says("7")
	b.sends(10)
	b.says("?8/10")
	b.page(8, 10, 9)
	b.says("9")
}

func TestResend(t *testing.T) {
	t.Parallel()
	b := at(t, 0)
	b.offer(1)
	b.offer(2)
	b.offer(3)
	b.acks(1)
	b.says("1 2 3")
	b.saves(resendAfter, "1")
	b.says("")
	b.saves(2, "")
	b.says("?1/3")
	b.offer(4)
	b.page(1, 3, 2, 3)
	b.says("2 3 ?3/4")
	b.page(3, 4, 4)
	b.says("4")
	// Each time later.
	b.saves(2*resendAfter, "")
	b.says("")
	b.saves(2, "")
	b.says("?1/4")
	// An acknowledgement of what was sent before counts, although it is to be
	// sent again.
	b.acks(99)
	b.page(1, 4, 2, 3, 4)
	b.says("")
	b.saves(1, "4")
	b.saves(time.Minute, "")
	b.says("")
}

func TestTooMuchIsAGap(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.Opened([]Cursor{{conv, 5000}}, b.now)
	b.says("??/5000")
	b.page(10, 110, 11, 12)
	b.says("-11:4000 ?4000/5000")
}

func TestPagesWaitForAcknowledgements(t *testing.T) {
	t.Parallel()
	b := at(t, 0)
	b.offer(600)
	b.says("?0/600")
	ids := func(from, to im.MsgID) (all []im.MsgID) {
		for ; from <= to; from++ {
			all = append(all, from)
		}
		return all
	}
	b.page(0, 256, ids(1, 256)...)
	b.out.said = b.out.said[256:]
	b.says("?256/600")
	b.page(256, 300, ids(257, 300)...)
	b.out.said = b.out.said[44:]
	b.says("")
	b.acks(40)
	b.says("")
	b.acks(44)
	b.says("?300/600")
}

func TestRefusalsAndSilence(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.saves(patience, "")
	b.says("")
	b.saves(1, "")
	b.says("open") // again
	b.out.refuse = true
	b.Opened([]Cursor{{conv, 3}}, b.now)
	b.Resume(b.now)
	b.says("")
	b.out.refuse = false
	b.Resume(b.now)
	b.says("??/3")
	b.saves(patience+1, "")
	b.says("??/3")
	b.page(0, 3, 1, 2, 3)
	b.page(0, 3, 1, 2, 3) // the first answer, late
	b.says("1 2 3")
	// A connection that takes nothing gets it later.
	b.out.full = true
	b.offer(4)
	b.says("")
	b.out.full = false
	b.saves(1, "")
	b.says("?3/4")
	if save := b.Close(); len(save) != 0 || b.out.fetched != 0 {
		t.Errorf("saves %v, %d fetches left", save, b.out.fetched)
	}
	b.offer(5)
	b.page(3, 4, 4)
	b.says("")
}

func TestUnknownAcknowledgements(t *testing.T) {
	t.Parallel()
	b := at(t, 5)
	if _, sent := b.Ack(im.GroupOf(1), 3, b.now); sent {
		t.Error("what was not sent is acknowledged")
	}
	for _, id := range []im.MsgID{3, 5, 1000} {
		b.counts(id, 0)
	}
	if save := b.Close(); len(save) != 0 {
		t.Errorf("saves %v: nothing has arrived", save)
	}
	b = at(t, 5)
	b.offer(6)
	b.offer(7)
	b.counts(6, 6)
	b.counts(6, 0)
	b.counts(1000, 7)
}

func TestDeniedConversation(t *testing.T) {
	t.Parallel()
	b := at(t, 5)
	b.offer(9)
	b.says("?5/9")
	b.offer(10)
	b.Page(conv, 5, 9, nil, true, b.now)
	b.says("?5/10") // it may be seen again
	b.Page(conv, 5, 10, nil, true, b.now)
	b.says("")
	b.saves(time.Second, "")
}

// A member who left and joins again hears of what they missed before the first
// message, whether they were on-line meanwhile or not.
func TestLeftAndJoinedAgain(t *testing.T) {
	t.Parallel()
	b := at(t, 3) // 4 and 5 came when they were off-line, and 6 and 7 when they were no member
	b.offer(8)
	b.says("?3/8")
	b.page(3, 8, 8)
	b.says("-4:7 8")
	b.acks(8)
	b.saves(time.Second, "8")
	// Fetched when they were no member any more.
	b.offer(10)
	b.says("?8/10")
	b.Page(conv, 8, 10, nil, true, b.now)
	b.says("")
	b.saves(saveEvery, "")
	b.offer(13)
	b.says("?8/13")
	b.page(8, 13, 13)
	b.says("-9:12 13")
	b.acks(13)
	b.saves(saveEvery, "13")
}

func TestRecheck(t *testing.T) {
	t.Parallel()
	b := at(t, 5)
	b.Recheck(b.now.Add(time.Second))
	b.saves(time.Second, "")
	b.says("")
	b.saves(1, "")
	b.says("open")
	b.Opened([]Cursor{{conv, 7}}, b.now) // a message whose relay was lost
	b.says("?5/7")
}

func TestIdleConversationsAreForgotten(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.Opened(nil, b.now)
	for i := range im.GroupID(maxFlows + 500) {
		c := im.GroupOf(i + 1)
		b.Offer(c, 1, frame(1), true, b.now)
		b.Page(c, 0, 1, nil, false, b.now)
		b.saves(time.Second, "1")
	}
	if len(b.flows) > maxFlows {
		t.Errorf("%d conversations remembered", len(b.flows))
	}
}

func scan(t *testing.T, what, format string, values ...any) {
	t.Helper()
	if _, err := fmt.Sscanf(what, format, values...); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

func parseFetch(t *testing.T, what string) (f Fetch) {
	t.Helper()
	if strings.HasPrefix(what, "??") {
		scan(t, what, "??/%d", &f.Newest)
	} else {
		scan(t, what, "?%d/%d", &f.After, &f.Newest)
	}
	return f
}

// A client gets every id, in order or as a gap, whatever is lost or late.
func TestAnySchedule(t *testing.T) {
	t.Parallel()
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		b := newBench(t)
		newest, got := im.MsgID(0), im.MsgID(0)
		own := map[im.MsgID]bool{}
		var asked []Fetch
		drain := func() {
			for len(b.out.said) > 0 {
				what := b.out.said[0]
				b.out.said = b.out.said[1:]
				var first, last im.MsgID
				switch {
				case what == "open":
					if r.IntN(3) > 0 {
						b.Opened([]Cursor{{conv, newest}}, b.now)
					}
					continue
				case what[0] == '?':
					asked = append(asked, parseFetch(t, what))
					continue
				case what[0] == '-':
					scan(t, what, "-%d:%d", &first, &last)
				default:
					scan(t, what, "%d", &first)
					last = first
				}
				for own[got+1] {
					got++
				}
				if first > got+1 {
					t.Fatalf("seed %d: %s after %d", seed, what, got)
				}
				got = max(got, last)
			}
		}
		step := func(quiet bool) {
			drain()
			switch n := r.IntN(10); {
			case n < 4 && !quiet:
				newest++
				mine := r.IntN(5) == 0
				own[newest] = mine
				if mine || r.IntN(4) > 0 { // some are never relayed
					b.Offer(conv, newest, frame(newest), mine, b.now)
				}
			case n < 6 && len(asked) > 0:
				f := asked[0]
				asked = asked[1:]
				if r.IntN(6) == 0 {
					return // lost
				}
				upto := min(f.Newest, f.After+20)
				var ids []im.MsgID
				for id := f.After + 1; id <= upto; id++ {
					if id%7 != 0 || own[id] {
						ids = append(ids, id)
					}
				}
				b.page(f.After, upto, ids...)
			case n < 8:
				b.acks(got)
			default:
				b.now = b.now.Add(time.Duration(r.IntN(7)) * time.Second)
				b.Tick(b.now)
			}
		}
		for range 400 {
			step(false)
		}
		b.Offer(conv, newest+1, frame(newest+1), false, b.now)
		newest++
		for n := 0; got < newest; n++ {
			if step(true); n > 5000 {
				t.Fatalf("seed %d: stuck at %d of %d", seed, got, newest)
			}
		}
	}
}
