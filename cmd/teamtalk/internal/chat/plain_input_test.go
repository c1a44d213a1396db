package chat

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"teamtalk/client"
	"teamtalk/client/clienttest"
	"teamtalk/cmd/teamtalk/internal/exit"
	"teamtalk/cmd/teamtalk/internal/words"
	"teamtalk/internal/im"
	"teamtalk/internal/wire"
	"teamtalk/pb/basedefine"
	"teamtalk/pb/login"
)

// offline runs a plain view that never gets on-line, on an input, until its
// patience is over; nothing waits for a clock.
func offline(t *testing.T, lang words.Lang, in io.Reader) (out string, err error) {
	t.Helper()
	var printed strings.Builder
	ctx := words.With(t.Context(), lang)
	p := newPlain(ctx, func(context.Context, Effect) Event { return nil }, &printed)
	over := make(chan time.Time, 1)
	p.after = func(d time.Duration) <-chan time.Time {
		if d != quitPatience {
			t.Errorf("waits %v", d)
		}
		over <- time.Time{}
		return over
	}
	err = p.run(ctx, nil, in)
	return printed.String(), err
}

// Without a server, the end of input is the end after the promised time.
func TestPlainWithoutServer(t *testing.T) {
	t.Parallel()
	for input, left := range map[string]int{"": 0, "/to bob\nhello\n": 2, strings.Repeat("x\n", 3000): 3000} {
		for lang, want := range []string{"no log-in within 10s; lines of input that were not taken: %d", "10s 内未能登录；未处理的输入：%d 行"} {
			out, err := offline(t, words.Lang(lang), strings.NewReader(input))
			if said := words.Lang(lang).Explain(err); said != fmt.Sprintf(want, left) || exit.Code(err) != exit.Failed || out != "" {
				t.Errorf("%d lines: %q, printed %q", left, said, out)
			}
		}
	}
	endless := io.MultiReader(strings.NewReader(strings.Repeat("a line\n", maxAhead)), neverRead{t})
	if _, err := offline(t, words.English, endless); exit.Code(err) != exit.Failed {
		t.Error(err)
	}
}

// neverRead is what is behind more input than can wait.
type neverRead struct{ t *testing.T }

func (n neverRead) Read([]byte) (int, error) {
	n.t.Error("more is read than can wait")
	return 0, io.EOF
}

// A line longer than a message goes as several, in order and whole; one that is
// longer than a line can be is refused, and what follows is not.
func TestPlainLongLines(t *testing.T) {
	t.Parallel()
	o := newOffice(t, "alice", "bob")
	alice := o.chat(t, "alice", clienttest.Password)
	alice.expect("online")
	alice.say("/to bob")
	alice.next("to bob")
	text := strings.Repeat("世界 hello ", 700)
	parts := split(text, maxText)
	alice.say(text)
	alice.next(fmt.Sprintf("split bob %d", len(parts)))
	for i, part := range parts {
		alice.next(fmt.Sprintf("sent bob %d %s", i+1, part))
	}
	alice.say(strings.Repeat("x", maxLine+1))
	alice.next("error a line of more than 1.0 MiB was not sent: put it in a file, and /file sends that")
	alice.say("short")
	alice.next(fmt.Sprintf("sent bob %d short", len(parts)+1))
	alice.say(":fiel x")
	alice.next("error unknown command :fiel: did you mean :file? ::fiel sends it as a text")
	alice.say("::fiel")
	alice.next(fmt.Sprintf("sent bob %d :fiel", len(parts)+2))
	alice.say(":to nobody") // and not to bob, what follows
	alice.next(`error nobody is called "nobody"`)
	alice.say("for nobody")
	alice.next("error no conversation chosen: /to NAME or /to #GROUP")
	alice.say(":quit")
	if err := <-alice.ended; exit.Code(err) != exit.Failed || !strings.Contains(err.Error(), "1 left") {
		t.Errorf("ended with %v", err)
	}
}

// A session that was displaced is begun again when it is asked for, and misses
// nothing.
func TestLinkTakesBack(t *testing.T) {
	t.Parallel()
	o := newOffice(t, "alice", "bob")
	link, err := NewLink(client.SessionOptions{Options: client.Options{Addr: o.addr, User: "alice", Password: clienttest.Password}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- link.Run(ctx) }()
	until := func(want func(Event) bool) {
		t.Helper()
		for {
			select {
			case e := <-link.Events():
				if want(e) {
					return
				}
			case <-ctx.Done():
				t.Fatal("it does not happen")
			}
		}
	}
	online := func(e Event) bool { s, ok := e.(StateChanged); return ok && s.State == client.Online }
	kick, err := wire.AppendMessage(nil, wire.KickUser, 0, &login.IMKickUser{
		UserId: proto.Uint32(o.id("alice")), KickReason: basedefine.KickReasonType_KICK_REASON_DUPLICATE_USER.Enum(),
	})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		until(online)
		o.PushTo(im.UserID(o.id("alice")), kick)
		until(func(e Event) bool { s, ok := e.(Ended); return ok && kicked(s.Err) })
		link.Exec(ctx, DoLogin{})
	}
	until(online)
	cancel()
	if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v", err)
	}
}

func TestReadLine(t *testing.T) {
	t.Parallel()
	in := newInput()
	in.read(strings.NewReader("one\r\n\n" + strings.Repeat("x", 2*maxLine) + "\n" + strings.Repeat("y", maxLine-1) + "\nlast"))
	var got []string
	for l, ok := in.next(); ok; l, ok = in.next() {
		got = append(got, fmt.Sprint(len(l.text), l.tooLong, l.end))
	}
	want := []string{"3 false false", "0 false false", "0 true false", fmt.Sprint(maxLine-1, " false false"), "4 false false", "0 false true"}
	for i := range want {
		want[i] = strings.ReplaceAll(want[i], "  ", " ")
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
