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

var keys = keyMap{
	Down:        bind("j, down", "down", "j", "down"),
	Up:          bind("k, up", "up", "k", "up"),
	PageDown:    bind("PgDn, ctrl+f", "a page down", "pgdown", "ctrl+f"),
	PageUp:      bind("PgUp, ctrl+b", "a page up", "pgup", "ctrl+b"),
	Top:         bind("gg, Home", "to the first row", "home"), // g waits for a second key: see update_keys.go
	Bottom:      bind("G, End", "to the last row", "G", "end"),
	Mark:        bind("space", "mark, or take the mark away: a row, a range, a group by its heading", "space"),
	Range:       bind("V", "begin a range; space marks it", "V"),
	MarkShown:   bind("a", "mark all that is shown", "a"),
	UnmarkShown: bind("A", "unmark all that is shown", "A"),
	Undo:        bind("u", "undo the last marks", "u"),
	Redo:        bind("ctrl+r", "redo them", "ctrl+r"),
	Filter:      bind("/", "filter", "/"),
	Clear:       bind("esc", "end the range, close the pane, clear the filter", "esc"),
	Sort:        bind("s", "sort by the next: size, age, name, findings, nodes", "s"),
	Reverse:     bind("S", "reverse the order", "S"),
	Group:       bind("g then r n i x", "group by reason, node, image or registry", "g"),
	RemoveTab:   bind("1", "what goes, or can be marked", "1"),
	AllTab:      bind("2", "all images", "2"),
	KeptTab:     bind("3", "what stays", "3"),
	NodesTab:    bind("4", "nodes", "4"),
	WarningsTab: bind("5", "warnings", "5"),
	Detail:      bind("enter", "open or close the detail pane; on a heading: fold the group", "enter"),
	Focus:       bind("tab", "scroll the pane, or the list again", "tab"),
	Protect:     bind("x", "protect for good: a tag, a repository or a prefix", "x"),
	Save:        bind("ctrl+s", "save the plan, for kubectl imageclean apply", "ctrl+s"),
	Remove:      bind("D", "remove what is marked, after asking", "D"),
	Finished:    bind("e", "while removing: show finished nodes too, or not", "e"),
	Suspend:     bind("ctrl+z", "suspend, unless nodes wait for this program", "ctrl+z"),
	Help:        bind("?", "this help", "?"),
	Leave:       bind("q", "leave; while removing: finish what is in flight, then leave", "q"),
	LeaveAtOnce: bind("ctrl+c", "leave, as q; twice: leave now, whatever is in flight", "ctrl+c"),
}

// KeyHelp is what keys do, or what a word of the filter means.
type KeyHelp struct{ Keys, Does string }

// Keys are all keys, for the help and for documentation.
func Keys() []KeyHelp {
	var all []KeyHelp
	for _, b := range keys.list() {
		all = append(all, KeyHelp{b.Help().Key, b.Help().Desc})
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
