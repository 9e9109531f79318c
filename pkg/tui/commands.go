package tui

import (
	"context"
	"slices"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/imageclean/kubectl-imageclean/pkg/clean"
	"github.com/imageclean/kubectl-imageclean/pkg/image"
	"github.com/imageclean/kubectl-imageclean/pkg/plan"
)

// What comes back from commands.
type (
	tickMsg  struct{}
	endedMsg struct{} // the run's context has ended
	// soFarMsg is what is known while the preview is under way; nil when that is nothing, or nothing new.
	soFarMsg struct {
		catalog *catalog
		took    time.Duration
	}
	arrangedMsg struct{ *arrangement }
	// returnedMsg says that the engine is free again.
	returnedMsg struct{ tea.Msg }

	previewedMsg struct {
		catalog *catalog
		err     error
	}
	refreshedMsg struct {
		catalog *catalog
		locked  []pair
		err     error
		took    time.Duration
	}
	recheckedMsg struct {
		plan *plan.Plan
		err  error
	}
	appliedMsg   struct{ result *clean.Result }
	protectedMsg struct {
		pattern, where string
		err            error
	}
	savedMsg struct {
		path string
		err  error
	}
	nearMsg struct {
		id      string
		catalog *catalog
		misses  []image.NearMiss
	}
)

// How often the screen looks.
const (
	tickEvery    = 100 * time.Millisecond
	pollEvery    = 500 * time.Millisecond
	pollShare    = 10 // a poll waits so many times what the last one took
	refreshEvery = 10 * time.Second
	refreshShare = 20
)

func (m *model) tick() tea.Cmd {
	return m.after(tickEvery, func(time.Time) tea.Msg { return tickMsg{} })
}

func (m *model) untilEnded() tea.Cmd {
	ctx := m.ctx
	return func() tea.Msg {
		<-ctx.Done()
		return endedMsg{}
	}
}

// poll looks what the preview has found so far, after a while.
func (m *model) poll(after time.Duration) tea.Cmd {
	engine, now, before, calls := m.engine, m.options.Now, m.decided, m.calls
	return m.after(max(pollEvery, after), func(time.Time) tea.Msg {
		if !calls.begin() {
			return nil
		}
		defer calls.end()
		began := now()
		p := engine.SoFar()
		if p == nil || p == before {
			return soFarMsg{took: now().Sub(began)}
		}
		return soFarMsg{newCatalog(p), now().Sub(began)}
	})
}

// arrange makes the rows anew. What was asked for before comes too late.
func (m *model) arrange() tea.Cmd {
	m.generation++
	r := m.request()
	return func() tea.Msg { return arrangedMsg{arrange(r)} }
}

// call is something the engine is to do. It does one after the other.
type call struct {
	kind callKind
	do   func(context.Context) tea.Msg
}

type callKind int

const (
	callPreview callKind = iota
	callRefresh
	callRecheck
	callApply
	callProtect
	callSave
	callNear
)

type runningCall struct {
	kind   callKind
	cancel func()
}

func (m *model) enqueue(c call) tea.Cmd {
	m.queue = append(m.queue, c)
	return m.proceed()
}

// proceed has the engine do what comes next, if it is free.
func (m *model) proceed() tea.Cmd {
	if m.running != nil || len(m.queue) == 0 {
		return nil
	}
	c := m.queue[0]
	m.queue = m.queue[1:]
	ctx, cancel := context.WithCancel(m.ctx)
	m.running = &runningCall{c.kind, cancel}
	calls := m.calls
	return func() tea.Msg {
		if !calls.begin() {
			return nil
		}
		defer calls.end()
		return returnedMsg{c.do(ctx)}
	}
}

// busy says whether the engine does such a thing, or is to.
func (m *model) busy(kind callKind) bool {
	if m.running != nil && m.running.kind == kind {
		return true
	}
	for _, c := range m.queue {
		if c.kind == kind {
			return true
		}
	}
	return false
}

// makeWay ends what only serves to look, for something that a person waits for. What a person has asked for before is done first.
func (m *model) makeWay() {
	m.queue = slices.DeleteFunc(m.queue, func(c call) bool { return c.kind == callRefresh || c.kind == callNear })
	if m.running != nil && m.running.kind == callRefresh {
		m.running.cancel()
	}
}

func (m *model) preview() call {
	return call{callPreview, func(ctx context.Context) tea.Msg {
		p, err := m.engine.Preview(ctx)
		if err != nil {
			return previewedMsg{err: err}
		}
		return previewedMsg{catalog: newCatalog(p)}
	}}
}

func (m *model) refresh() call {
	engine, now, before := m.engine, m.options.Now, m.next
	return call{callRefresh, func(ctx context.Context) tea.Msg {
		began := now()
		p, err := engine.Refresh(ctx)
		took := now().Sub(began)
		if err != nil {
			return refreshedMsg{err: err, took: took}
		}
		c := newCatalog(p)
		return refreshedMsg{catalog: c, locked: c.lockedSince(before), took: took}
	}}
}

func (m *model) recheck(approved *plan.Plan) call {
	engine := m.engine
	return call{callRecheck, func(ctx context.Context) tea.Msg {
		p, err := engine.Recheck(ctx, approved)
		if err == nil {
			err = onlyLess(p, approved)
		}
		return recheckedMsg{p, err}
	}}
}

func (m *model) apply(approved *plan.Plan) call {
	engine, calls := m.engine, m.calls
	return call{callApply, func(ctx context.Context) tea.Msg {
		result := engine.Apply(ctx, approved)
		calls.keep(result)
		return appliedMsg{result}
	}}
}

func (m *model) protect(pattern string) call {
	engine := m.engine
	return call{callProtect, func(ctx context.Context) tea.Msg {
		where, err := engine.Protect(ctx, pattern)
		return protectedMsg{pattern, where, err}
	}}
}

func (m *model) save(p *plan.Plan) call {
	engine := m.engine
	return call{callSave, func(context.Context) tea.Msg {
		path, err := engine.Save(p)
		return savedMsg{path, err}
	}}
}

func (m *model) nearMisses(img *plan.Image) call {
	engine, id, c := m.engine, img.Identity, m.shown.catalog
	return call{callNear, func(context.Context) tea.Msg { return nearMsg{id.ID, c, engine.NearMisses(id)} }}
}
