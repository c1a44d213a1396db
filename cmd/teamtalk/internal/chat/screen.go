package chat

import (
	"context"
	"errors"
	"slices"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"teamtalk/client"
	"teamtalk/cmd/teamtalk/internal/words"
	"teamtalk/internal/share"
)

// focus says where keys go.
type focus int

const (
	onList focus = iota
	onInput
	onSearch
)

// screen is the full-screen view. It is a tea.Model and lives on the
// goroutine of its program.
type screen struct {
	ctx   context.Context //nolint:containedctx // the interface of bubbletea has no other place for it
	exec  func(context.Context, Effect) Event
	user  string // log-in name, until the account is known
	model *Model

	width, height int
	method        ansi.Method // how the terminal measures characters
	blurred       bool        // the terminal is not looked at
	help          bool
	helpTop       int
	details       bool   // what did not fit is shown instead
	flash         string // trouble, shown once in the status bar
	news          string // of files, shown there while the session is on-line
	said          []said // what the status bar has shown, the newest last
	long          *long  // what is asked about a text that is too long

	focus  focus
	input  editor
	drafts map[Key]editor // of the other conversations
	search editor

	contacts, groups []Key // as listed: what the search lets through
	selected         Key   // in the list
	contactTop       int   // first contact shown
	groupTop         int

	transcript transcript
	bottom     place // lowest line shown; zero: the end, and it stays there
}

// place is a line of the conversation.
type place struct {
	msg  *Message
	part int
}

// redraw asks for a complete redraw some frames after the terminal has grown:
// the renderer takes the new columns for blank after the first one.
type redraw struct{}

// redrawAfter is more than the time between two frames.
const redrawAfter = 100 * time.Millisecond

// happened is an Event on its way through the program.
type happened struct{ Event }

// RunScreen runs the full-screen view until the user leaves, ctx ends or the
// session ends for good; it returns why, nil for the first two.
func RunScreen(ctx context.Context, l *Link, user string) error {
	s := newScreen(ctx, l.Exec, user)
	p := tea.NewProgram(&paced{screen: s, now: time.Now}, tea.WithContext(ctx))
	ended := make(chan struct{})
	go func() {
		for {
			select {
			case e := <-l.Events():
				p.Send(happened{e})
			case <-ended:
				return
			}
		}
	}()
	_, err := p.Run()
	close(ended)
	if err != nil && !errors.Is(err, tea.ErrInterrupted) && ctx.Err() == nil {
		return words.Errorf(words.ScreenFailed, err)
	}
	if s.model.Final {
		return s.model.Problem
	}
	return nil
}

func newScreen(ctx context.Context, exec func(context.Context, Effect) Event, user string) *screen {
	s := &screen{
		ctx: ctx, exec: exec, user: user, model: NewModel(), width: 80, height: 24,
		drafts: make(map[Key]editor),
	}
	s.model.Lang = words.Of(ctx)
	return s
}

// Init implements tea.Model.
func (s *screen) Init() tea.Cmd { return nil }

// Update implements tea.Model.
func (s *screen) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	var cmds []tea.Cmd
	switch msg := msg.(type) {
	case happened:
		if ended, ok := msg.Event.(Ended); ok && !kicked(ended.Err) {
			s.model.Update(ended)
			return s, tea.Quit // the reason is printed below the prompt
		}
		cmds = append(cmds, s.apply(msg.Event))
	case tea.WindowSizeMsg:
		s.width, s.height = msg.Width, msg.Height
		cmds = append(cmds, tea.Tick(redrawAfter, func(time.Time) tea.Msg { return redraw{} }))
	case redraw:
		cmds = append(cmds, tea.ClearScreen)
	case tea.ModeReportMsg:
		if msg.Mode == ansi.ModeUnicodeCore &&
			(msg.Value == ansi.ModeReset || msg.Value == ansi.ModeSet || msg.Value == ansi.ModePermanentlySet) {
			s.method = ansi.GraphemeWidth // the program's renderer decides alike
		}
	case tea.FocusMsg:
		s.blurred = false
	case tea.BlurMsg:
		s.blurred = true
	case tea.PasteMsg:
		s.paste(msg.Content)
	case tea.KeyPressMsg:
		cmds = append(cmds, s.key(msg))
	}
	cmds = append(cmds, s.watch())
	return s, tea.Batch(cmds...)
}

// apply gives the model an event and starts what is to do.
func (s *screen) apply(e Event) tea.Cmd {
	effects, notices := s.model.Update(e)
	for _, n := range notices {
		switch n := n.(type) {
		case Trouble:
			s.complain(s.say(words.TroubleOf, n.What, n.Err))
		case FileNotice:
			s.tell(n.describe(s.model.Lang), !n.Ended)
		case PeerFileNotice:
			s.tell(n.describe(s.model.Lang, s.model.Nick(n.User)), !n.Ready)
		case StateNotice:
			s.noteState(n)
		case PathNotice:
			s.pathFound(n.PathFound)
		}
	}
	s.list()
	var cmds []tea.Cmd
	for _, effect := range effects {
		cmds = append(cmds, func() tea.Msg {
			if result := s.exec(s.ctx, effect); result != nil {
				return happened{result}
			}
			return nil
		})
	}
	return tea.Batch(cmds...)
}

// list brings the lists up to date and keeps the selection on them.
func (s *screen) list() {
	s.contacts = s.model.Contacts(s.search.text())
	s.groups = s.model.Groups(s.search.text())
	if all := s.entries(); !slices.Contains(all, s.selected) {
		s.selected = Key{}
		if len(all) > 0 {
			s.selected = all[0]
		}
	}
}

// entries returns the contacts and groups as listed.
func (s *screen) entries() []Key { return slices.Concat(s.contacts, s.groups) }

// watch tells the model when the newest messages come before the user's eyes,
// or are no longer.
func (s *screen) watch() tea.Cmd {
	on := s.model.Current != (Key{}) && s.bottom == (place{}) &&
		!s.blurred && !s.help && !s.details && s.showsConversation()
	if on == s.model.watching {
		return nil
	}
	return s.apply(Watch{on})
}

// open makes a conversation the current one, with the draft written in it.
func (s *screen) open(k Key) tea.Cmd {
	if k == (Key{}) {
		return nil
	}
	if k != s.model.Current {
		s.drafts[s.model.Current] = s.input
		if s.input.size() == 0 {
			delete(s.drafts, s.model.Current)
		}
		s.input, s.bottom = s.drafts[k], place{}
	}
	s.selected, s.focus, s.long = k, onInput, nil
	return s.apply(Open{k})
}

// send sends what is in the input, or does what it asks for. What is refused
// stays there.
func (s *screen) send() tea.Cmd {
	if s.input.size() == 0 || s.model.Current == (Key{}) {
		return nil
	}
	text, asked, err := parseInput(s.input.text())
	switch {
	case err != nil:
		s.complain(s.model.Lang.Explain(err))
		return nil
	case asked != nil:
		return s.request(asked)
	case len(text) > maxText:
		s.long = &long{text: text, parts: split(text, maxText)}
		return nil
	}
	return s.compose(text)
}

// compose sends texts to the current conversation, all or none.
func (s *screen) compose(texts ...string) tea.Cmd {
	k := s.model.Current
	if room := s.model.Room(k); len(texts) > room {
		s.complain(s.say(words.TooLongToSend, room))
		return nil
	}
	s.input.clear()
	s.bottom = place{}
	var cmds []tea.Cmd
	for _, text := range texts {
		cmds = append(cmds, s.apply(Compose{Key: k, ClientMsgID: client.NewClientMsgID(), Text: text, At: time.Now()}))
	}
	return tea.Batch(cmds...)
}

// request does what a command asks for.
func (s *screen) request(r *request) tea.Cmd {
	k := s.model.Current
	e, err := r.about(k)
	if err != nil {
		s.complain(s.model.Lang.Explain(err))
		return nil
	}
	var cmd tea.Cmd
	switch r.name {
	case "quit":
		return tea.Quit
	case "help":
		s.help, s.helpTop = true, 0
	case "who", "groups":
		s.focus = onList
	case "history":
		cmd = s.scroll(-s.page())
	case "to":
		found, ok := s.model.Find(r.rest)
		if !ok {
			s.complain(s.say(words.NobodyCalled, r.rest))
			return nil
		}
		s.input.clear()
		return s.open(found)
	default:
		cmd = s.apply(e)
	}
	s.input.clear()
	return cmd
}

// paste takes a pasted text.
func (s *screen) paste(text string) {
	switch {
	case s.help, s.details, s.long != nil, s.model.Final:
	case s.focus == onSearch:
		s.search.insert(cleanLine(text))
		s.list()
	case s.model.Current != (Key{}):
		s.focus = onInput
		s.insert(text)
	}
}

// insert puts a text into the input.
func (s *screen) insert(text string) {
	if !s.input.insert(text) {
		s.complain(s.say(words.TooMuchPasted, share.Bytes(uint64(len(text)))))
	}
}
