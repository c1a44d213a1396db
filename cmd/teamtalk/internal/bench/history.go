package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"

	"teamtalk/client"
	"teamtalk/client/textcrypt"
	"teamtalk/internal/im"
)

// Kinds of events of mode history.
const (
	pageRequest = iota
	unreadRequest
)

// historyKinds are their names.
var historyKinds = []string{"page", "unread count"}

// HistoryChecks is what was read and how much of it was wrong.
type HistoryChecks struct {
	Page     int     `json:"page"`
	Depth    int     `json:"depth"`
	Share    float64 `json:"unread_share"`
	Messages int64   `json:"messages_read"`
	// Latest is the greatest message id of all conversations.
	Latest      int   `json:"latest_id"`
	WrongPages  int64 `json:"wrong_pages"`  // empty, out of order or out of range
	WrongUnread int64 `json:"wrong_unread"` // total is not the sum of the list
}

// reader asks for the history of conversations.
type reader struct {
	r        *run
	latest   []im.MsgID // by conversation
	messages atomic.Int64
	wrong    [2]atomic.Int64 // by kind
}

// runHistory fills the conversations of pairs, and lets everybody read pages
// that end anywhere in them, and unread counts.
func runHistory(ctx context.Context, r *run, p *progress, res *Result) error {
	r.deaf = true
	if err := setupSingle(ctx, r); err != nil {
		return err
	}
	h := &reader{r: r, latest: make([]im.MsgID, len(r.convs))}
	p.phase("filling conversations")
	if err := h.prepare(ctx); err != nil {
		return err
	}
	var failed failures
	workers := r.cfg.Window * len(r.terminals)
	used, err := r.load(ctx, p, func(ctx context.Context) { r.repeat(ctx, workers, &failed, h.ask) })
	if err != nil {
		return err
	}
	r.close()
	res.Failed, res.FirstFailure = failed.count()
	res.Series = used.series
	res.addOperations(r)
	res.addUsage(used.usage, r.meter.sum(pageRequest).inWindow+r.meter.sum(unreadRequest).inWindow)
	res.History = &HistoryChecks{
		Page: r.cfg.Page, Depth: r.cfg.Depth, Share: r.cfg.Unread, Messages: h.messages.Load(),
		WrongPages: h.wrong[pageRequest].Load(), WrongUnread: h.wrong[unreadRequest].Load(),
	}
	for _, id := range h.latest {
		res.History.Latest = max(res.History.Latest, int(id))
	}
	return nil
}

// ask makes one request: of a worker's requests every so many ask for unread
// counts, the others for a page.
func (h *reader) ask(ctx context.Context, worker, n int) (int, error) {
	t := h.r.terminals[worker%len(h.r.terminals)]
	share := h.r.cfg.Unread
	if int(float64(n+1+worker)*share) > int(float64(n+worker)*share) {
		return unreadRequest, h.unread(ctx, t)
	}
	return pageRequest, h.page(ctx, t)
}

// page reads a page that ends anywhere.
func (h *reader) page(ctx context.Context, t *terminal) error {
	count := h.r.cfg.Page
	latest := h.latest[t.index/2]
	lowest := min(im.MsgID(count), latest)
	begin := lowest + im.MsgID(rand.Uint32N(uint32(latest-lowest)+1))
	page, err := t.client.History(ctx, im.Single, t.to, begin, count)
	if err != nil {
		return err
	}
	h.messages.Add(int64(len(page)))
	if !descending(page, begin, count) {
		h.wrong[pageRequest].Add(1)
	}
	return nil
}

// descending reports whether a page is one: not empty, not too long, with ids
// that fall from begin.
func descending(page []client.Message, begin im.MsgID, count int) bool {
	if len(page) == 0 || len(page) > count || page[0].ID > begin {
		return false
	}
	for i := 1; i < len(page); i++ {
		if page[i].ID >= page[i-1].ID {
			return false
		}
	}
	return true
}

// unread asks for all unread counts of the user.
func (h *reader) unread(ctx context.Context, t *terminal) error {
	total, list, err := t.client.Unread(ctx)
	if err != nil {
		return err
	}
	for _, u := range list {
		total -= int(u.GetUnreadCnt())
	}
	if total != 0 {
		h.wrong[unreadRequest].Add(1)
	}
	return nil
}

// prepare sends what the conversations lack, and learns how long they are.
func (h *reader) prepare(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	failed := make(chan error, 1)
	err := each(ctx, loginWorkers, len(h.latest), func(i int) {
		if err := h.fill(ctx, i); err != nil {
			select {
			case failed <- fmt.Errorf("fill conversation: %w", err):
				cancel()
			default:
			}
		}
	})
	select {
	case err = <-failed:
	default:
	}
	return err
}

// fill sends what one conversation lacks.
func (h *reader) fill(ctx context.Context, i int) error {
	t := h.r.convs[i].terminals[0]
	for {
		asking, cancel := context.WithTimeout(ctx, opTimeout)
		latest, err := t.client.LatestID(asking, im.Single, t.to)
		cancel()
		if err != nil {
			return err
		}
		h.latest[i] = latest
		lack := h.r.cfg.Depth - int(latest)
		if lack <= 0 {
			return nil
		}
		if err := t.fill(ctx, lack); err != nil {
			return err
		}
	}
}

// fillWindow is how many messages of one sender are under way while
// conversations are filled.
const fillWindow = 32

// fill sends n messages that no check counts.
func (t *terminal) fill(ctx context.Context, n int) error {
	free := make(chan error, fillWindow) // outcomes, which free a place each
	for range fillWindow {
		free <- nil
	}
	ended := func(_ uint64, _ im.MsgID, err error) { free <- err }
	var text, data []byte
	for i := range n + fillWindow {
		select {
		case err := <-free:
			if err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
		if i >= n {
			continue // only waiting for the last ones
		}
		text = stamp{run: t.run.id, seq: uint32(i)}.appendText(text[:0], t.run.cfg.Size)
		data = textcrypt.Standard().AppendEncrypt(data[:0], text)
		if err := t.client.SendAsync(&client.Message{To: t.to, Type: im.SingleText, Data: data}, 0, ended); err != nil {
			return errors.Join(errors.New("send"), err)
		}
	}
	return nil
}
