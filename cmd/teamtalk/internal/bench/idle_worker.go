package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"teamtalk/client"
)

// idleWorkerName is the hidden command that holds a share of the clients of
// mode idle: one process may open a limited number of files.
const idleWorkerName = "idle-worker"

// reportEvery is how often such a process says how far it is.
const reportEvery = 200 * time.Millisecond

// idleWorkerCommand returns it. Its order comes on standard input, status
// lines go to standard output; the end of the input ends it.
func idleWorkerCommand() *cobra.Command {
	return &cobra.Command{
		Use: idleWorkerName, Hidden: true, Args: cobra.NoArgs, SilenceUsage: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var order crowdOrder
			input := json.NewDecoder(cmd.InOrStdin())
			if err := input.Decode(&order); err != nil {
				return &ExitError{exitFailure, fmt.Errorf("read order: %w", err)}
			}
			ctx, cancel := context.WithCancel(cmd.Context())
			defer cancel()
			go func() {
				_, _ = io.Copy(io.Discard, cmd.InOrStdin())
				cancel()
			}()
			order.carryOut(ctx, cmd.OutOrStdout())
			return nil
		},
	}
}

// carryOut logs the users in and stays until ctx ends.
func (o crowdOrder) carryOut(ctx context.Context, out io.Writer) {
	var (
		d        = &dialer{password: o.Password, sources: o.Sources}
		guests   = o.guests()
		failed   failures
		loggedIn atomic.Int64
		start    = time.Now()
	)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = each(ctx, o.Window, len(guests), func(i int) {
			if o.Rate > 0 {
				due := start.Add(time.Duration(float64(i) / o.Rate * float64(time.Second)))
				select {
				case <-time.After(time.Until(due)):
				case <-ctx.Done():
					return
				}
			}
			ctx, cancel := context.WithTimeout(ctx, loginTimeout)
			defer cancel()
			if err := d.visit(ctx, guests[i]); err != nil {
				failed.add(err)
				return
			}
			loggedIn.Add(1)
		})
	}()
	tick := time.NewTicker(reportEvery)
	defer tick.Stop()
	status := json.NewEncoder(out)
	for ctx.Err() == nil {
		s := crowdStatus{LoggedIn: loggedIn.Load()}
		s.Failed, s.FirstFailure = failed.count()
		s.Lost, s.FirstLoss = d.lost.count()
		if status.Encode(s) != nil {
			break // nobody listens any more
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
	<-done
	_ = each(context.WithoutCancel(ctx), o.Window, len(guests), func(i int) { guests[i].leave() })
}

// guests returns each user on a PC and on a phone, on servers in turn.
func (o crowdOrder) guests() []*guest {
	var all []*guest
	for n := o.From; n < o.To; n++ {
		user := o.Prefix + strconv.Itoa(n)
		all = append(all,
			&guest{user: user, addr: o.Addrs[n%len(o.Addrs)], profile: client.Mac()},
			&guest{user: user, addr: o.Addrs[(n+1)%len(o.Addrs)], profile: client.Android()})
	}
	return all
}
