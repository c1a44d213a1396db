package chat

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
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
  read CONV ID                read up to ID, here by /read or on another terminal
  presence NAME STATE         a contact is "online" or "offline" now
  members #GROUP CHANGE NAMES "added" or "removed" members, comma-separated
  kicked REASON               logged in elsewhere; the program ends
  to CONV                     answer to /to
  history CONV FROM ID TEXT   answer to /history, oldest first
  history-end CONV N          ends it
  file CONV N% NAME           how far /file or /get is
  file-sent CONV ID PATH      answer to /file: all of it has arrived
  file-got CONV PATH          answer to /get: where it is
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
  TEXT              send to it (//TEXT sends a text that begins with /)
  /history [N]      print its newest N messages (20)
  /read             mark it as read
  /retry            send its failed messages again
  /file PATH        send a file, or go on with it
  /get [ID|NAME]    fetch a file, the newest without either, or go on with it
  /stop             pause files; the same command goes on
  /who  /groups     print contacts, groups
  /help  /quit      end of input is /quit: waits up to 10 s for what is under way

Commands are taken once "online" has been printed. The exit code is 0, or 1 when
the log-in was refused or displaced or a message remained unsent.`

const (
	quitPatience = 10 * time.Second
	maxUnsent    = 100     // lines of input wait while so many messages are under way
	maxLine      = 1 << 20 // bytes of one line of input
)

// errUnsent ends a plain view whose messages were not all sent.
var errUnsent = errors.New("not every message was sent")

// plain is the line-oriented view. It is for one goroutine.
type plain struct {
	model    *Model
	exec     func(context.Context, Effect) Event
	out      io.Writer
	now      func() time.Time
	results  chan answer
	working  int // effects under way that have an answer soon
	quitting bool
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
	p := &plain{
		model: NewModel(), exec: l.Exec, out: out, now: time.Now, results: make(chan answer),
	}
	lines := make(chan string)
	go readLines(in, lines, ctx.Done())
	var deadline <-chan time.Time
	for !p.model.Final {
		if p.quitting && deadline == nil {
			deadline = time.After(quitPatience)
		}
		if p.done() {
			break
		}
		select {
		case e := <-l.Events():
			p.handle(ctx, e)
		case a := <-p.results:
			p.answered(ctx, a)
		case line, ok := <-p.input(lines):
			if !ok {
				line = "/quit"
			}
			p.line(ctx, line)
		case <-deadline:
			return p.unsent()
		case <-ctx.Done():
			return nil
		}
	}
	if p.model.Final {
		return p.model.Problem
	}
	return p.unsent()
}

// done reports whether the user wants to leave and nothing is under way.
func (p *plain) done() bool {
	pending, _ := p.model.Unsent()
	return p.quitting && pending == 0 && p.working == 0
}

// input returns where lines may be taken from now, nil while they must wait.
func (p *plain) input(lines <-chan string) <-chan string {
	pending, _ := p.model.Unsent()
	if !p.model.Ready() || p.quitting || pending >= maxUnsent {
		return nil
	}
	return lines
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

// unsent returns an error if messages were not sent.
func (p *plain) unsent() error {
	pending, failed := p.model.Unsent()
	if pending+failed == 0 {
		return nil
	}
	return fmt.Errorf("%w: %d left", errUnsent, pending+failed)
}

// readLines passes the lines of in on and closes lines at its end.
func readLines(in io.Reader, lines chan<- string, done <-chan struct{}) {
	defer close(lines)
	scanner := bufio.NewScanner(in)
	scanner.Buffer(nil, maxLine)
	for scanner.Scan() {
		select {
		case lines <- strings.TrimSuffix(scanner.Text(), "\r"):
		case <-done:
			return
		}
	}
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
func (p *plain) line(ctx context.Context, line string) {
	command, isCommand := strings.CutPrefix(line, "/")
	if line == "" {
		return
	}
	if !isCommand || strings.HasPrefix(command, "/") {
		p.compose(ctx, command)
		return
	}
	name, rest, _ := strings.Cut(command, " ")
	p.command(ctx, name, strings.TrimSpace(rest))
}
