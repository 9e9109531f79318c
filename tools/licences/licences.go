package main

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// named are the files that say under which licence something is, and what has to be passed on with it.
var named = regexp.MustCompile(`(?i)^(un)?(licen[cs]es?|copying|notices?|patents|copyright)([-._].*)?$`)

// program is source that is called so.
var program = regexp.MustCompile(`(?i)\.(go|s|c|h|sh|py|tmpl|tpl)$`)

// collect finds the licences of packages: those of the folders from each package up to what its owner has. It returns for each text
// whose it is: equal ones are kept once.
func collect(with toolchain, linked []linkedPackage) (map[string][]string, error) {
	files := map[string]string{} // by path, whose they are
	ownersWithout := map[string]bool{}
	for _, p := range linked {
		name, folder := with.owner(&p)
		if _, known := ownersWithout[name]; !known {
			ownersWithout[name] = true
		}
		for dir := p.Dir; strings.HasPrefix(dir, folder); dir = filepath.Dir(dir) {
			found, err := licencesIn(dir)
			if err != nil {
				return nil, err
			}
			for _, path := range found {
				part, err := filepath.Rel(folder, path)
				if err != nil {
					return nil, err
				}
				files[path] = name + ", " + filepath.ToSlash(part)
				ownersWithout[name] = false
			}
		}
	}
	maps.DeleteFunc(ownersWithout, func(_ string, without bool) bool { return !without })
	if len(ownersWithout) > 0 {
		return nil, fmt.Errorf("%s: no licence is found", strings.Join(slices.Sorted(maps.Keys(ownersWithout)), ", "))
	}
	if len(files) == 0 {
		return nil, errors.New("it links nothing of others")
	}
	texts := map[string][]string{}
	for path, whose := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		plain := string(bytes.TrimSpace(bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n"))))
		texts[plain] = append(texts[plain], whose)
	}
	return texts, nil
}

// licencesIn are the files with licences in a folder.
func licencesIn(folder string) ([]string, error) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, err
	}
	var found []string
	for _, entry := range entries {
		if entry.Type().IsRegular() && named.MatchString(entry.Name()) && !program.MatchString(entry.Name()) {
			found = append(found, filepath.Join(folder, entry.Name()))
		}
	}
	return found, nil
}

// document is everything in one text.
func document(program string, texts map[string][]string) []byte {
	for _, whose := range texts {
		slices.Sort(whose)
	}
	order := slices.SortedFunc(maps.Keys(texts), func(a, b string) int { return slices.Compare(texts[a], texts[b]) })
	var out bytes.Buffer
	fmt.Fprintf(&out, "What %s has of others, and the licences that come with it. LICENSE is the licence of the rest.\n", program)
	for _, text := range order {
		fmt.Fprintf(&out, "\n%s\n\n%s\n\n%s\n", strings.Repeat("=", 80), strings.Join(texts[text], "\n"), text)
	}
	return out.Bytes()
}
