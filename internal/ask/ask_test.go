package ask

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"

	"teamtalk/internal/link"
	"teamtalk/internal/link/linktest"
	"teamtalk/internal/testenv"
	"teamtalk/internal/transport"
	"teamtalk/internal/wire"
	"teamtalk/pb/buddy"
)

// echo keeps questions until the test answers them.
type echo struct{ asked chan asked }

type asked struct {
	link *link.Link
	body []byte
}

func (*echo) LinkUp(*link.Link)   {}
func (*echo) LinkDown(*link.Link) {}
func (e *echo) LinkPDU(l *link.Link, pdu wire.PDU) {
	e.asked <- asked{l, append([]byte(nil), pdu.Body...)}
}

// callers is the end that asks.
type callers struct {
	Calls
	up       chan *link.Link
	outcomes chan Outcome
}

func (c *callers) LinkUp(l *link.Link)                { c.up <- l }
func (c *callers) LinkDown(l *link.Link)              { c.Lost(l) }
func (c *callers) LinkPDU(_ *link.Link, pdu wire.PDU) { c.outcomes <- c.Answered(pdu) }

// pair links a caller to an echo.
func pair(t *testing.T) (*callers, *link.Link, *echo) {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	e, c := &echo{asked: make(chan asked, 100)}, &callers{up: make(chan *link.Link, 10), outcomes: make(chan Outcome, 100)}
	addr := testenv.FreeAddr(t)
	there := link.New(link.Config{}, link.Deps{Log: log, Reg: prometheus.NewRegistry()})
	here := link.New(link.Config{}, link.Deps{Log: log, Reg: prometheus.NewRegistry()})
	ctx, cancel := context.WithCancel(context.Background())
	var running, keeping sync.WaitGroup
	run := func(addr string, h transport.Handler) *transport.Engine {
		engine, err := transport.New(transport.Config{
			Listeners: []transport.Listener{{Name: "link", Addr: addr, Handler: h, Limits: transport.LinkLimits}}, Loops: 1,
		}, transport.Deps{Log: log, Reg: prometheus.NewRegistry()})
		if err != nil {
			t.Fatal(err)
		}
		running.Go(func() { _ = engine.Run(ctx) })
		<-engine.Booted()
		return engine
	}
	run(addr, there.Accept(e))
	engine := run(testenv.FreeAddr(t), here.Accept(e))
	keepCtx, stopKeeping := context.WithCancel(ctx)
	keeping.Go(func() { here.Keep(keepCtx, engine, "db_proxy", addr, c) })
	t.Cleanup(func() {
		stopKeeping()
		keeping.Wait()
		cancel()
		running.Wait()
	})
	return c, linktest.Wait(t, c.up, "the link"), e
}

// question asks for the state of a user.
func question(user uint32) *buddy.IMUsersStatReq {
	return &buddy.IMUsersStatReq{UserId: proto.Uint32(0), UserIdList: []uint32{user}}
}

// answer sends the question back as its own answer.
func (a asked) answer() { a.link.SendPDU(wire.UsersStatusRes, 0, a.body) }

func (c *callers) ask(ctx context.Context, l *link.Link, user uint32) (uint32, error) {
	body, err := c.Exchange(ctx, l, question(user), wire.UsersStatusReq, wire.UsersStatusRes)
	if err != nil {
		return 0, err
	}
	res := new(buddy.IMUsersStatReq)
	if err := proto.Unmarshal(body, res); err != nil {
		return 0, err
	}
	return res.GetUserIdList()[0], nil
}

// TestExchange: everybody gets his own answer, in whatever order they come.
func TestExchange(t *testing.T) {
	t.Parallel()
	c, l, e := pair(t)
	const many = 50
	var all sync.WaitGroup
	for i := range uint32(many) {
		all.Go(func() {
			if got, err := c.ask(t.Context(), l, i); err != nil || got != i {
				t.Errorf("%d: %d, %v", i, got, err)
			}
		})
	}
	var questions []asked
	for range many {
		questions = append(questions, linktest.Wait(t, e.asked, "a question"))
	}
	for i := range questions {
		questions[(i*7)%many].answer()
	}
	all.Wait()
	for range many {
		if got := linktest.Wait(t, c.outcomes, "an outcome"); got != Taken {
			t.Errorf("outcome %v", got)
		}
	}
	questions[0].answer() // once more
	if got := linktest.Wait(t, c.outcomes, "an outcome"); got != Late {
		t.Errorf("a second answer is %v", got)
	}
	if len(c.waiting) != 0 {
		t.Errorf("%d are still waited for", len(c.waiting))
	}
}

// TestNoAnswer: whoever waits for none is told why.
func TestNoAnswer(t *testing.T) {
	t.Parallel()
	c, l, e := pair(t)
	if _, err := c.ask(t.Context(), nil, 1); !errors.Is(err, ErrNoServer) {
		t.Errorf("no link: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { _, err := c.ask(ctx, l, 1); ended <- err }()
	late := linktest.Wait(t, e.asked, "a question")
	cancel()
	if err := linktest.Wait(t, ended, "the end"); !errors.Is(err, context.Canceled) {
		t.Errorf("given up: %v", err)
	}
	late.answer()
	if got := linktest.Wait(t, c.outcomes, "an outcome"); got != Late {
		t.Errorf("a late answer is %v", got)
	}
	go func() { _, err := c.ask(t.Context(), l, 2); ended <- err }()
	q := linktest.Wait(t, e.asked, "a question")
	q.link.SendPDU(wire.UserInfoRes, 0, q.body) // the answer to another question
	if got := linktest.Wait(t, c.outcomes, "an outcome"); got != Late {
		t.Errorf("the wrong answer is %v", got)
	}
	q.link.Close("test")
	if err := linktest.Wait(t, ended, "the end"); !errors.Is(err, ErrLost) {
		t.Errorf("a lost link: %v", err)
	}
	if _, err := c.ask(t.Context(), l, 3); !errors.Is(err, ErrLost) {
		t.Errorf("a link that is gone: %v", err)
	}
	for range maxWaiting {
		if _, ok := c.add(&call{}); !ok {
			t.Fatal("too few fit")
		}
	}
	if _, err := c.ask(t.Context(), l, 4); !errors.Is(err, ErrTooMany) {
		t.Errorf("too many: %v", err)
	}
}

// TestOthers: attach_data of others is left to them, and garbage is nobody's.
func TestOthers(t *testing.T) {
	t.Parallel()
	var c Calls
	ours := question(1)
	setAttach(ours, 7)
	for name, attach := range map[string][]byte{"none": nil, "short": []byte("A1"), "another mark": []byte("B12345678")} {
		body, err := proto.Marshal(&buddy.IMUsersStatReq{UserId: proto.Uint32(1), AttachData: attach})
		if err != nil {
			t.Fatal(err)
		}
		if got := c.Answered(wire.PDU{Header: wire.Header{Command: wire.UsersStatusRes}, Body: body}); got != Other {
			t.Errorf("%s: %v", name, got)
		}
	}
	whole, err := proto.Marshal(ours)
	if err != nil {
		t.Fatal(err)
	}
	if id, ok := attachOf(whole); !ok || id != 7 {
		t.Errorf("read back: %d, %v", id, ok)
	}
	for n := range whole {
		t.Run(strconv.Itoa(n), func(t *testing.T) {
			t.Parallel()
			if got := c.Answered(wire.PDU{Body: whole[:n]}); got != Other {
				t.Errorf("%d bytes: %v", n, got)
			}
		})
	}
}
