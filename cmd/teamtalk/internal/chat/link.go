package chat

import (
	"context"
	"errors"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"teamtalk/client"
	"teamtalk/internal/im"
)

const (
	requestPatience  = 15 * time.Second
	presencePatience = 3 * time.Second
	maxMissed        = 10_000 // messages fetched at once after an absence
	maxEvents        = 1024   // events waiting for the view
)

// Link ties a Model to a server: it brings what the server says as Events and
// executes Effects. Its methods may be called from any goroutine.
type Link struct {
	session   *client.Session
	user      string // log-in name
	transfers transfers
	events    chan Event    // never closed
	again     chan struct{} // asks Run to log in again after it was displaced
	done      chan struct{} // closed when Run ends
}

// NewLink returns a Link that Run connects. Handler, OnState and Capabilities
// of o are its own affair.
func NewLink(o client.SessionOptions) (*Link, error) {
	l := &Link{user: o.User, events: make(chan Event, maxEvents), again: make(chan struct{}, 1), done: make(chan struct{})}
	o.Capabilities = client.AllCapabilities()
	o.Handler = l.pushed
	o.OnState = l.stateChanged
	session, err := client.NewSession(o)
	if err != nil {
		return nil, err
	}
	l.session = session
	return l, nil
}

// Events returns what happens on the network. A view that does not read holds
// the connection up, and with it the server's writing: nothing is dropped.
func (l *Link) Events() <-chan Event { return l.events }

// Run keeps the session alive until ctx ends, which gives nil, or the server
// refuses the log-in for good. After the log-in was displaced it waits for a
// DoLogin.
func (l *Link) Run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { close(l.done) })
	err := l.session.Run(ctx)
	l.post(Ended{err})
	for kicked(err) {
		select {
		case <-l.again:
			err = l.session.Run(ctx)
			l.post(Ended{err})
		case <-ctx.Done():
			err = nil
		}
	}
	if stop() {
		close(l.done)
	}
	return err
}

// post hands an event to the view and waits while too many wait already.
func (l *Link) post(e Event) {
	select {
	case l.events <- e:
	case <-l.done:
	}
}

// stateChanged runs on the session's goroutine.
func (l *Link) stateChanged(s client.State, err error) {
	if final(err) {
		return // Run posts Ended
	}
	e := StateChanged{State: s, Err: err}
	if c := l.session.Client(); s == client.Online && c != nil {
		e.Addr, e.Me = c.Addr(), c.User()
		e.Safe, e.Files = c.Granted(client.CapClientMsgID), c.Granted(client.CapFiles)
	}
	l.post(e)
}

// final reports whether a session ends with this error.
func final(err error) bool {
	refused, ok := errors.AsType[*client.LoginError](err)
	return kicked(err) || (ok && refused.Permanent())
}

// kicked reports whether the log-in was displaced.
func kicked(err error) bool {
	_, ok := errors.AsType[*client.KickedError](err)
	return ok
}

// pushed translates what the server sends on its own.
func (l *Link) pushed(c *client.Client, e client.Event) {
	switch e := e.(type) {
	case *client.Message:
		l.post(Received{Key{e.Kind(), e.Session(c.User())}, message(c.User(), e)})
	case *client.ReadNotice:
		l.post(ReadElsewhere{Key{e.Kind, e.Session}, e.ID})
	case *client.Presence:
		l.post(PresenceChanged{e.User, online(e.Status)})
	case *client.SignatureChanged:
		l.post(SignatureChanged{e.User, e.Signature})
	case *client.GroupChanged:
		changed := make([]im.UserID, len(e.Changed))
		for i, u := range e.Changed {
			changed[i] = im.UserID(u)
		}
		l.post(MembersChanged{e.Group, e.Removed, changed})
	default:
		l.pushedFile(c.User(), e)
	}
}

// Exec does what an effect asks for and returns the event that answers it, nil
// if none does. It may take long; it ends with ctx.
func (l *Link) Exec(ctx context.Context, e Effect) Event {
	if later, ok := e.(DoLater); ok {
		select {
		case <-time.After(later.After):
			return Due{later.Then}
		case <-ctx.Done():
			return nil
		}
	}
	switch e := e.(type) {
	case DoFile:
		return l.file(ctx, e)
	case DoPath:
		return findPath(e)
	case DoLogin:
		select {
		case l.again <- struct{}{}:
		default: // asked for already
		}
		return nil
	case DoStop:
		l.transfers.stopAll()
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, requestPatience)
	defer cancel()
	c := l.session.Client()
	if send, ok := e.(DoSend); ok {
		return l.send(ctx, c, send)
	}
	if c == nil {
		return failed(e, client.ErrOffline)
	}
	event, err := execute(ctx, c, e)
	if err != nil {
		return failed(e, err)
	}
	return event
}

// execute does an effect on a connection.
func execute(ctx context.Context, c *client.Client, e Effect) (Event, error) {
	switch e := e.(type) {
	case DoSync:
		return synchronise(ctx, c)
	case DoRead:
		return nil, c.ReadAck(e.Kind, e.Key.ID, e.ID)
	case DoHistory:
		list, err := history(ctx, c, e.Key, e.Begin, 0, e.Count)
		return Page{Key: e.Key, Begin: e.Begin, Messages: list}, err
	case DoFill:
		list, err := history(ctx, c, e.Key, e.UpTo, e.After, maxMissed)
		return Filled{Key: e.Key, After: e.After, UpTo: e.UpTo, Messages: list}, err
	case DoUsers:
		ids := make([]uint32, len(e.IDs))
		for i, id := range e.IDs {
			ids[i] = uint32(id)
		}
		users, err := c.UserInfo(ctx, ids...)
		return UsersLoaded{e.IDs, contacts(users)}, err
	case DoGroups:
		list, err := c.GroupInfo(ctx, e.IDs...)
		return GroupsLoaded{groups(list)}, err
	}
	return nil, nil
}

// failed returns the event that answers an effect which failed; effects whose
// failure is nobody's concern have none.
func failed(e Effect, err error) Event {
	switch e := e.(type) {
	case DoSync:
		return SyncFailed{err}
	case DoUsers:
		return UsersLoaded{IDs: e.IDs}
	case DoHistory:
		return Page{Key: e.Key, Begin: e.Begin, Err: err}
	case DoFill:
		return Filled{Key: e.Key, After: e.After, UpTo: e.UpTo, Err: err}
	}
	return nil
}

// send sends a text once.
func (l *Link) send(ctx context.Context, c *client.Client, e DoSend) Event {
	answer := Sent{Key: e.Key, ClientMsgID: e.ClientMsgID}
	if c == nil {
		answer.Err = &lostError{err: client.ErrOffline}
		return answer
	}
	clientMsgID := ""
	if c.Granted(client.CapClientMsgID) {
		clientMsgID = e.ClientMsgID
	}
	answer.ID, answer.Err = c.SendTextID(ctx, e.Kind, e.ID, e.Text, clientMsgID)
	_, refused := errors.AsType[*client.NackError](answer.Err)
	if answer.Err != nil && !refused && c.Err() != nil {
		answer.Err = &lostError{written: true, err: answer.Err}
	}
	return answer
}

// history returns at most count messages with ids in (after, begin], or up to
// the newest when begin is 0, in ascending order.
func history(ctx context.Context, c *client.Client, k Key, begin, after im.MsgID, count int) ([]Message, error) {
	var all []Message
	for count > 0 {
		page, err := c.History(ctx, k.Kind, k.ID, begin, min(count, im.MaxHistory))
		if err != nil {
			return nil, err
		}
		for i := range page {
			if page[i].ID > after {
				all = append(all, message(c.User(), &page[i]))
			}
		}
		if len(page) == 0 || page[len(page)-1].ID <= after+1 {
			break
		}
		count -= len(page)
		begin = page[len(page)-1].ID - 1
	}
	slices.Reverse(all)
	return all, nil
}

// synchronise asks for everything a client needs after a log-in.
func synchronise(ctx context.Context, c *client.Client) (Event, error) {
	var (
		s     Synced
		known []im.GroupID
	)
	work, workCtx := errgroup.WithContext(ctx)
	work.Go(func() error {
		users, _, err := c.AllUsers(workCtx, 0)
		if err == nil {
			s.Users = contacts(users)
			s.Online = present(workCtx, c, s.Users)
		}
		return err
	})
	work.Go(func() error {
		list, err := c.Groups(workCtx)
		for _, g := range list {
			known = append(known, im.GroupID(g.GetGroupId()))
		}
		return err
	})
	work.Go(func() (err error) {
		s.Sessions, err = sessions(workCtx, c)
		return err
	})
	work.Go(func() (err error) {
		s.Unread, err = unread(workCtx, c)
		return err
	})
	if err := work.Wait(); err != nil {
		return nil, err
	}
	// Temporary groups are found only among the conversations.
	for _, recent := range s.Sessions {
		if id := im.GroupID(recent.ID); recent.Kind == im.Group && !slices.Contains(known, id) {
			known = append(known, id)
		}
	}
	if len(known) == 0 {
		return s, nil
	}
	list, err := c.GroupInfo(ctx, known...)
	s.Groups = groups(list)
	return s, err
}
