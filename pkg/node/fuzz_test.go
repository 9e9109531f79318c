package node

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// FuzzStream holds both directions of an exec stream to what the other side relies on: whatever arrives, nothing panics, nothing
// that was cut short or counted wrongly passes for whole, and what was sent is what is read.
func FuzzStream(f *testing.F) {
	for _, stream := range []string{
		"", "\n", "{}\n", "[]\n", "null\n", "panic: runtime error\n", itemA, itemA[:20],
		itemA + `{"end":"inventory","count":1}`, itemA + `{"end":"inventory","count":1}` + "\n",
		`{"heartbeat":true}` + "\n" + itemA + itemA + `{"heartbeat":true}` + "\n" + `{"end":"inventory","count":2}` + "\n" + itemA,
		itemA + `{"end":"remove","count":1}` + "\n", `{"end":"inventory","count":-1}` + "\n", `{"end":"inventory"}` + "\n",
		`{"error":"no"}` + "\n" + `{"end":"inventory","count":0}` + "\n", `{"END":"inventory","Count":0}` + "\n",
		"2\n{}\n\n", "3\n{} \n", "4\n{}{}", "5\n{}abc", "10\n{}", "-1\n", "007\n{}     \n", "99999999\n{}", "16\n{\"targets\":null}", "17\n{\"unknown\":\"abc\"}",
		"a\nb\n\xff\n<>&\u2028", strings.Repeat("9", 100),
	} {
		f.Add([]byte(stream), uint(len(stream)/2))
	}
	f.Fuzz(func(t *testing.T, stream []byte, at uint) {
		checkAnswer(t, stream, at)
		checkRequest(t, stream, at)
		checkSent(t, stream, at)
	})
}

// collect reads an answer as a driver does, and says how many items and lines it had.
func collect(answer []byte) (inv Inventory, items, lines int, err error) {
	err = ReadAnswer(bytes.NewReader(answer), VerbInventory, func(item Item) error {
		items++
		return inv.Add(item)
	}, func() { lines++ })
	return inv, items, lines, err
}

// checkAnswer reads stream as an answer and, where it passes for whole, takes parts of it away.
func checkAnswer(t *testing.T, stream []byte, at uint) {
	t.Helper()
	_, whole, lines, err := collect(stream)
	if err != nil {
		return
	}
	// Nothing behind the end was read.
	taken := slices.Collect(bytes.Lines(stream))[:lines]
	text := bytes.Join(taken, nil)
	if _, again, _, err := collect(text); err != nil || again != whole {
		t.Fatalf("%q is whole, and %q is not: %v", stream, text, err)
	}
	cut := text[:at%uint(len(text))]
	if _, _, _, err := collect(cut); err == nil {
		t.Fatalf("%q passes for whole, and so does %q", stream, cut)
	}
	// A line less is an item less, or was a heartbeat.
	i := int(at % uint(lines))
	less := bytes.Join(slices.Delete(slices.Clone(taken), i, i+1), nil)
	if _, again, _, err := collect(less); err == nil && again != whole {
		t.Fatalf("%q passes for whole without %q", stream, taken[i])
	}
	more := append([]byte(itemA), text...)
	if _, _, _, err := collect(more); err == nil {
		t.Fatalf("%q passes for whole with one item more", stream)
	}
}

// checkRequest reads stream as a request.
func checkRequest(t *testing.T, stream []byte, at uint) {
	t.Helper()
	var request RemoveRequest
	reader := bufio.NewReader(bytes.NewReader(stream))
	if err := ReadRequest(reader, &request); err != nil {
		return
	}
	digits, rest, _ := strings.Cut(string(stream), "\n")
	length, err := strconv.Atoi(digits)
	if err != nil || length < 0 || length > len(rest) || !json.Valid([]byte(rest[:length])) {
		t.Fatalf("%q was read as %+v", stream, request)
	}
	if left, err := io.ReadAll(reader); err != nil || string(left) != rest[length:] {
		t.Fatalf("of %q %q is left: %v", stream, left, err)
	}
	cut := stream[:at%uint(len(digits)+1+length)]
	if ReadRequest(bufio.NewReader(bytes.NewReader(cut)), &request) == nil {
		t.Fatalf("%q was read, and so was %q", stream, cut)
	}
}

// checkSent sends the lines of text as items and as notes of a request.
func checkSent(t *testing.T, text []byte, at uint) {
	t.Helper()
	// JSON carries text and no other bytes.
	sent := strings.SplitAfter(strings.ToValidUTF8(string(text), "?"), "\n")
	var answer bytes.Buffer
	w := NewWriter(&answer)
	for i, id := range sent {
		if err := w.Item(Item{Image: &Image{ID: id, Names: []string{id}}}); err != nil {
			t.Fatal(err)
		}
		if uint(i) == at {
			if err := w.Heartbeat(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.End(VerbInventory, nil); err != nil {
		t.Fatal(err)
	}
	inv, _, _, err := collect(answer.Bytes())
	got := make([]string, len(inv.Images))
	for i, img := range inv.Images {
		got[i] = img.ID
	}
	if err != nil || !slices.Equal(got, sent) {
		t.Fatalf("sent %q, got %q: %v", sent, got, err)
	}
	cut := answer.Bytes()[:at%uint(answer.Len())]
	if _, _, _, err := collect(cut); !errors.Is(err, ErrTruncated) {
		t.Fatalf("%q is not told to be cut: %v", cut, err)
	}

	var stream bytes.Buffer
	request := RemoveRequest{Targets: []Target{{ID: sent[0], Names: sent}}, Wanted: []Wanted{{Ref: sent[0], By: sent[0]}}, Notes: sent, Last: at%2 == 0}
	if err := WriteRequest(&stream, request); err != nil {
		t.Fatal(err)
	}
	var arrived RemoveRequest
	if err := ReadRequest(bufio.NewReader(&stream), &arrived); err != nil || !reflect.DeepEqual(arrived, request) {
		t.Fatalf("sent %+v, got %+v: %v", request, arrived, err)
	}
}
