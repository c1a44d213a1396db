//go:build unix

package cluster

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"teamtalk/internal/im"
	"teamtalk/test/e2e/dialog"
	"teamtalk/test/phones"
)

// newPhone makes the token of a phone: "new iphone NAME", "new android NAME".
func newPhone(args []string) (string, error) {
	switch {
	case len(args) == 2 && args[0] == "iphone":
		return phones.IPhone(args[1]), nil
	case len(args) == 2 && args[0] == "android":
		return "android-" + args[1], nil
	}
	return "", errors.New("new iphone|android NAME")
}

// rings TOKEN BADGE ["LINE"]: what came to a phone next; without a line, only
// the number at the icon changed.
func rings(ctx context.Context, w World, args []string) error {
	if len(args) < 2 || len(args) > 3 || w.Phones == nil {
		return errors.New("rings TOKEN BADGE [LINE], with push_servers")
	}
	ctx, cancel := context.WithTimeout(ctx, dialog.Patience)
	defer cancel()
	got, err := w.Phones.Take(ctx, args[0])
	if err != nil {
		return err
	}
	line := strings.Join(args[2:], "")
	if got.Line != line || strconv.FormatUint(uint64(got.Badge), 10) != args[1] {
		return fmt.Errorf("got %d %q", got.Badge, got.Line)
	}
	return nil
}

// busy TOKEN STATUS TIMES: the service answers so for a phone.
func busy(_ context.Context, w World, args []string) error {
	if len(args) != 3 {
		return errors.New("busy TOKEN STATUS TIMES")
	}
	status, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	times, err := strconv.Atoi(args[2])
	w.Phones.Busy(args[0], status, times)
	return err
}

// gone TOKEN: the app was removed from the phone.
func gone(_ context.Context, w World, args []string) error {
	w.Phones.Gone(args[0])
	return nil
}

// quiet: once all messages are decided on and all notifications are through,
// no phone has rung that was not expected to.
func quiet(ctx context.Context, w World, _ []string) error {
	ctx, cancel := context.WithTimeout(ctx, dialog.Patience)
	defer cancel()
	if err := until(ctx, func() error { return w.notified(ctx) }); err != nil {
		return err
	}
	if left := w.Phones.Left(); len(left) > 0 {
		return fmt.Errorf("also rang: %s", strings.Join(left, "; "))
	}
	return nil
}

// notified returns nil when the servers have notified everybody of what is
// stored.
func (c *Cluster) notified(ctx context.Context) error {
	var stored float64
	for shard := range im.Shards {
		for _, table := range []string{"IMMessage_%d", "IMGroupMessage_%d"} {
			var rows float64
			query := fmt.Sprintf("SELECT COUNT(*) FROM "+table, shard)
			if err := c.DB.QueryRowContext(ctx, query).Scan(&rows); err != nil {
				return err
			}
			stored += rows
		}
	}
	decided, err1 := c.metric(ctx, "msg_server", "im_push_decisions_total")
	asked, err2 := c.metric(ctx, "msg_server", "im_push_phones_total")
	notes, err3 := c.metric(ctx, "push_server", "im_push_notes_total")
	if err := errors.Join(err1, err2, err3); err != nil {
		return err
	}
	if decided != stored || asked != notes {
		return fmt.Errorf("%v messages, %v decided; %v phones, %v through", stored, decided, asked, notes)
	}
	return nil
}
