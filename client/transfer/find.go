package transfer

import (
	"context"
	"errors"
	"fmt"

	"teamtalk/client"
	"teamtalk/internal/im"
	"teamtalk/internal/share"
)

// ErrNoFile says that there is no such file among the newest messages.
var ErrNoFile = errors.New("no such file among the newest messages")

// Find returns the id of a file of a conversation: of the last one with a name,
// or the last one of all for "", among its newest im.MaxHistory messages. An id
// is returned as it is.
func Find(ctx context.Context, c *client.Client, kind im.Kind, session uint32, what string) (string, error) {
	if share.ValidID(what) {
		return what, nil
	}
	ctx, cancel := context.WithTimeout(ctx, askFor)
	defer cancel()
	page, err := c.History(ctx, kind, session, 0, im.MaxHistory)
	if err != nil {
		return "", fmt.Errorf("look for a file: %w", err)
	}
	for i := range page {
		if id, name, ok := share.ParseText(page[i].Text()); ok && (what == "" || what == name) {
			return id, nil
		}
	}
	return "", ErrNoFile
}
