package transfer

import (
	"context"
	"errors"
	"fmt"

	"teamtalk/client"
	"teamtalk/internal/im"
	"teamtalk/internal/share"
)

// ErrNoFile says that there is no file among the newest messages.
var ErrNoFile = errors.New("no file among the newest messages")

// Newest returns the id of the last file of a conversation, looked for among
// its newest im.MaxHistory messages.
func Newest(ctx context.Context, c *client.Client, kind im.Kind, session uint32) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, askFor)
	defer cancel()
	page, err := c.History(ctx, kind, session, 0, im.MaxHistory)
	if err != nil {
		return "", fmt.Errorf("look for the newest file: %w", err)
	}
	for i := range page {
		if id, _, ok := share.ParseText(page[i].Text()); ok {
			return id, nil
		}
	}
	return "", ErrNoFile
}
