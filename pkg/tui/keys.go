package tui

import (
	"charm.land/bubbles/v2/key"
)

// keyMap is every key of the screen.
type keyMap struct {
	Down, Up, PageDown, PageUp, Top, Bottom                            key.Binding
	Mark, Range, MarkShown, UnmarkShown, Undo, Redo                    key.Binding
	Filter, Clear, Sort, Reverse, Group                                key.Binding
	RemoveTab, AllTab, KeptTab, NodesTab, WarningsTab, Focus, Detail   key.Binding
	Protect, Save, Remove, Finished, Suspend, Help, Leave, LeaveAtOnce key.Binding
}

func bind(help, does string, keys ...string) key.Binding {
	return key.NewBinding(key.WithKeys(keys...), key.WithHelp(help, does))
}

// Bindings without a help are told of by the one before them.
var keys = keyMap{
	Down:        bind("j k", "down, up; also the arrows", "j", "down"),
	Up:          bind("", "", "k", "up"),
	PageDown:    bind("PgDn PgUp", "page down, up; also ctrl+f, ctrl+b", "pgdown", "ctrl+f"),
	PageUp:      bind("", "", "pgup", "ctrl+b"),
	Top:         bind("gg G", "to the first row, the last", "home"), // g waits for a second key: see pressGroup
	Bottom:      bind("", "", "G", "end"),
	Mark:        bind("space", "mark, unmark: row, range, group", "space"),
	Range:       bind("V", "begin a range; space marks it", "V"),
	MarkShown:   bind("a", "mark all that is shown", "a"),
	UnmarkShown: bind("A", "unmark all that is shown", "A"),
	Undo:        bind("u", "undo the last marks", "u"),
	Redo:        bind("ctrl+r", "redo them", "ctrl+r"),
	Filter:      bind("/", "filter; enter keeps it, esc clears", "/"),
	Clear:       bind("esc", "ends range, pane, filter", "esc"),
	Sort:        bind("s", "sort: size, age, name, vuln, nodes", "s"),
	Reverse:     bind("S", "reverse the order", "S"),
	Group:       bind("g then rnix", "by reason, node, image, registry", "g"),
	RemoveTab:   bind("1 to 5", "goes, all, stays, nodes, warnings", "1"),
	AllTab:      bind("", "", "2"),
	KeptTab:     bind("", "", "3"),
	NodesTab:    bind("", "", "4"),
	WarningsTab: bind("", "", "5"),
	Detail:      bind("enter", "detail pane; fold a group", "enter"),
	Focus:       bind("tab", "scroll the pane, or the list", "tab"),
	Protect:     bind("x", "protect: tag, repository, prefix", "x"),
	Save:        bind("ctrl+s", "save the plan, for apply -f", "ctrl+s"),
	Remove:      bind("D", "remove what is marked; asks first", "D"),
	Finished:    bind("e", "while removing: finished nodes too", "e"),
	Suspend:     bind("ctrl+z", "suspend, unless nodes are at work", "ctrl+z"),
	Help:        bind("?", "this help", "?"),
	Leave:       bind("q", "leave, after what is in flight", "q"),
	LeaveAtOnce: bind("ctrl+c", "the same; twice: leave now", "ctrl+c"),
}

// KeyHelp is what keys do, or what a word of the filter means.
type KeyHelp struct{ Keys, Does string }

// Keys are all keys, for the help and for documentation.
func Keys() []KeyHelp {
	var all []KeyHelp
	for _, b := range keys.list() {
		if help := b.Help(); help.Key != "" {
			all = append(all, KeyHelp{help.Key, help.Desc})
		}
	}
	return all
}

func (k keyMap) list() []key.Binding {
	return []key.Binding{
		k.Down, k.Up, k.PageDown, k.PageUp, k.Top, k.Bottom,
		k.Mark, k.Range, k.MarkShown, k.UnmarkShown, k.Undo, k.Redo,
		k.Filter, k.Clear, k.Sort, k.Reverse, k.Group,
		k.RemoveTab, k.AllTab, k.KeptTab, k.NodesTab, k.WarningsTab, k.Detail, k.Focus,
		k.Protect, k.Save, k.Remove, k.Finished, k.Suspend, k.Help, k.Leave, k.LeaveAtOnce,
	}
}
