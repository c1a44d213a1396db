//go:build unix

package load

import (
	"cmp"
	"context"
	"slices"
	"time"

	"teamtalk/internal/im"
	"teamtalk/test/chaos/internal/event"
)

// askTimeout is how long a terminal waits for an answer before it connects
// anew.
const askTimeout = 10 * time.Second

// catchUp asks what clients ask after a log-in: the recent sessions and the
// unread counts, and the history of what these say is new. Thoroughly, it also
// asks again for ids that it never saw. A terminal that acknowledges what
// arrives is sent what is new, and asks for what was marked instead.
func (p *player) catchUp(ctx context.Context, l *link, thorough bool) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	latest, err := p.latest(ctx, l, false)
	if err != nil {
		return err
	}
	if l.delivers && !thorough {
		return p.fetchMarked(ctx, l)
	}
	for _, conv := range sortedConvs(latest) {
		p.mu.Lock()
		v := p.view(conv)
		floor := v.asked
		if thorough {
			floor = 0
		}
		top := max(latest[conv], v.highest)
		p.mu.Unlock()
		if err := p.fetch(ctx, l, conv, top, floor); err != nil {
			return err
		}
		p.mu.Lock()
		v.asked = max(v.asked, latest[conv])
		p.mu.Unlock()
	}
	return nil
}

// gap is what a terminal was told is not pushed to it.
type gap struct {
	conv        im.Conversation
	first, last im.MsgID
}

func (p *player) hasMarked() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.marked) > 0
}

// fetchMarked reads in history what was not pushed.
func (p *player) fetchMarked(ctx context.Context, l *link) error {
	for {
		p.mu.Lock()
		if len(p.marked) == 0 {
			p.mu.Unlock()
			return nil
		}
		g := p.marked[0]
		p.marked = p.marked[1:]
		p.mu.Unlock()
		if err := p.fetch(ctx, l, g.conv, g.last, g.first-1); err != nil {
			return err
		}
	}
}

// latest asks for the newest id of every conversation that the server says
// something about.
func (p *player) latest(ctx context.Context, l *link, final bool) (map[im.Conversation]im.MsgID, error) {
	all := map[im.Conversation]im.MsgID{}
	sessions, err := l.c.RecentSessions(ctx, 0)
	if err != nil {
		return nil, err
	}
	for _, s := range sessions {
		all[im.ConversationOf(p.user, im.Kind(s.GetSessionType()), s.GetSessionId())] = im.MsgID(s.GetLatestMsgId())
	}
	total, unread, err := l.c.Unread(ctx)
	if err != nil {
		return nil, err
	}
	e := event.Event{Name: event.Unread, Total: total, Final: final}
	for _, u := range unread {
		conv := im.ConversationOf(p.user, im.Kind(u.GetSessionType()), u.GetSessionId())
		all[conv] = max(all[conv], im.MsgID(u.GetLatestMsgId()))
		e.Counts = append(e.Counts, event.Count{
			Conv: conv.String(), Unread: int(u.GetUnreadCnt()), Latest: im.MsgID(u.GetLatestMsgId()),
		})
	}
	p.write(&e)
	return all, nil
}

func sortedConvs(of map[im.Conversation]im.MsgID) []im.Conversation {
	convs := make([]im.Conversation, 0, len(of))
	for conv := range of {
		convs = append(convs, conv)
	}
	slices.SortFunc(convs, func(a, b im.Conversation) int { return cmp.Compare(a.Hash(), b.Hash()) })
	return convs
}

// fetch pages through history from top down to floor, where ids are unknown.
func (p *player) fetch(ctx context.Context, l *link, conv im.Conversation, top, floor im.MsgID) error {
	for {
		p.mu.Lock()
		begin := p.view(conv).missing(top, floor)
		p.mu.Unlock()
		if begin == 0 {
			return nil
		}
		count := int(min(begin-floor, im.MaxHistory))
		asked := p.load.cfg.Log.Now()
		page, err := l.c.History(ctx, conv.Kind, conv.SessionID(p.user), begin, count)
		if err != nil {
			return err
		}
		e := event.Event{Name: event.History, Conv: conv.String(), ID: begin, Count: count, Asked: asked}
		p.mu.Lock()
		for i := range page {
			e.Page = append(e.Page, event.Item{ID: page[i].ID, Key: event.Key(page[i].Text())})
			p.view(conv).add(page[i].ID)
		}
		p.mu.Unlock()
		p.write(&e)
		top = begin - im.MsgID(count)
	}
}

// readSome reports one conversation as read, as far as it is known.
func (p *player) readSome(l *link) {
	p.readConv(l, p.convs[p.rng.IntN(len(p.convs))], false)
}

func (p *player) readConv(l *link, conv im.Conversation, final bool) {
	p.mu.Lock()
	v := p.view(conv)
	id := v.highest
	fresh := id > v.read
	v.read = max(v.read, id)
	p.mu.Unlock()
	if id > 0 && (fresh || final) {
		p.write(&event.Event{Name: event.Read, N: l.n, Conv: conv.String(), ID: id, Final: final})
		_ = l.c.ReadAck(conv.Kind, conv.SessionID(p.user), id) // a lost connection is noticed elsewhere
	}
}
