package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/imageclean/kubectl-imageclean/pkg/node"
)

// fake is a runtime in memory. Its fields may be changed between calls; the hooks run before the call that they name.
type fake struct {
	stored  []storedImage
	holders []node.Use
	noted   []record
	pause   []string
	aliases map[string]string // what only the runtime can resolve
	removed []string

	failUses   error
	failRemove error
	// failListAfter fails the first listing after a removal.
	failListAfter error
	// halfway has a removal fail that was carried out.
	halfway error
	// sticky images survive their removal.
	sticky   []string
	onUses   func(*fake)
	onRemove func(*fake)
	// noUndo makes it a runtime that can put nothing back.
	noUndo   bool
	failUndo error
	// unheld images cannot be put back.
	unheld map[string]error
	letGo  int
	asked  int
	mu     sync.Mutex // of what remove changes: it is called for several images at once
}

var _ runtime = (*fake)(nil)

// testID makes a full ID out of a short word.
func testID(word string) string {
	return "sha256:" + strings.Repeat("0", 64-2*len(word)) + fmt.Sprintf("%x", word)
}

func testDigest(repository, word string) string { return repository + "@" + testID("digest "+word) }

func stored(word string, names ...string) storedImage {
	img := storedImage{handle: testID(word), Image: node.Image{ID: testID(word), SizeBytes: 1}}
	for _, name := range names {
		if strings.Contains(name, "@") {
			img.Digests = append(img.Digests, name)
		} else {
			img.Names = append(img.Names, name)
		}
	}
	return img
}

func (f *fake) about(context.Context) (node.Runtime, error) {
	return node.Runtime{Name: "fake", Version: "1"}, nil
}

func (f *fake) images(ctx context.Context) ([]storedImage, error) {
	if len(f.removed) > 0 && f.failListAfter != nil {
		err := f.failListAfter
		f.failListAfter = nil
		return nil, err
	}
	return slices.Clone(f.stored), ctx.Err()
}

func (f *fake) image(ctx context.Context, ref string) (*storedImage, error) {
	f.asked++
	if alias, ok := f.aliases[ref]; ok {
		ref = alias
	}
	for _, img := range f.stored {
		if img.handle == ref {
			return &img, ctx.Err()
		}
	}
	return nil, ctx.Err()
}

func (f *fake) uses(ctx context.Context) ([]node.Use, error) {
	if f.onUses != nil {
		f.onUses(f)
	}
	return slices.Clone(f.holders), errors.Join(f.failUses, ctx.Err())
}

func (f *fake) sandboxRefs(context.Context) ([]string, error) { return f.pause, nil }
func (f *fake) records(context.Context) ([]record, error)     { return f.noted, nil }
func (f *fake) disk(context.Context) (node.Disk, error)       { return node.Disk{UsedBytes: 7}, nil }
func (f *fake) gauge(context.Context, []string) (gauge, error) {
	return func(_ context.Context, removed []string) (node.Freed, error) {
		return node.Freed{Bytes: int64(len(removed))}, nil
	}, nil
}

func (f *fake) remove(ctx context.Context, handle string) error {
	if f.failRemove != nil {
		return f.failRemove
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.removed = append(f.removed, handle)
	if !slices.Contains(f.sticky, handle) {
		f.stored = slices.DeleteFunc(f.stored, func(img storedImage) bool { return img.handle == handle })
	}
	if f.onRemove != nil {
		f.onRemove(f)
	}
	return errors.Join(f.halfway, ctx.Err())
}

func (f *fake) recoverAll(context.Context, string) ([]string, error) { return nil, nil }

func (f *fake) undo(_ context.Context, _ string, images []storedImage) (undo, error) {
	if f.noUndo || f.failUndo != nil {
		return nil, f.failUndo
	}
	return &fakeUndo{fake: f, images: images}, nil
}

type fakeUndo struct {
	fake   *fake
	images []storedImage
}

func (u *fakeUndo) holds(id string) error { return u.fake.unheld[id] }

func (u *fakeUndo) putBack(_ context.Context, id string) error {
	if slices.ContainsFunc(u.fake.stored, func(img storedImage) bool { return img.ID == id }) {
		return nil
	}
	at := slices.IndexFunc(u.images, func(img storedImage) bool { return img.ID == id })
	u.fake.stored = append(u.fake.stored, u.images[at])
	return nil
}

func (u *fakeUndo) letGo(context.Context) error { u.fake.letGo++; return nil }
