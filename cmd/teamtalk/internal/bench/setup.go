package bench

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"teamtalk/client"
	"teamtalk/internal/im"
)

// Limits of logging in.
const (
	loginWorkers = 16 // at a time; hashing passwords is work for the servers
	loginTimeout = 30 * time.Second
)

// add enters a terminal of a user; n is the user's number from 1.
func (r *run) add(n int, conv *conversation) *terminal {
	t := &terminal{run: r, index: len(r.terminals), user: r.cfg.Prefix + strconv.Itoa(n), conv: conv, deaf: r.deaf}
	t.ack = t.acknowledged
	r.terminals = append(r.terminals, t)
	conv.terminals = append(conv.terminals, t)
	return t
}

// sends makes a terminal a sender in its conversation.
func (r *run) sends(t *terminal) {
	t.flow = &flow{index: uint32(len(r.flows)), slot: len(t.conv.flows), conv: t.conv, sender: t}
	t.order = len(r.flows)
	r.flows = append(r.flows, t.flow)
	t.conv.flows = append(t.conv.flows, t.flow)
}

// setupSingle makes pairs (1, 2), (3, 4) and so on, whose members both send
// unless the number of senders is limited.
// An odd user is on a PC, an even one on a phone. With several servers every
// second pair is spread over two.
func setupSingle(ctx context.Context, r *run) error {
	if err := r.findServers(ctx); err != nil {
		return err
	}
	places, profiles := []string{}, []client.Profile{}
	for pair := range r.cfg.Count / 2 {
		conv := &conversation{kind: im.Single}
		r.convs = append(r.convs, conv)
		for member := range 2 {
			t := r.add(2*pair+member+1, conv)
			if r.cfg.Senders == 0 || t.index < r.cfg.Senders {
				r.sends(t)
			}
		}
		home := pair / 2
		places = append(places, r.addr(home), r.addr(home+pair%2))
		profiles = append(profiles, client.Mac(), client.Android())
	}
	if err := r.logIn(ctx, places, profiles); err != nil {
		return err
	}
	for _, conv := range r.convs {
		a, b := conv.terminals[0], conv.terminals[1]
		a.to, b.to = uint32(b.client.User()), uint32(a.client.User())
	}
	return nil
}

// setupGroup puts every user on a PC and a phone, on different servers if
// there are several, and all into one group; the PCs write.
func setupGroup(ctx context.Context, r *run) error {
	if err := r.findServers(ctx); err != nil {
		return err
	}
	conv := &conversation{kind: im.Group}
	r.convs = append(r.convs, conv)
	places, profiles := []string{}, []client.Profile{}
	senders := r.cfg.Senders
	if senders == 0 {
		senders = r.cfg.Count
	}
	for user := range r.cfg.Count {
		pc := r.add(user+1, conv)
		if user < senders {
			r.sends(pc)
		}
		r.add(user+1, conv)
		places = append(places, r.addr(user), r.addr(user+1))
		profiles = append(profiles, client.Mac(), client.Android())
	}
	if err := r.logIn(ctx, places, profiles); err != nil {
		return err
	}
	return r.joinGroup(ctx, conv)
}

// joinGroup takes the group named by the configuration or creates one.
func (r *run) joinGroup(ctx context.Context, conv *conversation) error {
	group := r.cfg.Group
	if group == 0 {
		var members []uint32
		for _, t := range conv.terminals {
			if id := uint32(t.client.User()); !slices.Contains(members, id) {
				members = append(members, id)
			}
		}
		ctx, cancel := context.WithTimeout(ctx, loginTimeout)
		defer cancel()
		id, err := conv.terminals[0].client.CreateGroup(ctx, "bench", members...)
		if err != nil {
			return fmt.Errorf("create group: %w", err)
		}
		group = uint32(id)
	}
	for _, t := range conv.terminals {
		t.to = group
	}
	return nil
}

// addr returns a server by number.
func (r *run) addr(n int) string { return r.addrs[n%len(r.addrs)] }

// logIn logs every terminal in at its place.
func (r *run) logIn(ctx context.Context, places []string, profiles []client.Profile) error {
	for _, t := range r.terminals {
		t.view = newView(len(t.conv.flows))
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(loginWorkers)
	for _, t := range r.terminals {
		group.Go(func() error { return t.logIn(ctx, places[t.index], profiles[t.index]) })
	}
	return group.Wait()
}

// logIn logs one terminal in.
func (t *terminal) logIn(ctx context.Context, addr string, profile client.Profile) error {
	ctx, cancel := context.WithTimeout(ctx, loginTimeout)
	defer cancel()
	c, err := client.Dial(ctx, client.Options{
		Addr: addr, User: t.user, Password: t.run.cfg.Password, Profile: profile, Handler: t.handle,
		// Give up on an acknowledgement when the run does.
		AckTimeout: max(t.run.cfg.Grace, time.Second), MaxPending: t.run.cfg.Window + 64,
	})
	if err != nil {
		return fmt.Errorf("log in %s at %s: %w", t.user, addr, err)
	}
	t.client = c
	return nil
}

// Limits of looking for servers.
const (
	maxProbes   = 32 // log-ins
	enoughSame  = 4  // in a row without a new server: that is all of them
	probeFactor = 2  // at least so many log-ins per server found
)

// findServers fills r.addrs: the configured addresses, or those a login_server
// names while users log in one after the other, which fills the servers
// evenly.
func (r *run) findServers(ctx context.Context) error {
	if len(r.cfg.Addrs) > 0 {
		r.addrs = r.cfg.Addrs
		return nil
	}
	var probes []*client.Client
	defer func() {
		for _, c := range probes {
			ctx, cancel := context.WithTimeout(ctx, loginTimeout)
			_ = c.Logout(ctx) // the server forgets it before it logs in again
			cancel()
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, 2*loginTimeout)
	defer cancel()
	same := 0
	for n := 1; n <= min(maxProbes, r.cfg.Count) && same < max(enoughSame, probeFactor*len(r.addrs)); n++ {
		loc, err := client.Locate(ctx, r.cfg.LoginURL)
		if err != nil {
			return err
		}
		same++
		if !slices.Contains(r.addrs, loc.Addr) {
			r.addrs, same = append(r.addrs, loc.Addr), 0
		}
		c, err := client.Dial(ctx, client.Options{
			Addr: loc.Addr, User: r.cfg.Prefix + strconv.Itoa(n), Password: r.cfg.Password,
			// Not as in the run, where it can be helped: news of this log-in
			// may still be on the way to other servers then.
			Profile: []client.Profile{client.Mac(), client.Android()}[n%2],
		})
		if err != nil {
			return fmt.Errorf("log in %s%d at %s: %w", r.cfg.Prefix, n, loc.Addr, err)
		}
		probes = append(probes, c)
	}
	slices.Sort(r.addrs)
	return nil
}
