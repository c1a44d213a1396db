package chat

import (
	"context"
	"io"
	"time"

	"teamtalk/cmd/teamtalk/internal/exit"
	"teamtalk/cmd/teamtalk/internal/words"
	"teamtalk/internal/share"
)

// plainHelp describes the line-oriented view. Scripts rely on it.
const plainHelp = `With --plain, one line is printed per event and standard input takes commands.
Fields are separated by one space; a TEXT is the rest of the line.

  online ADDR                 logged in; contacts and groups are known
  offline REASON              not connected; reconnecting, unless the program ends
  unread CONV N               unread messages at log-in, one line per conversation
  message FROM ID TEXT        a message from FROM: a NAME, or #GROUP/NAME
  sent CONV ID TEXT           a message of yours is stored, from here or elsewhere
  failed CONV TEXT            a message of yours was not sent; /retry repeats it
  split CONV N                a line of yours fits no single message: it goes as N, in order
  read CONV ID                read up to ID, here by /read or on another terminal
  presence NAME STATE         a contact is "online" or "offline" now
  members #GROUP CHANGE NAMES "added" or "removed" members, comma-separated
  kicked REASON               logged in elsewhere; the program ends
  to CONV                     answer to /to
  history CONV FROM ID TEXT   answer to /history, oldest first
  history-end CONV N          ends it
  file CONV N% NAME           how far /file or /get is
  file-sent CONV ID PATH      answer to /file: all of it has arrived
  file-got CONV PATH          answer to /get: where it was saved
  file-coming FROM N% ID NAME    how far a file is that FROM sends; /get fetches it once it is there
  file-ready FROM ID NAME        it is there; its message comes, too
  file-fetching FROM N% ID NAME  how far FROM is with a file of yours
  file-fetched FROM ID NAME      FROM has all of it
  user NAME ID STATE NICK     answer to /who
  group #GROUP ID NAMES       answer to /groups
  error TEXT                  a command or a request failed

CONV is NAME or #GROUP (or #ID when the name of a group is not unique). In names
and texts a backslash is written \\, a line break \n, a tab \t and any other
control character \xNN; in names a space is \s. Messages of a conversation come
in the order of their ids; a late one is printed when it is found. Messages
missed while off-line come after "online" and the "unread" lines.

  /to NAME|#GROUP   choose the current conversation
  TEXT              send to it; a text that begins with / or : is written //TEXT or ::TEXT
  /history [N]      print its newest N messages (20)
  /read             mark it as read
  /retry            send its failed messages again
  /file PATH        send a file, or go on with it; PATH may have ~, quotes and blanks
  /get [ID|NAME]    fetch a file, the newest without either, or go on with it
  /stop             pause files; the same command goes on
  /who  /groups     print contacts, groups
  /help  /quit      end of input is /quit: waits up to 10 s for what is under way

A command may begin with : as well. One that does not exist is refused, not sent.
A TEXT longer than 3,068 bytes is sent as several messages: cut where a line or a
word ends, nothing left out. A line of more than 1 MiB is refused with an error;
"teamtalk send" takes files of any size.

Commands are taken once "online" has been printed. If input has ended and there is
no server, the program waits 10 s for one. REASON and the TEXT of an error are for
people, in the language of LC_ALL, LC_MESSAGES or LANG (English or Chinese).

The exit code is 0; 1 when the log-in was refused or displaced, when there was no
server or when a line or a message remained unsent; 2 for bad arguments.`

const (
	quitPatience = 10 * time.Second
	maxUnsent    = 100     // lines of input wait while so many messages are under way
	maxLine      = 1 << 20 // bytes of one line of input
	maxAhead     = 4 << 20 // bytes of input that wait for the log-in
)

// plain is the line-oriented view. It is for one goroutine.
type plain struct {
	model    *Model
	exec     func(context.Context, Effect) Event
	out      io.Writer
	now      func() time.Time
	results  chan answer
	working  int // effects under way that have an answer soon
	lost     int // texts that were refused for their length
	quitting bool
	after    func(time.Duration) <-chan time.Time
	input    *input
}

// answer is what became of an effect.
type answer struct {
	Event        // nil: nothing
	awaited bool // p.working counts it
}

// RunPlain runs the line-oriented view until input ends, ctx ends or the
// session ends for good; it returns why, nil for the first two. A goroutine
// stays behind that waits for input.
func RunPlain(ctx context.Context, l *Link, in io.Reader, out io.Writer) error {
	p := newPlain(ctx, l.Exec, out)
	return p.run(ctx, l.Events(), in)
}

func newPlain(ctx context.Context, exec func(context.Context, Effect) Event, out io.Writer) *plain {
	p := &plain{
		model: NewModel(), exec: exec, out: out, now: time.Now, after: time.After,
		results: make(chan answer), input: newInput(),
	}
	p.model.Lang = words.Of(ctx)
	return p
}

func (p *plain) run(ctx context.Context, events <-chan Event, in io.Reader) error {
	go p.input.read(in)
	defer p.input.stop()
	var deadline <-chan time.Time // nil while there is time
	for !p.model.Final && !p.done() {
		switch hurry := p.quitting || p.input.stuck() && !p.model.Ready(); {
		case !hurry:
			deadline = nil
		case deadline == nil:
			deadline = p.after(quitPatience)
		}
		select {
		case e := <-events:
			p.handle(ctx, e)
		case a := <-p.results:
			p.answered(ctx, a)
		case <-p.input.changed:
		case <-deadline:
			return p.unsent()
		case <-ctx.Done():
			return nil
		}
		p.take(ctx)
	}
	if p.model.Final {
		return exit.Told(p.model.Problem) // as "offline" or "kicked"
	}
	return p.unsent()
}

// done reports whether the user wants to leave and nothing is under way.
func (p *plain) done() bool {
	pending, _ := p.model.Unsent()
	return p.quitting && pending == 0 && p.working == 0
}

// take carries out the lines whose time has come.
func (p *plain) take(ctx context.Context) {
	for p.model.Ready() && !p.quitting {
		if pending, _ := p.model.Unsent(); pending >= maxUnsent {
			return
		}
		line, ok := p.input.next()
		if !ok {
			return
		}
		p.line(ctx, line)
	}
}

// answered takes what became of an effect.
func (p *plain) answered(ctx context.Context, a answer) {
	if a.awaited {
		p.working--
	}
	if a.Event != nil {
		p.handle(ctx, a.Event)
	}
}

// unsent returns an error if something was not sent.
func (p *plain) unsent() error {
	if !p.model.Ready() && !p.quitting {
		return words.Errorf(words.NeverOnline, quitPatience.String(), p.input.waiting())
	}
	pending, failed := p.model.Unsent()
	if left := pending + failed + p.lost; left > 0 {
		return words.Errorf(words.Unsent, left)
	}
	return nil
}

// handle applies an event, prints what is to tell and starts what is to do.
func (p *plain) handle(ctx context.Context, e Event) {
	effects, notices := p.model.Update(e)
	for _, n := range notices {
		p.print(n)
	}
	for _, effect := range effects {
		_, later := effect.(DoLater)
		if !later {
			p.working++
		}
		go func() {
			result := p.exec(ctx, effect)
			select {
			case p.results <- answer{result, !later}:
			case <-ctx.Done():
			}
		}()
	}
}

// line carries out a line of input.
func (p *plain) line(ctx context.Context, l inputLine) {
	switch {
	case l.end:
		p.quitting = true
		return
	case l.tooLong:
		p.lost++
		p.refuse(words.Errorf(words.LineSkipped, share.Bytes(maxLine)))
		return
	case l.text == "":
		return
	}
	text, asked, err := parseInput(l.text)
	switch {
	case err != nil:
		p.refuse(err)
	case asked != nil:
		p.command(ctx, asked)
	default:
		p.compose(ctx, text)
	}
}

// refuse complains about a line that is not carried out.
func (p *plain) refuse(err error) {
	p.printf("error %s", escape(p.model.Lang.Explain(err)))
}
