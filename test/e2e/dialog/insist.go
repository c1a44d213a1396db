package dialog

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"teamtalk/internal/wire"
)

// retryEvery is how often an insisting terminal tries again.
const retryEvery = 300 * time.Millisecond

// askAgainAfter is how long it waits for the answer to a question.
const askAgainAfter = 2 * time.Second

// insists reports whether a line is to be tried until it succeeds.
func (p *Player) insists(words []word) bool { return len(words) > 1 && words[0].text == "insist" }

// insist logs in, sends the same message or asks the same question until the
// server agrees or, with "until EVENT" behind it, until that arrives.
func (p *Player) insist(ctx context.Context, t *terminal, server string, words []word) error {
	attempt, success := p.insistLogin, []word{{text: "login"}, {text: "ok"}, {text: "..."}}
	switch words[0].text {
	case "login":
	case "say":
		attempt, success = p.insistSay, []word{{text: "ack"}, {text: "..."}}
	default:
		attempt, success = p.insistAsk, []word{words[0], {text: "..."}}
	}
	if i := slices.Index(words, word{text: "until"}); i > 0 {
		words, success = words[:i], words[i+1:]
	}
	verb, args, err := findVerb(words)
	if err != nil {
		return err
	}
	deadline := time.Now().Add(Patience)
	for first := true; time.Now().Before(deadline); first = false {
		if err := attempt(ctx, t, server, first, verb, args); err != nil {
			return err
		}
		if p.within(ctx, t, success, time.Now().Add(retryEvery)) {
			return nil // the event stays for the script to expect
		}
	}
	return fmt.Errorf("insisted for %v in vain", Patience)
}

// insistLogin tries a log-in on a new connection, once the last one was
// answered: those that wait for their hash count as failures until they have it.
func (p *Player) insistLogin(ctx context.Context, t *terminal, server string, first bool, verb verb, args []word,
) error {
	if !first {
		if t.inbox != nil && len(t.arrived) == 0 && time.Since(t.connected) < askAgainAfter {
			return nil // the answer is on its way
		}
		t.close()
		t.arrived = nil
	}
	t.connected = time.Now()
	if p.connect(ctx, t, server) == nil {
		return verb(p, t, args)
	}
	return nil // nobody listens yet; the next attempt may find somebody
}

// insistSay sends a message, at first as the verb does, then the same bytes.
func (p *Player) insistSay(_ context.Context, t *terminal, _ string, first bool, verb verb, args []word) error {
	if !first {
		return t.repeat()
	}
	if err := verb(p, t, args); err != nil {
		return err
	}
	for _, r := range t.pending {
		if r.want == wire.MsgDataAck {
			r.quiet = true
		}
	}
	return nil
}

// insistAsk asks a question, once the last answer was thrown away.
func (p *Player) insistAsk(_ context.Context, t *terminal, _ string, first bool, verb verb, args []word) error {
	if !first {
		if t.lastAsked.left > 0 && time.Since(t.lastAsked.asked) < askAgainAfter {
			return nil // the answer is on its way
		}
		// A server that cannot know the answer gives none.
		t.lastAsked.late = t.lastAsked.left > 0
		t.arrived = slices.DeleteFunc(t.arrived, func(e event) bool { return e.answers == t.lastAsked })
	}
	if err := verb(p, t, args); err != nil {
		return err
	}
	if t.lastAsked == nil {
		return errors.New("insisted on what has no answer")
	}
	return nil
}

// within waits until an event that matches has arrived, and leaves it there.
func (p *Player) within(ctx context.Context, t *terminal, want []word, deadline time.Time) bool {
	if t.inbox == nil {
		wait(ctx, nil, deadline)
		return false
	}
	for {
		closed, news := p.collect(t)
		for _, e := range t.arrived {
			if p.match(want, e.words) {
				return true
			}
		}
		if closed {
			news = nil
		}
		if !wait(ctx, news, deadline) {
			return false
		}
	}
}
