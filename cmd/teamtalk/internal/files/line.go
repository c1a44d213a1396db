package files

import (
	"context"
	"strconv"
	"sync"
	"time"

	"teamtalk/client"
	"teamtalk/client/transfer"
	"teamtalk/cmd/teamtalk/internal/words"
	"teamtalk/internal/im"
)

// Conversation is where a file goes or comes from.
type Conversation struct {
	Kind    im.Kind
	Session uint32 // the other user, or the group
}

// line is a log-in that is renewed when it is needed and lost: a transfer
// outlives it.
type line struct {
	options client.Options
	moved   chan *client.FileMoved // what others fetch of us

	mu     sync.Mutex // guards the field below
	client *client.Client
}

func newLine(o client.Options) *line {
	l := &line{options: o, moved: make(chan *client.FileMoved, 256)}
	l.options.Capabilities = []string{client.CapFiles}
	l.options.NoReceipts = true
	l.options.Handler = func(_ *client.Client, e client.Event) {
		if m, ok := e.(*client.FileMoved); ok && m.By != 0 {
			select {
			case l.moved <- m:
			default: // the next one says more
			}
		}
	}
	return l
}

// connect returns a log-in that is alive.
func (l *line) connect(ctx context.Context) (*client.Client, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.client != nil && l.client.Err() == nil {
		return l.client, nil
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	c, err := client.Dial(ctx, l.options)
	if err == nil {
		l.client = c
	}
	return c, err
}

func (l *line) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.client != nil {
		l.client.Close()
	}
}

// access asks the msg_server for what a transfer needs.
func (l *line) access(conv Conversation, download bool) transfer.Access {
	return func(ctx context.Context, id string) (client.FileAccess, error) {
		c, err := l.connect(ctx)
		switch {
		case err != nil:
			return client.FileAccess{}, err
		case download:
			return c.FileDownload(ctx, conv.Kind, conv.Session, id)
		}
		return c.FileUpload(ctx, conv.Kind, conv.Session, id)
	}
}

// find finds a file of a conversation by its id or name, the last one without
// either.
func (l *line) find(ctx context.Context, conv Conversation, what string) (id string, err error) {
	c, err := l.connect(ctx)
	if err != nil {
		return "", err
	}
	return transfer.Find(ctx, c, conv.Kind, conv.Session, what)
}

// fetched waits until somebody has fetched all of a file of ours.
func (l *line) fetched(ctx context.Context, id string, progress func(done, total int64)) error {
	alive := time.NewTicker(patience)
	defer alive.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-alive.C:
			_, _ = l.connect(ctx) // the next time, if there is no server now
		case m := <-l.moved:
			if m.ID != id {
				continue
			}
			progress(int64(m.Moved), int64(m.Size))
			if m.Moved == m.Size {
				return nil
			}
		}
	}
}

// find finds a user or a group by name or, where none has it, by number.
func find(ctx context.Context, c *client.Client, user, group string) (Conversation, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if group != "" {
		return findGroup(ctx, c, group)
	}
	users, _, err := c.AllUsers(ctx, 0)
	if err != nil {
		return Conversation{}, err
	}
	n, numErr := strconv.ParseUint(user, 10, 32)
	number := Conversation{}
	for _, u := range users {
		if u.GetUserRealName() == user || u.GetUserNickName() == user {
			return Conversation{im.Single, u.GetUserId()}, nil
		}
		if numErr == nil && uint64(u.GetUserId()) == n {
			number = Conversation{im.Single, u.GetUserId()}
		}
	}
	if number.Session == 0 {
		return number, words.Errorf(words.NobodyCalled, user)
	}
	return number, nil
}

func findGroup(ctx context.Context, c *client.Client, name string) (Conversation, error) {
	known, err := c.Groups(ctx)
	if err != nil {
		return Conversation{}, err
	}
	ids := make([]im.GroupID, 0, len(known)+1)
	for _, g := range known {
		ids = append(ids, im.GroupID(g.GetGroupId()))
	}
	n, numErr := strconv.ParseUint(name, 10, 32)
	if numErr == nil {
		ids = append(ids, im.GroupID(n)) // a temporary one is in no list
	}
	groups, err := c.GroupInfo(ctx, ids...)
	if err != nil {
		return Conversation{}, err
	}
	number := Conversation{}
	for _, g := range groups {
		if g.GetGroupName() == name {
			return Conversation{im.Group, g.GetGroupId()}, nil
		}
		if numErr == nil && uint64(g.GetGroupId()) == n {
			number = Conversation{im.Group, g.GetGroupId()}
		}
	}
	if number.Session == 0 {
		return number, words.Errorf(words.NoGroupCalled, name)
	}
	return number, nil
}
