//go:build unix

package load

import (
	"context"
	"fmt"

	"teamtalk/test/chaos/internal/schedule"
)

// Harmer does to the connections of a client, by its address, what the network
// does.
type Harmer interface {
	Vanish(ip string)
	Stall(ip string, still bool)
}

// Harm lets clients misbehave, for as long as the fault lasts.
func (l *Load) Harm(ctx context.Context, f *schedule.Fault, h Harmer, begin func()) error {
	switch f.Kind {
	case schedule.Lists:
		return l.lists(ctx, f, begin)
	case schedule.SameID:
		l.sameIDs(f, begin)
		return nil
	default:
		return l.misbehave(ctx, f, h, begin)
	}
}

// choose picks some of the terminals that a condition holds for.
func (l *Load) choose(pick uint32, fits func(*player) bool) (chosen []*player) {
	n := max(len(l.players)/10, 2)
	for i := 0; i < len(l.players) && len(chosen) < n; i++ {
		if p := l.players[(int(pick%uint32(len(l.players)))+i*7)%len(l.players)]; fits(p) {
			chosen = append(chosen, p)
		}
	}
	return chosen
}

// sameIDs lets terminals that name their messages use one name in several
// conversations.
func (l *Load) sameIDs(f *schedule.Fault, begin func()) {
	chosen := l.choose(f.Pick, func(p *player) bool { return p.acks })
	begin()
	for _, p := range chosen {
		p.mu.Lock()
		p.sameID = true
		p.mu.Unlock()
	}
}

// misbehave does what Client faults are.
func (l *Load) misbehave(ctx context.Context, f *schedule.Fault, h Harmer, begin func()) error {
	chosen := l.choose(f.Pick, func(*player) bool { return true })
	begin()
	for _, p := range chosen {
		switch f.Target {
		case schedule.Vanish:
			h.Vanish(p.ip)
		case schedule.Stall:
			h.Stall(p.ip, true)
		case schedule.Repeat:
			p.mu.Lock()
			p.repeat = true
			p.mu.Unlock()
		case schedule.Burst:
			p.mu.Lock()
			p.burst = burstSize
			p.mu.Unlock()
		default:
			return fmt.Errorf("nobody knows how to %s", f.Target)
		}
	}
	if f.Target == schedule.Stall {
		wait(ctx, f.For)
		for _, p := range chosen {
			h.Stall(p.ip, false)
		}
	}
	return nil
}
