package chat

import (
	"bufio"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"teamtalk/client"
	"teamtalk/client/clienttest"
	"teamtalk/cmd/teamtalk/internal/words"
	"teamtalk/internal/im"
	"teamtalk/internal/wire"
	"teamtalk/pb/basedefine"
	"teamtalk/pb/login"
	pbmessage "teamtalk/pb/message"
)

// terminal is a running plain view.
type terminal struct {
	t     *testing.T
	in    *io.PipeWriter
	lines chan string
	ended chan error
}

// chat runs the plain view of a user.
func (o *office) chat(t *testing.T, user, password string) *terminal {
	t.Helper()
	link, err := NewLink(client.SessionOptions{
		Options:    client.Options{Addr: o.addr, User: user, Password: password},
		MinBackoff: time.Millisecond, MaxBackoff: 10 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	in, typed := io.Pipe()
	printed, out := io.Pipe()
	term := &terminal{t: t, in: typed, lines: make(chan string, 1000), ended: make(chan error, 1)}
	linkEnded := make(chan struct{})
	go func() {
		defer close(linkEnded)
		_ = link.Run(ctx)
	}()
	go func() {
		term.ended <- RunPlain(ctx, link, in, out)
		_ = out.Close()
	}()
	go func() {
		for s := bufio.NewScanner(printed); s.Scan(); {
			term.lines <- s.Text()
		}
		close(term.lines)
	}()
	t.Cleanup(func() {
		cancel()
		_ = typed.Close()
		<-linkEnded
	})
	return term
}

// say types a line.
func (term *terminal) say(line string) {
	term.t.Helper()
	if _, err := io.WriteString(term.in, line+"\n"); err != nil {
		term.t.Fatal(err)
	}
}

// expect waits for a line, over others, and returns it.
func (term *terminal) expect(prefix string) string {
	term.t.Helper()
	var seen []string
	deadline := time.After(patience)
	for {
		select {
		case line, ok := <-term.lines:
			if strings.HasPrefix(line, prefix) {
				return line
			}
			if !ok {
				term.t.Fatalf("ended without %q after %q", prefix, seen)
			}
			seen = append(seen, line)
		case <-deadline:
			term.t.Fatalf("no %q among %q", prefix, seen)
		}
	}
}

// next waits for exactly this line.
func (term *terminal) next(want string) {
	term.t.Helper()
	if got := term.expect(""); got != want {
		term.t.Fatalf("printed %q, want %q", got, want)
	}
}

func TestPlainDialogue(t *testing.T) {
	t.Parallel()
	o := newOffice(t, "alice", "bob")
	alice, bob := o.chat(t, "alice", clienttest.Password), o.chat(t, "bob", clienttest.Password)
	alice.next("online " + o.addr)
	bob.next("online " + o.addr)
	alice.say("hello?")
	alice.expect("error no conversation chosen")
	alice.say("/to nobody")
	alice.next(`error nobody is called "nobody"`)
	alice.say("/to bob")
	alice.next("to bob")
	alice.say("hello, 世界 👋")
	alice.next("sent bob 1 hello, 世界 👋")
	bob.next("message alice 1 hello, 世界 👋")
	alice.say("//path\\")
	bob.next(`message alice 2 /path\\`)
	alice.next(`sent bob 2 /path\\`)
	bob.say("/to alice")
	bob.next("to alice")
	bob.say("/history 5")
	bob.next("history alice alice 1 hello, 世界 👋")
	bob.next(`history alice alice 2 /path\\`)
	bob.next("history-end alice 2")
	bob.say("/read")
	bob.next("read alice 2")
	alice.say("/who")
	alice.next(`user bob 1002 online Nick bob`)
	alice.say("/quit")
	if err := <-alice.ended; err != nil {
		t.Errorf("ended with %v", err)
	}
	_ = bob.in.Close()
	if err := <-bob.ended; err != nil {
		t.Errorf("ended with %v", err)
	}
}

func TestPlainGroup(t *testing.T) {
	t.Parallel()
	o := newOffice(t, "alice", "bob")
	id, err := o.dial(t, "bob").CreateGroup(t.Context(), "the team", o.id("alice"), o.id("bob"))
	if err != nil {
		t.Fatal(err)
	}
	o.mu.Lock()
	o.groups[id], o.members[id] = "the team", []uint32{o.id("alice"), o.id("bob")}
	o.mu.Unlock()
	alice, bob := o.chat(t, "alice", clienttest.Password), o.chat(t, "bob", clienttest.Password)
	alice.expect("online")
	bob.expect("online")
	alice.say("/groups")
	alice.next(`group #the\steam 1 alice,bob`)
	alice.say("/to #the team")
	alice.next(`to #the\steam`)
	alice.say("hello")
	alice.next(`sent #the\steam 1 hello`)
	bob.next(`message #the\steam/alice 1 hello`)
}

func TestPlainMissesNothing(t *testing.T) {
	t.Parallel()
	o := newOffice(t, "alice", "bob")
	me, peer := o.dial(t, "alice"), Key{im.Single, o.id("alice")}
	o.found("bob", peer, 0, 0)
	bob := o.chat(t, "bob", clienttest.Password)
	bob.expect("online")
	send := func(text string) im.MsgID {
		t.Helper()
		id, err := me.SendText(t.Context(), im.Single, o.id("bob"), text)
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	send("one")
	bob.next("message alice 1 one")
	bob.say("/to alice") // prints no history by itself, now or after reconnecting
	bob.next("to alice")
	o.shut("bob")
	o.DropAll()
	bob.expect("offline ")
	me = o.dial(t, "alice")
	send("two")
	last := send("three")
	o.found("bob", peer, last, 2)
	o.shut("")
	bob.expect("online")
	bob.next("unread alice 2")
	bob.next("message alice 2 two")
	bob.next("message alice 3 three")
	send("four")
	bob.next("message alice 4 four")
}

func TestPlainSilence(t *testing.T) {
	t.Parallel()
	o := newOffice(t, "alice", "bob")
	o.mute = true
	alice := o.chat(t, "alice", clienttest.Password)
	alice.expect("online")
	alice.say("/to bob")
	alice.say("lost?")
	o.mu.Lock()
	o.mute = false
	o.mu.Unlock()
	o.DropAll() // the repeat over the next connection is stored once
	alice.expect("sent bob 1 lost?")
	if n := o.Stored(im.SingleOf(im.UserID(o.id("alice")), im.UserID(o.id("bob")))); n != 1 {
		t.Errorf("stored %d times", n)
	}
}

func TestPlainEnds(t *testing.T) {
	t.Parallel()
	o := newOffice(t, "alice", "bob")
	wrong := o.chat(t, "alice", "wrong")
	wrong.next("offline " + words.English.Say(words.WrongPassword))
	if _, ok := errors.AsType[*client.LoginError](<-wrong.ended); !ok {
		t.Error("a wrong password is no error")
	}
	alice := o.chat(t, "alice", clienttest.Password)
	alice.expect("online")
	kick, err := wire.AppendMessage(nil, wire.KickUser, 0, &login.IMKickUser{
		UserId: proto.Uint32(o.id("alice")), KickReason: basedefine.KickReasonType_KICK_REASON_DUPLICATE_USER.Enum(),
	})
	if err != nil {
		t.Fatal(err)
	}
	o.PushTo(im.UserID(o.id("alice")), kick)
	alice.next("kicked logged in elsewhere")
	if _, ok := errors.AsType[*client.KickedError](<-alice.ended); !ok {
		t.Error("a kick is no error")
	}
}

func TestPlainReadElsewhere(t *testing.T) {
	t.Parallel()
	o := newOffice(t, "alice", "bob")
	o.found("alice", Key{im.Single, o.id("bob")}, 5, 2)
	alice := o.chat(t, "alice", clienttest.Password)
	alice.expect("online")
	alice.next("unread bob 2")
	notify, err := wire.AppendMessage(nil, wire.MsgReadNotify, 0, &pbmessage.IMMsgDataReadNotify{
		UserId: proto.Uint32(o.id("alice")), SessionId: proto.Uint32(o.id("bob")), MsgId: proto.Uint32(5),
		SessionType: basedefine.SessionType_SESSION_TYPE_SINGLE.Enum(),
	})
	if err != nil {
		t.Fatal(err)
	}
	o.PushTo(im.UserID(o.id("alice")), notify)
	alice.next("read bob 5")
	alice.say("/to bob")
	alice.next("to bob")
	alice.say("/read")
	alice.next("read bob 5")
}

func TestEscape(t *testing.T) {
	t.Parallel()
	tests := map[string]string{
		"plain": "plain", "a\nb\tc": `a\nb\tc`, `back\slash`: `back\\slash`,
		"\x1b[31mred": `\x1b[31mred`, "\u009b": `\x9b`, "日本 👩‍👩‍👧": "日本 👩‍👩‍👧",
	}
	for text, want := range tests {
		if got := escape(text); got != want {
			t.Errorf("escape(%q) = %q, want %q", text, got, want)
		}
	}
	if got := unescape(escapeName("the team")); got != "the team" {
		t.Errorf("unescape = %q", got)
	}
}

func TestPictures(t *testing.T) {
	t.Parallel()
	text := "see " + pictureStart + "http://x/1.jpg" + pictureEnd + " and " + pictureStart + "2" + pictureEnd + pictureStart
	if got, want := pictures(text), "see [picture http://x/1.jpg] and [picture 2]"+pictureStart; got != want {
		t.Errorf("pictures = %q, want %q", got, want)
	}
}
