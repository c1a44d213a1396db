package bench

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sync/errgroup"

	"teamtalk/client"
	"teamtalk/internal/im"
)

// Limits of reading back.
const (
	readers     = 8 // conversations at a time
	pageTimeout = 15 * time.Second
	pageTries   = 4
)

// readBack reads the history of every conversation, newest first, down to the
// first message of this run, and notes what stands there.
func (r *run) readBack(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(readers)
	for _, conv := range r.convs {
		group.Go(func() error { return r.readConversation(ctx, conv) })
	}
	return group.Wait()
}

// readConversation reads one history through the first terminal that can.
func (r *run) readConversation(ctx context.Context, conv *conversation) error {
	first := conv.firstID()
	if first == 0 {
		return nil // nothing was acknowledged or delivered
	}
	var plain []byte
	begin := im.MsgID(0)
	for {
		page, err := conv.page(ctx, begin)
		if err != nil {
			return err
		}
		lowest := begin
		for i := range page {
			m := &page[i]
			if lowest != 0 && m.ID > lowest || i > 0 && m.ID >= page[i-1].ID {
				r.found.reordered.Add(1) // a page must descend
			}
			lowest = m.ID
			r.noteStored(conv, m, &plain)
		}
		if len(page) == 0 || lowest <= max(first, 1) {
			return nil
		}
		begin = lowest - 1
	}
}

// noteStored enters one message of the history into the books.
func (r *run) noteStored(conv *conversation, m *client.Message, plain *[]byte) {
	f, s, ok := r.identify(m, plain)
	if !ok {
		return
	}
	if f.conv != conv {
		r.found.misdelivered.Add(1)
		return
	}
	had := f.entry(s.seq)
	if known := had & idMask; known != 0 && known != uint32(m.ID) || had&bitStored != 0 {
		r.found.storedTwice.Add(1)
		return
	}
	if known, _ := f.note(s.seq, m.ID, bitStored); !known {
		r.found.corrupt.Add(1)
	}
}

// firstID returns the lowest id of this run, 0 if there is none.
func (c *conversation) firstID() (first im.MsgID) {
	for _, f := range c.flows {
		f.mu.Lock()
		for _, entry := range f.ids {
			if id := im.MsgID(entry & idMask); id != 0 && (first == 0 || id < first) {
				first = id
			}
		}
		f.mu.Unlock()
	}
	return first
}

// page reads one page, over another terminal and after a pause when one fails.
func (c *conversation) page(ctx context.Context, begin im.MsgID) ([]client.Message, error) {
	var last error
	for try := range pageTries {
		t := c.reader(try)
		if t == nil {
			return nil, errors.New("no connection of the conversation is left")
		}
		asking, cancel := context.WithTimeout(ctx, pageTimeout)
		page, err := t.client.History(asking, c.kind, t.to, begin, im.MaxHistory)
		cancel()
		if err == nil {
			return page, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		last = err
	}
	return nil, last
}

// reader returns a terminal with a connection, another one for each try.
func (c *conversation) reader(try int) *terminal {
	for i := range c.terminals {
		if t := c.terminals[(try+i)%len(c.terminals)]; !t.gone.Load() {
			return t
		}
	}
	return nil
}
