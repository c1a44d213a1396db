package chat

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"teamtalk/client"
	"teamtalk/internal/im"
)

const (
	meID  im.UserID = 1
	bobID im.UserID = 2
)

var (
	bob      = Key{im.Single, uint32(bobID)}
	everyone = Key{im.Group, 7}
	epoch    = time.Unix(1_700_000_000, 0)
)

// driven is a Model with a record of what it asked for and told.
type driven struct {
	*Model
	t       *testing.T
	effects []Effect
	told    []string
}

// drive returns a model of alice, on-line and synchronised with s.
func drive(t *testing.T, s Synced) *driven {
	t.Helper()
	d := &driven{Model: NewModel(), t: t}
	d.connect(s)
	return d
}

// connect brings the model on-line.
func (d *driven) connect(s Synced) {
	s.Users = append(s.Users, Contact{ID: meID, Name: "alice"}, Contact{ID: bobID, Name: "bob"}, Contact{ID: 3, Name: "carol"})
	s.Groups = append(s.Groups, Group{ID: 7, Name: "everyone", Members: []im.UserID{1, 2, 3}})
	d.do(StateChanged{State: client.Online, Addr: "a:1", Me: meID, Safe: true})
	d.do(s)
}

// do applies an event and records what comes of it.
func (d *driven) do(e Event) {
	effects, notices := d.Update(e)
	d.effects = append(d.effects, effects...)
	var out strings.Builder
	p := &plain{model: d.Model, out: &out}
	for _, n := range notices {
		p.print(n)
	}
	for line := range strings.Lines(out.String()) {
		d.told = append(d.told, strings.TrimSuffix(line, "\n"))
	}
}

// push applies a pushed message of bob in a conversation.
func (d *driven) push(k Key, id im.MsgID) {
	d.do(Received{k, Message{ID: id, From: bobID, At: epoch, Text: fmt.Sprint("m", id)}})
}

// check compares what was told since the last check.
func (d *driven) check(want ...string) {
	d.t.Helper()
	if !slices.Equal(d.told, want) {
		d.t.Errorf("told\n  %s\nwant\n  %s", strings.Join(d.told, "\n  "), strings.Join(want, "\n  "))
	}
	d.told = nil
}

// take returns the effects of a type since the last take of any, and forgets
// all of them.
func take[E Effect](d *driven) []E {
	var found []E
	for _, e := range d.effects {
		if e, ok := e.(E); ok {
			found = append(found, e)
		}
	}
	d.effects = nil
	return found
}

// ids returns the ids of what a conversation shows.
func (d *driven) ids(k Key) []im.MsgID {
	var ids []im.MsgID
	for _, m := range d.conversation(k).Messages() {
		ids = append(ids, m.ID)
	}
	return ids
}

func TestReceivedInOrder(t *testing.T) {
	t.Parallel()
	d := drive(t, Synced{Sessions: []Session{{Key: bob, Latest: 10}}})
	d.check("online a:1")
	d.push(bob, 11)
	d.push(bob, 11) // a duplicate
	d.push(bob, 13) // ahead of its turn
	d.check("message bob 11 m11")
	d.push(bob, 12)
	d.check("message bob 12 m12", "message bob 13 m13")
	d.push(bob, 9) // older than the log-in
	d.check()
	if got := d.ids(bob); !slices.Equal(got, []im.MsgID{11, 12, 13}) {
		t.Errorf("shown %v", got)
	}
	if n, _ := d.UnreadTotal(); n != 3 {
		t.Errorf("%d unread, want 3", n)
	}
}

func TestGapIsFetched(t *testing.T) {
	t.Parallel()
	d := drive(t, Synced{Sessions: []Session{{Key: bob, Latest: 10}}})
	d.push(bob, 14)
	later := take[DoLater](d)
	if len(later) != 1 {
		t.Fatalf("%d timers, want one", len(later))
	}
	d.push(bob, 15)
	d.do(Due{later[0].Then})
	fills := take[DoFill](d)
	if want := (DoFill{bob, 10, 13}); len(fills) != 1 || fills[0] != want {
		t.Fatalf("asked for %v, want %v", fills, want)
	}
	d.check("online a:1")
	d.do(Filled{Key: bob, After: 10, UpTo: 13, Messages: []Message{{ID: 12, From: bobID, At: epoch, Text: "m12"}}})
	d.check("message bob 12 m12", "message bob 14 m14", "message bob 15 m15")
}

func TestMissedWhileOffline(t *testing.T) {
	t.Parallel()
	d := drive(t, Synced{Sessions: []Session{{Key: bob, Latest: 10}}})
	d.do(StateChanged{State: client.Offline, Err: errors.New("gone")})
	d.do(StateChanged{State: client.Online, Addr: "b:2", Me: meID, Safe: true})
	d.push(bob, 14) // ahead of the roster
	d.told = nil
	d.connect(Synced{
		Sessions: []Session{{Key: bob, Latest: 13}},
		Unread:   []Unread{{bob, 3, 13}, {everyone, 2, 40}},
	})
	d.check("online a:1", "unread bob 3", "unread #everyone 2")
	fills := take[DoFill](d)
	slices.SortFunc(fills, func(a, b DoFill) int { return int(a.Kind) - int(b.Kind) })
	want := []DoFill{{bob, 10, 13}, {everyone, 38, 40}}
	if !slices.Equal(fills, want) {
		t.Fatalf("asked for %v, want %v", fills, want)
	}
	d.do(Filled{Key: bob, After: 10, UpTo: 13, Messages: []Message{
		{ID: 11, From: bobID, At: epoch, Text: "m11"},
		{ID: 12, From: meID, Mine: true, At: epoch, Text: "m12"},
		{ID: 13, From: bobID, At: epoch, Text: "m13"},
	}})
	d.check("message bob 11 m11", "sent bob 12 m12", "message bob 13 m13", "message bob 14 m14")
	if n := d.conversation(bob).Unread; n != 4 {
		t.Errorf("%d unread, want the server's 3 and the push after it", n)
	}
}

func TestUnknownConversation(t *testing.T) {
	t.Parallel()
	d := drive(t, Synced{})
	d.push(bob, 30)
	d.do(Due{take[DoLater](d)[0].Then})
	if fills := take[DoFill](d); len(fills) != 1 || fills[0] != (DoFill{bob, 10, 29}) {
		t.Fatalf("asked for %v", fills)
	}
	d.told = nil
	d.do(Filled{Key: bob, After: 10, UpTo: 29, Messages: []Message{
		{ID: 28, From: bobID, At: epoch.Add(-time.Hour), Text: "old"}, {ID: 29, From: bobID, At: epoch, Text: "m29"},
	}})
	d.check("message bob 29 m29", "message bob 30 m30")
}

func TestUnknownSender(t *testing.T) {
	t.Parallel()
	d := drive(t, Synced{})
	d.do(Received{Key{im.Single, 9}, Message{ID: 1, From: 9, At: epoch, Text: "hi"}})
	d.check("online a:1")
	if asked := take[DoUsers](d); len(asked) != 1 || asked[0].IDs[0] != 9 {
		t.Fatalf("asked for %v", asked)
	}
	d.do(UsersLoaded{[]im.UserID{9}, []Contact{{ID: 9, Name: "new boy"}}})
	d.check(`message new\sboy 1 hi`)
	d.do(Received{everyone, Message{ID: 1, From: 99, At: epoch, Text: "x"}})
	d.do(UsersLoaded{IDs: []im.UserID{99}})
	d.check("message #everyone/99 1 x")
}

func TestSendOneAtATime(t *testing.T) {
	t.Parallel()
	d := drive(t, Synced{Sessions: []Session{{Key: bob, Latest: 10}}})
	d.do(Compose{bob, "a", "one", epoch})
	d.do(Compose{bob, "b", "two", epoch})
	if sends := take[DoSend](d); len(sends) != 1 || sends[0].ClientMsgID != "a" {
		t.Fatalf("sent %v", sends)
	}
	// A lost connection: the same message goes first over the next one.
	d.do(Sent{Key: bob, ClientMsgID: "a", Err: &lostError{written: true, err: errors.New("eof")}})
	d.do(StateChanged{State: client.Offline, Err: errors.New("eof")})
	take[DoSend](d)
	d.connect(Synced{Sessions: []Session{{Key: bob, Latest: 11}}})
	sends := take[DoSend](d)
	if len(sends) != 1 || sends[0].ClientMsgID != "a" {
		t.Fatalf("sent %v", sends)
	}
	// It was stored the first time, and history says so before the answer does.
	d.told = nil
	d.do(Filled{Key: bob, After: 10, UpTo: 11, Messages: []Message{{ID: 11, From: meID, Mine: true, At: epoch, Text: "one"}}})
	d.do(Sent{Key: bob, ClientMsgID: "a", ID: 11})
	d.do(Sent{Key: bob, ClientMsgID: "b", ID: 12})
	d.check("sent bob 11 one", "sent bob 12 two")
	if got := d.ids(bob); !slices.Equal(got, []im.MsgID{11, 12}) {
		t.Errorf("shown %v", got)
	}
}

func TestSendFails(t *testing.T) {
	t.Parallel()
	lost := &lostError{written: true, err: errors.New("eof")}
	tests := map[string]struct {
		err    error
		safe   bool
		failed bool
	}{
		"silence":                      {client.ErrAckTimeout, true, true},
		"refused":                      {&client.NackError{Code: im.Denied}, true, true},
		"refused for now":              {&client.NackError{Code: im.Busy, Retryable: true}, true, false},
		"lost, repeats are recognised": {lost, true, false},
		"lost, repeats are not":        {lost, false, true},
		"never left":                   {&lostError{err: client.ErrOffline}, false, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := drive(t, Synced{})
			d.safe = test.safe
			d.do(Compose{bob, "a", "one", epoch})
			d.do(Sent{Key: bob, ClientMsgID: "a", Err: test.err})
			if _, failed := d.Unsent(); (failed == 1) != test.failed {
				t.Fatalf("failed = %v, want %v", failed == 1, test.failed)
			}
			d.effects = nil
			if d.do(Retry{bob}); test.failed && len(take[DoSend](d)) != 1 {
				t.Error("not sent again")
			}
		})
	}
}

func TestRefusedForGood(t *testing.T) {
	t.Parallel()
	d := drive(t, Synced{})
	d.do(Compose{bob, "a", "one", epoch})
	for range maxRefusals + 1 {
		d.do(Sent{Key: bob, ClientMsgID: "a", Err: &client.NackError{Code: im.Busy, Retryable: true}})
		for _, l := range take[DoLater](d) {
			d.do(Due{l.Then})
		}
	}
	if _, failed := d.Unsent(); failed != 1 {
		t.Error("still trying")
	}
}

func TestReadState(t *testing.T) {
	t.Parallel()
	d := drive(t, Synced{
		Sessions: []Session{{Key: bob, Latest: 10}, {Key: everyone, Latest: 5}},
		Unread:   []Unread{{bob, 2, 10}},
	})
	d.do(Open{bob})
	d.do(Watch{true})
	if len(take[DoRead](d)) != 0 {
		t.Error("marked as read before it is displayed")
	}
	d.do(Page{Key: bob, Messages: []Message{{ID: 9, From: bobID, At: epoch}, {ID: 10, From: bobID, At: epoch}}})
	if reads := take[DoRead](d); len(reads) != 1 || reads[0].ID != 10 {
		t.Errorf("marked %v", reads)
	}
	d.push(bob, 11)
	if reads := take[DoRead](d); len(reads) != 1 || reads[0].ID != 11 {
		t.Errorf("marked %v", reads)
	}
	d.do(Watch{false})
	d.push(bob, 12)
	d.push(bob, 13)
	d.push(everyone, 6)
	d.do(ReadElsewhere{bob, 12})
	if n := d.conversation(bob).Unread; n != 1 {
		t.Errorf("%d unread, want 1", n)
	}
	d.do(ReadElsewhere{everyone, 6})
	if n, _ := d.UnreadTotal(); n != 1 {
		t.Errorf("%d unread, want 1", n)
	}
}

func TestHistoryPages(t *testing.T) {
	t.Parallel()
	d := drive(t, Synced{Sessions: []Session{{Key: bob, Latest: 60}}})
	d.do(Open{bob})
	if asked := take[DoHistory](d); len(asked) != 1 || asked[0] != (DoHistory{bob, 0, pageSize}) {
		t.Fatalf("asked for %v", asked)
	}
	page := func(from, to im.MsgID) (list []Message) {
		for id := from; id <= to; id++ {
			list = append(list, Message{ID: id, From: bobID, At: epoch})
		}
		return list
	}
	d.do(Page{Key: bob, Messages: page(11, 60)})
	d.do(Older{bob})
	d.do(Older{bob}) // while loading
	if asked := take[DoHistory](d); len(asked) != 1 || asked[0].Begin != 10 {
		t.Fatalf("asked for %v", asked)
	}
	d.do(Page{Key: bob, Begin: 10, Messages: page(1, 10)})
	d.do(Older{bob})
	if c := d.conversation(bob); !c.Complete() || len(c.Messages()) != 60 || len(take[DoHistory](d)) != 0 {
		t.Errorf("%d messages, complete = %v", len(c.Messages()), c.Complete())
	}
	for id := im.MsgID(61); id <= 2*maxKept; id++ {
		d.push(bob, id)
	}
	if c := d.conversation(bob); len(c.Messages()) > maxKept || c.Complete() {
		t.Errorf("%d messages kept, complete = %v", len(c.Messages()), c.Complete())
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	d := drive(t, Synced{
		Users:  []Contact{{ID: 4, Name: "dave", Nick: "David B"}},
		Groups: []Group{{ID: 8, Name: "twins"}, {ID: 9, Name: "twins"}},
	})
	for name, want := range map[string]Key{
		"bob": bob, "2": bob, "#everyone": everyone, "#7": everyone, "#8": {im.Group, 8}, "David B": {im.Single, 4},
	} {
		if k, ok := d.Find(name); !ok || k != want {
			t.Errorf("Find(%q) = %v, %v", name, k, ok)
		}
	}
	for _, name := range []string{"alice", "nobody", "#twins", "#99", "77", ""} {
		if k, ok := d.Find(name); ok {
			t.Errorf("Find(%q) = %v", name, k)
		}
	}
	if got := d.Name(Key{im.Group, 9}); got != "#9" {
		t.Errorf("Name = %q, want #9", got)
	}
	if got := d.Contacts("DAV"); len(got) != 1 {
		t.Errorf("Contacts = %v", got)
	}
}

func TestRemovedFromGroup(t *testing.T) {
	t.Parallel()
	d := drive(t, Synced{})
	d.do(Open{everyone})
	d.do(MembersChanged{Group: 7, Removed: true, Changed: []im.UserID{3}})
	if len(take[DoGroups](d)) != 1 || len(d.Groups("")) != 1 {
		t.Error("group not asked for anew")
	}
	d.do(MembersChanged{Group: 7, Removed: true, Changed: []im.UserID{meID}})
	if len(d.Groups("")) != 0 || d.Current != (Key{}) {
		t.Error("the group is still there")
	}
}
