package chat

import (
	"time"

	tea "charm.land/bubbletea/v2"
)

// frame is how long a drawing lasts at least.
const frame = 16 * time.Millisecond

// paced is a screen that is drawn at most once a frame: a terminal that pastes
// as keys sends thousands of them at once.
type paced struct {
	*screen
	now   func() time.Time
	drawn time.Time // when last was drawn
	last  tea.View
	owed  bool // something has changed since, and a frameEnd comes
}

// frameEnd asks for the drawing that is owed.
type frameEnd struct{}

// Update implements tea.Model.
func (p *paced) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	if _, ok := msg.(frameEnd); ok {
		p.owed = false
		return p, nil
	}
	_, cmd := p.screen.Update(msg)
	if !p.owed && p.now().Sub(p.drawn) < frame {
		p.owed = true
		cmd = tea.Batch(cmd, tea.Tick(frame, func(time.Time) tea.Msg { return frameEnd{} }))
	}
	return p, cmd
}

// View implements tea.Model.
func (p *paced) View() tea.View {
	if !p.owed {
		p.last, p.drawn = p.screen.View(), p.now()
	}
	return p.last
}
