// Package pages reads the commands of the documentation, for tests that type them as they are printed.
package pages

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

var fence = regexp.MustCompile("(?ms)^```([^\n]*)\n(.*?)^```$")

// Blocks are the code blocks of a page that are in one of the languages, of which the empty one is of blocks that name none.
func Blocks(page string, languages ...string) []string {
	var blocks []string
	for _, block := range fence.FindAllStringSubmatch(page, -1) {
		if slices.Contains(languages, block[1]) {
			blocks = append(blocks, block[2])
		}
	}
	return blocks
}

var inline = regexp.MustCompile("`(kubectl imageclean [^`]+)`")

// Named are the plugin's commands between backticks.
func Named(page string) []string {
	var commands []string
	for _, code := range inline.FindAllStringSubmatch(page, -1) {
		commands = append(commands, code[1])
	}
	return commands
}

// Commands are those of a block of shell, one by one, without comments. A here-document belongs to its command.
func Commands(block string) ([]string, error) {
	file, err := syntax.NewParser().Parse(strings.NewReader(block), "")
	if err != nil {
		return nil, fmt.Errorf("reading %q: %w", block, err)
	}
	var commands []string
	for _, statement := range file.Stmts {
		commands = append(commands, strings.TrimSpace(block[statement.Pos().Offset():statement.End().Offset()]))
	}
	return commands, nil
}
