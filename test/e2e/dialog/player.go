package dialog

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"teamtalk/client"
	"teamtalk/internal/im"
	"teamtalk/internal/wire"
	"teamtalk/pb/message"
)

// Patience is how long an expected arrival may take. It only bounds how long a
// failing script runs: nothing passes or fails by being slow.
const Patience = 30 * time.Second

// World is where a script plays.
type World interface {
	// Addr returns the address of a server by the name behind the @.
	Addr(server string) (string, error)
	// CreateUsers makes sure that accounts exist, with password Password, and
	// returns their ids in the order of the names.
	CreateUsers(ctx context.Context, accounts []string) ([]im.UserID, error)
	// Do does what stands behind a ! and returns what it printed. Variables are
	// replaced.
	Do(ctx context.Context, words []string) (output string, err error)
}

// Password is the password of every account.
const Password = "secret"

// Player plays one script.
type Player struct {
	names
	world     World
	script    *Script
	terminals map[string]*terminal
}

// Play plays a script; tag makes the names of its accounts unique. The error
// names file and line.
func Play(ctx context.Context, s *Script, w World, tag string) error {
	p := &Player{
		names: names{
			tag: tag, users: make(map[string]im.UserID), groups: make(map[string]im.GroupID),
			vars: map[string]string{"tag": tag},
		},
		world: w, script: s, terminals: make(map[string]*terminal),
	}
	defer p.hangUp()
	if err := p.createUsers(ctx); err != nil {
		return fmt.Errorf("%s: create users: %w", s.Name, err)
	}
	for _, st := range s.steps {
		if err := p.step(ctx, st); err != nil {
			return fmt.Errorf("%s:%d: %w", s.Name, st.line, err)
		}
	}
	return p.finish(ctx)
}

// createUsers makes the accounts of all terminals.
func (p *Player) createUsers(ctx context.Context) error {
	if len(p.script.Users) == 0 {
		return nil
	}
	accounts := make([]string, len(p.script.Users))
	for i, user := range p.script.Users {
		accounts[i] = p.account(user)
	}
	ids, err := p.world.CreateUsers(ctx, accounts)
	if err != nil {
		return err
	}
	for i, user := range p.script.Users {
		p.users[user] = ids[i]
		p.vars[user] = strconv.FormatUint(uint64(ids[i]), 10)
	}
	return nil
}

// hangUp ends every connection.
func (p *Player) hangUp() {
	for _, t := range p.terminals {
		t.close()
	}
}

// finish checks that nothing is left over.
func (p *Player) finish(ctx context.Context) error {
	for _, name := range slices.Sorted(maps.Keys(p.terminals)) {
		t := p.terminals[name]
		if t.forgotten {
			continue
		}
		if err := p.settle(ctx, t); err != nil {
			return fmt.Errorf("%s: end: %s: %w", p.script.Name, name, err)
		}
		if left := t.leftover(); left != "" {
			return fmt.Errorf("%s: end: %s has also got: %s", p.script.Name, name, left)
		}
	}
	return nil
}

// step plays one line.
func (p *Player) step(ctx context.Context, st step) error {
	if st.kind == stepWorld {
		return p.do(ctx, st.words)
	}
	t, err := p.terminal(ctx, st)
	if err != nil {
		return err
	}
	if st.kind == stepExpect {
		err = p.expect(ctx, t, st.words)
	} else {
		err = p.act(ctx, t, st)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", st.terminal, err)
	}
	return nil
}

// do lets the world do something. "! group NAME is DEED" gives a name to the
// group whose id the deed prints first, "! let NAME is DEED" binds a variable to
// what it prints first.
func (p *Player) do(ctx context.Context, words []word) error {
	if words[0].text == "users" {
		return nil // created at the start
	}
	words, err := p.expand(words)
	if err != nil {
		return err
	}
	plain := make([]string, len(words))
	for i, w := range words {
		plain[i] = w.text
	}
	if len(plain) < 4 || plain[0] != "group" && plain[0] != "let" || plain[2] != "is" {
		_, err = p.world.Do(ctx, plain)
		return err
	}
	output, err := p.world.Do(ctx, plain[3:])
	if err != nil {
		return err
	}
	id, _, _ := strings.Cut(strings.TrimSpace(output), "\t")
	if plain[0] == "let" {
		p.vars[plain[1]] = id
		return nil
	}
	group, err := number(word{text: id})
	if err != nil {
		return fmt.Errorf("id of group %s: %w", plain[1], err)
	}
	p.groups[plain[1]], p.vars[plain[1]] = im.GroupID(group), id
	return nil
}

// terminal finds the terminal of a line, or makes it when a server is named.
func (p *Player) terminal(ctx context.Context, st step) (*terminal, error) {
	old := p.terminals[st.terminal]
	if st.server == "" {
		if old == nil {
			return nil, fmt.Errorf("%s has no server yet: %s@1", st.terminal, st.terminal)
		}
		return old, nil
	}
	if st.kind == stepExpect {
		return nil, fmt.Errorf("%s: a new connection does something first", st.terminal)
	}
	if old != nil && !old.forgotten {
		if left := old.leftover(); left != "" {
			return nil, fmt.Errorf("%s has also got: %s", st.terminal, left)
		}
		old.close()
	}
	t := &terminal{name: st.terminal, user: userOf(st.terminal), profile: client.Native()}
	for _, option := range st.options {
		key, value, pair := strings.Cut(option, "=")
		profile, known := client.ProfileNamed(option)
		switch {
		case key == "caps" && pair:
			t.caps = strings.Split(value, ",")
		case key == "device" && pair:
			t.device = value
		case known:
			t.profile = profile
		default:
			return nil, fmt.Errorf("%q is no profile and no option", option)
		}
	}
	p.terminals[st.terminal] = t
	if p.insists(st.words) {
		return t, nil // connects as often as it takes
	}
	return t, p.connect(ctx, t, st.server)
}

// connect connects a terminal to a server.
func (p *Player) connect(ctx context.Context, t *terminal, server string) error {
	addr, err := p.world.Addr(server)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	return t.open(ctx, addr)
}

// act lets a terminal do something, several times if the line says so.
func (p *Player) act(ctx context.Context, t *terminal, st step) error {
	words, err := p.expand(st.words)
	if err != nil {
		return err
	}
	if p.insists(words) {
		return p.insist(ctx, t, st.server, words[1:])
	}
	times, words, err := repeated(words)
	if err != nil {
		return err
	}
	verb, args, err := findVerb(words)
	if err != nil {
		return err
	}
	for range times {
		if err := verb(p, t, args); err != nil {
			return fmt.Errorf("%s: %w", words[0].text, err)
		}
	}
	return nil
}

// repeated takes a "N times" off a line.
func repeated(words []word) (int, []word, error) {
	if len(words) < 3 || words[1].text != "times" {
		return 1, words, nil
	}
	n, err := strconv.Atoi(words[0].text)
	if err != nil {
		return 0, nil, fmt.Errorf("%s times: %w", words[0].text, err)
	}
	return n, words[2:], nil
}

// findVerb finds a verb of one or two words.
func findVerb(words []word) (verb, []word, error) {
	if len(words) > 1 {
		if v, ok := verbs[words[0].text+" "+words[1].text]; ok {
			return v, words[2:], nil
		}
	}
	if v, ok := verbs[words[0].text]; ok {
		return v, words[1:], nil
	}
	return nil, nil, fmt.Errorf("nobody knows how to %q", words[0].text)
}

// expect plays a < line.
func (p *Player) expect(ctx context.Context, t *terminal, want []word) error {
	switch {
	case want[0].text == "nothing" && len(want) == 1:
		if err := p.settle(ctx, t); err != nil {
			return err
		}
		if left := t.leftover(); left != "" {
			return fmt.Errorf("want nothing, got %s", left)
		}
		return nil
	case want[0].text == "no" && len(want) > 1:
		if err := p.settle(ctx, t); err != nil {
			return err
		}
		want = want[1:]
		for _, e := range t.arrived {
			if len(e.words) >= len(want) && p.match(want, e.words[:len(want)]) {
				return fmt.Errorf("want no %s, got %s", render(want), render(e.words))
			}
		}
		return nil
	}
	if t.inbox == nil {
		return errors.New("never connected")
	}
	times, want, err := repeated(want)
	if err != nil {
		return err
	}
	for range times {
		if err := p.await(ctx, t, want); err != nil {
			return err
		}
	}
	return nil
}

// await waits for the first event of the sort of want and compares.
func (p *Player) await(ctx context.Context, t *terminal, want []word) error {
	key, deadline := keyOf(want), time.Now().Add(Patience)
	for {
		closed, news := p.collect(t)
		for i := 0; i < len(t.arrived); i++ {
			e := t.arrived[i]
			switch {
			case e.key != key:
			case p.match(want, e.words):
				t.arrived = slices.Delete(t.arrived, i, i+1)
				return nil
			case e.broadcast(): // older news, which may have been repeated
				t.arrived = slices.Delete(t.arrived, i, i+1)
				i--
			default:
				return fmt.Errorf("want %s, got %s", render(want), render(e.words))
			}
		}
		if closed || t.outraged() || !wait(ctx, news, deadline) {
			return fmt.Errorf("want %s, got nothing of the sort; arrived: [%s]", render(want), t.leftover())
		}
	}
}

// settle asks the server for the time and waits for the answer: what was sent
// to this connection before has then arrived.
func (p *Player) settle(ctx context.Context, t *terminal) error {
	if t.inbox == nil {
		return nil
	}
	if closed, _ := p.collect(t); closed || t.conn == nil {
		return nil
	}
	command, m, want := wire.TimeReq, proto.Message(&message.IMClientTimeReq{}), wire.TimeRes
	if t.me == 0 {
		command, m, want = wire.Heartbeat, nil, 0 // nothing else is answered before the log-in
	}
	last := t.lastPDU
	r, err := t.send(command, m, want, "settle")
	if err != nil {
		return err
	}
	if command == wire.Heartbeat {
		t.heartbeat = t.lastPDU
	}
	t.lastPDU = last
	deadline := time.Now().Add(Patience)
	for {
		closed, news := p.collect(t)
		if closed || (r != nil && r.left <= 0) || (r == nil && t.takeHeartbeat()) {
			return nil
		}
		if !wait(ctx, news, deadline) {
			return errors.New("the server does not answer any more")
		}
	}
}

// takeHeartbeat takes the echo of a heartbeat out of what arrived.
func (t *terminal) takeHeartbeat() bool {
	i := slices.IndexFunc(t.arrived, func(e event) bool { return e.key == "heartbeat" })
	if i < 0 {
		return false
	}
	t.arrived = slices.Delete(t.arrived, i, i+1)
	return true
}
