package node

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

func read(answer string) (ids []string, lines int, err error) {
	err = ReadAnswer(strings.NewReader(answer), VerbInventory, func(item Item) error {
		ids = append(ids, item.Image.ID)
		return nil
	}, func() { lines++ })
	return ids, lines, err
}

const itemA = `{"item":{"image":{"id":"a","sizeBytes":1}}}` + "\n"

func TestReadAnswer(t *testing.T) {
	for _, test := range []struct {
		name   string
		answer string
		items  int
		want   string // part of the error; none if empty
	}{
		{"empty answer", `{"end":"inventory","count":0}` + "\n", 0, ""},
		{"items", itemA + itemA + `{"end":"inventory","count":2}` + "\n", 2, ""},
		{"heartbeats between", `{"heartbeat":true}` + "\n" + itemA + `{"heartbeat":true}` + "\n" + `{"end":"inventory","count":1}` + "\n", 1, ""},
		{"nothing at all", "", 0, "stopped before its end"},
		{"no end", itemA, 1, "stopped before its end"},
		{"end without its newline", itemA + `{"end":"inventory","count":1}`, 1, "stopped before its end"},
		{"cut in an item", itemA + itemA[:20], 1, "stopped before its end"},
		{"too few", itemA + `{"end":"inventory","count":2}` + "\n", 1, "stopped before its end"},
		{"too many", itemA + itemA + `{"end":"inventory","count":1}` + "\n", 2, "stopped before its end"},
		{"end of another verb", itemA + `{"end":"remove","count":1}` + "\n", 1, `ended "remove"`},
		{"error", itemA + `{"error":"listing images: no"}` + "\n", 1, "listing images: no"},
		{"error, then an end", `{"error":"no"}` + "\n" + `{"end":"inventory","count":0}` + "\n", 0, "no"},
		{"garbage", "panic: runtime error\n", 0, "decoding answer"},
		{"not an object", "[]\n", 0, "decoding answer"},
		{"a line that says nothing", "{}\n", 0, "neither item, heartbeat, error nor end"},
		{"item of another kind", `{"item":{"image":7}}` + "\n", 0, "decoding item"},
	} {
		t.Run(test.name, func(t *testing.T) {
			ids, _, err := read(test.answer)
			if len(ids) != test.items {
				t.Errorf("%d items, want %d", len(ids), test.items)
			}
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
}

func TestReadAnswer_TellsFailureOfTheVerbFromALostStream(t *testing.T) {
	var remote *RemoteError
	if _, _, err := read(`{"error":"no"}` + "\n"); !errors.As(err, &remote) || errors.Is(err, ErrTruncated) {
		t.Errorf("failed verb: %v", err)
	}
	if _, _, err := read(itemA); !errors.Is(err, ErrTruncated) || errors.As(err, &remote) {
		t.Errorf("lost stream: %v", err)
	}
}

func TestReadAnswer_CountsEveryLineAsASignOfLife(t *testing.T) {
	beat := `{"heartbeat":true}` + "\n"
	if _, lines, err := read(beat + itemA + beat + `{"end":"inventory","count":1}` + "\n"); lines != 4 || err != nil {
		t.Errorf("%d lines: %v", lines, err)
	}
}

func TestReadAnswer_StopsAtAnItemThatItsReaderRefuses(t *testing.T) {
	refusal := errors.New("refused")
	err := ReadAnswer(strings.NewReader(itemA+itemA), VerbInventory, func(Item) error { return refusal }, nil)
	if !errors.Is(err, refusal) {
		t.Error(err)
	}
}

// endless is a line that does not end.
type endless struct{ read int }

func (e *endless) Read(p []byte) (int, error) {
	e.read += len(p)
	for i := range p {
		p[i] = 'a'
	}
	return len(p), nil
}

func TestReadAnswer_BoundsALine(t *testing.T) {
	stream := &endless{}
	err := ReadAnswer(stream, VerbInventory, func(Item) error { return nil }, nil)
	if err == nil || !strings.Contains(err.Error(), "more than 16777216 bytes") || stream.read > maxLine+1<<20 {
		t.Errorf("%v after %d bytes", err, stream.read)
	}
}

func TestReadAnswer_ReadsLinesLongerThanItsBuffer(t *testing.T) {
	var answer bytes.Buffer
	w := NewWriter(&answer)
	for i := range 3 {
		if err := w.Item(Item{Image: &Image{ID: strings.Repeat("a", 100_000*i)}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.End(VerbInventory, nil); err != nil {
		t.Fatal(err)
	}
	ids, _, err := read(answer.String())
	if err != nil || len(ids) != 3 || len(ids[2]) != 200_000 {
		t.Errorf("%d items: %v", len(ids), err)
	}
}

func TestWriter_RefusesAnItemThatNoReaderTakes(t *testing.T) {
	var answer bytes.Buffer
	w := NewWriter(&answer)
	if err := w.Item(Item{Image: &Image{ID: strings.Repeat("a", maxLine)}}); err == nil || answer.Len() > 0 {
		t.Errorf("%v, %d bytes sent", err, answer.Len())
	}
	// It was not sent, so it is not counted either.
	if err := w.End(VerbInventory, nil); err != nil {
		t.Fatal(err)
	}
	if _, _, err := read(answer.String()); err != nil {
		t.Error(err)
	}
}

func TestWriter_EndsWithTheErrorInsteadOfACount(t *testing.T) {
	var answer bytes.Buffer
	w := NewWriter(&answer)
	if err := errors.Join(w.Item(Item{Image: &Image{}}), w.End(VerbInventory, errors.New("no\nmore"))); err != nil {
		t.Fatal(err)
	}
	var remote *RemoteError
	if _, _, err := read(answer.String()); !errors.As(err, &remote) || remote.Message != "no\nmore" {
		t.Error(err)
	}
}

func TestRequest_ArrivesAndLeavesTheHeartbeats(t *testing.T) {
	var stream bytes.Buffer
	sent := RemoveRequest{Targets: []Target{{ID: "a"}}, Notes: []string{"kept b"}}
	if err := WriteRequest(&stream, sent); err != nil {
		t.Fatal(err)
	}
	stream.WriteString("\n\n")
	reader := bufio.NewReader(&stream)
	var got RemoveRequest
	if err := ReadRequest(reader, &got); err != nil || len(got.Targets) != 1 || got.Targets[0].ID != "a" {
		t.Errorf("%+v: %v", got, err)
	}
	if rest, err := io.ReadAll(reader); string(rest) != "\n\n" || err != nil {
		t.Errorf("left %q: %v", rest, err)
	}
}

func TestReadRequest_RefusesWhatItCannotTrust(t *testing.T) {
	for _, test := range []struct{ name, stream, want string }{
		{"nothing", "", "reading request length"},
		{"no length", "{}\n", "is not a length"},
		{"negative", "-1\n", "is not a length"},
		{"above the limit", fmt.Sprintf("%d\n", maxRequest+1), "is not a length"},
		{"digits without end", strings.Repeat("1", 1000), "is not a length"},
		{"cut short", "10\n{}", "reading request"},
		{"not JSON", "3\nabc", "decoding request"},
		{"two requests", "4\n{}{}", "something follows it"},
		{"garbage after the request", "5\n{}abc", "something follows it"},
		{"a field that this agent does not know", `17` + "\n" + `{"unknown":"abc"}`, "unknown field"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var request RemoveRequest
			err := ReadRequest(bufio.NewReader(strings.NewReader(test.stream)), &request)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
}

func TestWriteRequest_RefusesWhatNoAgentTakes(t *testing.T) {
	var stream bytes.Buffer
	err := WriteRequest(&stream, RemoveRequest{Notes: []string{strings.Repeat("a", maxRequest)}})
	if err == nil || stream.Len() > 0 {
		t.Errorf("%v, %d bytes sent", err, stream.Len())
	}
}

func TestAdd_RefusesAnItemOfAnUnknownKind(t *testing.T) {
	var inv Inventory
	if err := inv.Add(Item{Disk: &Disk{UsedBytes: 7}}); err != nil || inv.Disk.UsedBytes != 7 {
		t.Errorf("a known kind: %v, %+v", err, inv)
	}
	if err := inv.Add(Item{}); err == nil {
		t.Error("an unknown kind was passed over")
	}
}
