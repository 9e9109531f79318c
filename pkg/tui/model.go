package tui

import (
	"context"
	"time"

	"charm.land/bubbles/v2/textinput"
	tea "charm.land/bubbletea/v2"

	"github.com/imageclean/kubectl-imageclean/pkg/clean"
	"github.com/imageclean/kubectl-imageclean/pkg/image"
	"github.com/imageclean/kubectl-imageclean/pkg/plan"
)

// state is what the screen is about.
type state int

const (
	stateLoading    state = iota // nothing is known yet
	stateScanning                // rows come in
	stateReview                  // a person reads and marks
	stateRechecking              // nodes and cluster are asked once more
	stateConfirming              // a person is asked
	stateRemoving                // what was confirmed is removed
	stateDone                    // and has been
)

// model is the whole screen. Only Update changes it; what takes time is done in commands.
type model struct {
	ctx     context.Context
	stop    func() // ends ctx
	engine  Engine
	board   *Board
	options Options
	calls   *calls
	after   func(time.Duration, func(time.Time) tea.Msg) tea.Cmd

	width, height int
	state         state
	started       time.Time

	running *runningCall
	queue   []call

	// next is the catalog that was made last, shown what the rows are of: it follows as soon as they are arranged.
	next       *catalog
	shown      *arrangement
	generation int
	tallies    []groupTally // of the shown groups; nil when marks have changed
	marks      *marks
	onNodes    []tally // what is marked on each node, of onNodesOf
	onNodesOf  detailKey

	tab        tab
	grouping   grouping
	order      order
	collapsed  map[string]bool
	filter     filter
	filterErr  error
	input      textinput.Model // the filter while it is typed
	filtering  bool
	cursor     int
	touched    bool // a key was pressed
	top        int  // the first row on screen
	rangeFrom  int  // noRange, or the row where a range begins
	groupKey   bool
	nodesTop   int // the first line on screen of tabs without marks
	help       bool
	dialog     dialog
	detail     detail
	showDone   bool // finished nodes too, while removing
	message    message
	fleet      *fleet
	download   *download
	warnings   []string
	warned     map[string]bool // what is in warnings
	decided    *plan.Plan
	decidedAt  time.Time
	refreshAt  time.Time // when to decide anew
	lost       []pair    // what a person would have had removed, and a later plan keeps
	staleSince time.Time // since when the cluster has not answered; zero while it does

	confirm   *confirmation
	removing  *plan.Plan
	removedAt time.Time // when the removal began, and how long it took
	took      time.Duration
	result    *clean.Result

	leaving  bool
	leaveErr error
	atOnce   bool
}

const noRange = -1

// message is what the status line says for a while.
type message struct {
	text  string
	until time.Time
	bad   bool
}

// dialog takes the keys while it is open.
type dialog interface {
	press(m *model, key tea.KeyPressMsg) tea.Cmd
	lines(m *model) []string
}

// detail is the pane about the image under the cursor.
type detail struct {
	open, focused bool
	top           int
	// of is what the lines are about; they are made anew when it changes.
	of    detailKey
	lines []string
	// near are the exclusions that nearly mean the image nearOf of the catalog nearIn.
	near   []image.NearMiss
	nearOf string
	nearIn *catalog
}

func newModel(ctx context.Context, stop func(), engine Engine, board *Board, options Options) *model {
	empty := newCatalog(&plan.Plan{})
	m := &model{
		ctx: ctx, stop: stop, engine: engine, board: board, options: options, calls: &calls{}, after: tea.Tick,
		next: empty, marks: newMarks(empty), tab: tabAll, collapsed: map[string]bool{}, rangeFrom: noRange, fleet: newFleet(),
		input: textinput.New(), started: options.Now(),
	}
	m.shown = arrange(m.request())
	m.input.Prompt = "/"
	m.input.CharLimit = 500
	m.input.KeyMap.Paste.SetEnabled(false) // terminals paste by themselves
	styles := m.input.Styles()
	styles.Cursor.Blink = false
	m.input.SetStyles(styles)
	return m
}

// Init starts the preview and the clock.
func (m *model) Init() tea.Cmd {
	return tea.Batch(m.tick(), m.untilEnded(), m.enqueue(m.preview()), m.poll(0))
}

func (m *model) now() time.Time { return m.options.Now() }

// request is what the rows are to be by now.
func (m *model) request() request {
	collapsed := make(map[string]bool, len(m.collapsed))
	for name := range m.collapsed {
		collapsed[name] = true
	}
	r := request{
		generation: m.generation, catalog: m.next, tab: m.tab, grouping: m.grouping, order: m.order, filter: m.filter, now: m.now(),
		collapsed: collapsed,
	}
	if m.shown != nil && m.shown.catalog == r.catalog && m.shown.order == r.order {
		r.sorted = m.shown.sorted
	}
	return r
}

// say puts a message on the status line.
func (m *model) say(text string) {
	m.message = message{text: oneLine(text), until: m.now().Add(messageTime)}
}

// complain is say for what has gone wrong, or does not work.
func (m *model) complain(text string) {
	m.say(text)
	m.message.bad = true
}

const messageTime = 8 * time.Second

// warn keeps a message for the tab of warnings.
func (m *model) warn(text string) {
	text = oneLine(text)
	if m.warned == nil {
		m.warned = map[string]bool{}
	}
	if !m.warned[text] {
		m.warned[text], m.warnings = true, append(m.warnings, text)
	}
}

// current is the row under the cursor.
func (m *model) current() (row, bool) {
	if !m.tab.listsImages() || m.cursor >= len(m.shown.rows) {
		return row{}, false
	}
	return m.shown.rows[m.cursor], true
}
