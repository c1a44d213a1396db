//go:build unix

package load

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"teamtalk/client"
	"teamtalk/client/textcrypt"
	"teamtalk/internal/im"
	"teamtalk/test/chaos/internal/event"
)

// Bounds of what a terminal has under way.
const (
	ackTimeout = 25 * time.Second // servers say after some four seconds that they failed
	window     = 8                // messages without an answer
	maxOutbox  = 64               // messages to be repeated
	keepRecent = 20
	burstSize  = 150
	stayFor    = time.Second // on a connection that is to be left
)

// message is one message of a terminal.
type message struct {
	key       string
	conv      im.Conversation
	text      string
	own       string    // client_msg_id; "" for an old client
	shared    bool      // other messages have the same
	waiting   bool      // an attempt is under way
	tries     int       // attempts so far
	settled   bool      // acknowledged
	notBefore time.Time // when to repeat it
}

// attempt is one sending that has no answer yet.
type attempt struct {
	m    *message
	link *link
	at   time.Time
}

// compose makes a new message of this terminal. Called with mu held.
func (p *player) compose(conv im.Conversation) *message {
	p.serial++
	m := &message{key: fmt.Sprintf("%s-%d", p.name, p.serial), conv: conv}
	m.text = m.key + " " + strings.Repeat("chaos ", p.rng.IntN(12))
	if p.acks {
		m.own = client.NewClientMsgID()
	}
	return m
}

// sendNew sends a message, mostly to a peer, if the window allows it.
func (p *player) sendNew(ctx context.Context, l *link) {
	conv := p.convs[p.rng.IntN(min(3, len(p.convs)))]
	switch dice := p.rng.IntN(100); {
	case dice < 15:
		conv = p.convs[p.rng.IntN(len(p.convs))]
	case dice < 16 && p.foreign.Kind != 0:
		conv = p.foreign // refused
	}
	p.mu.Lock()
	if len(p.attempts) >= window || len(p.outbox) >= maxOutbox {
		p.mu.Unlock()
		return
	}
	m := p.compose(conv)
	if p.acks {
		p.outbox = append(p.outbox, m)
	}
	p.mu.Unlock()
	if p.profile.ResendAfter > 0 {
		p.sendPatiently(ctx, l, m)
		return
	}
	p.send(l, m)
}

// send makes one attempt.
func (p *player) send(l *link, m *message) {
	p.mu.Lock()
	p.tokens++
	token := p.tokens
	p.attempts[token] = &attempt{m, l, time.Now()}
	m.waiting = true
	m.tries++
	tries := m.tries
	p.mu.Unlock()
	p.load.inFlight.Add(1)
	sent := event.Event{Name: event.Sent, N: l.n, Conv: m.conv.String(), Key: m.key, Again: tries > 1}
	if m.shared {
		sent.Own = m.own
	}
	p.write(&sent)
	err := l.c.SendAsync(&client.Message{
		To: m.conv.SessionID(p.user), Type: textType(m.conv), ClientMsgID: m.own,
		Data: textcrypt.Standard().Encrypt(m.text),
	}, token, p.answered)
	if err != nil {
		p.answered(token, 0, err)
	}
}

// sendPatiently sends as a Windows client does: it waits for the answer, and
// meanwhile sends the same bytes once more.
func (p *player) sendPatiently(ctx context.Context, l *link, m *message) {
	p.mu.Lock()
	p.tokens++
	token := p.tokens
	p.attempts[token] = &attempt{m, l, time.Now()}
	p.mu.Unlock()
	p.load.inFlight.Add(1)
	sent := event.Event{Name: event.Sent, N: l.n, Conv: m.conv.String(), Key: m.key}
	p.write(&sent)
	again := time.AfterFunc(p.profile.ResendAfter, func() {
		p.mu.Lock()
		waiting := p.attempts[token] != nil
		p.mu.Unlock()
		if waiting {
			repeat := sent
			repeat.Again = true
			p.write(&repeat)
		}
	})
	defer again.Stop()
	ctx, cancel := context.WithTimeout(ctx, ackTimeout)
	defer cancel()
	id, err := l.c.SendTextID(ctx, m.conv.Kind, m.conv.SessionID(p.user), m.text, "")
	p.answered(token, id, err)
}

func textType(conv im.Conversation) im.MsgType {
	if conv.Kind == im.Group {
		return im.GroupText
	}
	return im.SingleText
}

// answered takes the end of an attempt. It runs on the goroutine that reads
// the connection, or on a timer's.
func (p *player) answered(token uint64, id im.MsgID, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	a := p.attempts[token]
	if a == nil {
		return
	}
	delete(p.attempts, token)
	p.load.inFlight.Add(-1)
	m := a.m
	m.waiting = false
	if time.Since(a.at) > time.Second {
		p.load.Slow.Add(1)
	}
	e := event.Event{N: a.link.n, Conv: m.conv.String(), Key: m.key}
	nack, refused := errors.AsType[*client.NackError](err)
	switch {
	case err == nil:
		e.Name, e.ID = event.Acked, id
		v := p.view(m.conv)
		v.add(id)
		v.pushed = max(v.pushed, id)
		p.load.stored(m.conv, id)
		p.settle(m)
	case refused:
		e.Name, e.Why, e.Retry = event.Nacked, nack.Code.String(), nack.Retryable
		p.load.Nacked.Add(1)
		m.notBefore = time.Now().Add(nack.After)
		if !nack.Retryable {
			p.outbox = remove(p.outbox, m)
		}
	default: // no answer: nobody knows
		m.notBefore = time.Now().Add(100 * time.Millisecond)
		return
	}
	p.write(&e)
}

// settle notes that a message is acknowledged. Called with mu held.
func (p *player) settle(m *message) {
	if m.settled {
		return // a repeat of what was acknowledged before
	}
	m.settled = true
	if m.shared {
		again := *m
		p.again = append(p.again, &again)
	}
	p.load.Acked.Add(1)
	p.outbox = remove(p.outbox, m)
	if m.own != "" {
		p.recent = append(p.recent, m)
		if len(p.recent) > keepRecent {
			p.recent = slices.Delete(p.recent, 0, 1)
		}
	}
}

func remove(list []*message, m *message) []*message {
	return slices.DeleteFunc(list, func(o *message) bool { return o == m })
}

// resend repeats what has no acknowledgement, in the order of its making, and
// what is to be repeated although it has one.
func (p *player) resend(l *link) {
	now := time.Now()
	p.mu.Lock()
	var due []*message
	for _, m := range p.outbox {
		if !m.waiting && !now.Before(m.notBefore) {
			due = append(due, m)
		}
	}
	due = append(due, p.again...)
	p.again = nil
	p.mu.Unlock()
	for _, m := range due {
		p.send(l, m)
	}
}

// sameIDs is how many client_msg_ids are used in all conversations.
const sameIDs = 5

// composeSame makes messages that share their client_msg_ids with one of every
// other conversation; each is sent again once it is acknowledged. Called with
// mu held.
func (p *player) composeSame() (now []*message) {
	for range sameIDs {
		own := client.NewClientMsgID()
		for _, conv := range p.convs {
			m := p.compose(conv)
			m.own, m.shared = own, true
			p.outbox = append(p.outbox, m)
			now = append(now, m)
		}
	}
	return now
}

// obey does what faults of clients ask for.
func (p *player) obey(l *link) {
	p.mu.Lock()
	burst, repeat := p.burst, p.repeat
	p.burst, p.repeat = 0, false
	var now []*message
	if p.sameID {
		p.sameID = false
		now = p.composeSame()
	}
	for range burst {
		m := p.compose(p.convs[p.rng.IntN(len(p.convs))])
		if p.acks {
			p.outbox = append(p.outbox, m)
		}
		now = append(now, m)
	}
	if repeat {
		// Here and now, and over another server a little later.
		for _, m := range p.recent {
			again := *m
			now = append(now, &again)
			elsewhere := again
			p.again = append(p.again, &elsewhere)
		}
		p.recent = nil
		p.avoid, p.stayTill = l.addr, time.Now().Add(stayFor)
	}
	p.mu.Unlock()
	for _, m := range now {
		p.send(l, m)
	}
}
