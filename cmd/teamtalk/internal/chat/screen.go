package chat

import (
	"context"
	"errors"
	"slices"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"teamtalk/client"
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
	flash         string // trouble, shown once in the status bar
	news          string // of files, shown there while the session is on-line

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
	p := tea.NewProgram(s, tea.WithContext(ctx))
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
		return err
	}
	if s.model.Final {
		return s.model.Problem
	}
	return nil
}

func newScreen(ctx context.Context, exec func(context.Context, Effect) Event, user string) *screen {
	return &screen{
		ctx: ctx, exec: exec, user: user, model: NewModel(), width: 80, height: 24,
		drafts: make(map[Key]editor),
	}
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
		if trouble, ok := n.(Trouble); ok {
			s.flash = trouble.What + ": " + explain(trouble.Err)
		}
		switch n := n.(type) {
		case FileNotice:
			s.flash, s.news = "", n.describe()
		case PeerFileNotice:
			s.flash, s.news = "", n.describe(s.model.Nick(n.User))
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
	s.contacts = s.model.Contacts(s.search.text)
	s.groups = s.model.Groups(s.search.text)
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
	on := s.model.Current != (Key{}) && s.bottom == (place{}) && !s.blurred && !s.help && s.showsConversation()
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
		if s.input.text == "" {
			delete(s.drafts, s.model.Current)
		}
		s.input, s.bottom = s.drafts[k], place{}
	}
	s.selected, s.focus = k, onInput
	return s.apply(Open{k})
}

// send sends what is in the input.
func (s *screen) send() tea.Cmd {
	if s.input.text == "" || s.model.Current == (Key{}) {
		return nil
	}
	if e, ok := fileCommand(s.model.Current, ":", s.input.text); ok {
		s.input.clear()
		return s.apply(e)
	}
	s.bottom = place{}
	return s.apply(Compose{
		Key: s.model.Current, ClientMsgID: client.NewClientMsgID(), Text: s.input.clear(), At: time.Now(),
	})
}

// paste takes a pasted text.
func (s *screen) paste(text string) {
	switch {
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
		s.flash = "a message has room for no more"
	}
}
