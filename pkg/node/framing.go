package node

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Heartbeat is how often each side tells the other that it is alive. The driver writes HeartbeatByte to the verb's stdin,
// the node writes a heartbeat line to stdout.
const Heartbeat = 10 * time.Second

// HeartbeatTimeout is how long a verb goes on without hearing from its driver.
const HeartbeatTimeout = 30 * time.Second

// ReplyTimeout is how long a verb waits for what it has asked its driver.
const ReplyTimeout = 30 * time.Second

// HeartbeatByte is what a driver sends after its request, every Heartbeat. A request or reply begins with a digit.
const HeartbeatByte = '\n'

// maxRequest bounds a request, so that a garbled length cannot make the agent allocate at will.
const maxRequest = 16 << 20

// maxLine bounds a line of an answer. An item is one image or one use and has a few kilobytes.
const maxLine = 16 << 20

// ErrTruncated says that an answer stopped before its end. It has failed: it is never taken for a short answer.
var ErrTruncated = errors.New("the node's answer stopped before its end")

// WriteRequest sends a verb's request: its length in decimal and a newline, then JSON.
func WriteRequest(w io.Writer, request any) error {
	body, err := json.Marshal(request)
	if err != nil {
		return fmt.Errorf("encoding request: %w", err)
	}
	if len(body) > maxRequest {
		return fmt.Errorf("encoding request: %d bytes, the limit is %d", len(body), maxRequest)
	}
	if _, err := fmt.Fprintf(w, "%d\n%s", len(body), body); err != nil {
		return fmt.Errorf("sending request: %w", err)
	}
	return nil
}

// ReadReply reads what the driver sends after its request: heartbeats, of each of which alive is told, until a reply comes.
func ReadReply(r *bufio.Reader, reply any, alive func()) error {
	for {
		b, err := r.ReadByte()
		if err != nil {
			return fmt.Errorf("reading heartbeats: %w", err)
		}
		alive()
		if b == HeartbeatByte {
			continue
		}
		if err := r.UnreadByte(); err != nil {
			return err
		}
		return ReadRequest(r, reply)
	}
}

// ReadRequest reads what WriteRequest sent and leaves r at the first heartbeat.
func ReadRequest(r *bufio.Reader, request any) error {
	// A length has at most as many digits as the limit, so a stream of anything else ends here and not in memory.
	var digits strings.Builder
	for {
		b, err := r.ReadByte()
		if err != nil {
			return fmt.Errorf("reading request length: %w", err)
		}
		if b == '\n' {
			break
		}
		if digits.Len() == len(strconv.Itoa(maxRequest)) {
			return fmt.Errorf("reading request length: %q… is not a length", digits.String())
		}
		digits.WriteByte(b)
	}
	length, err := strconv.ParseUint(digits.String(), 10, 32)
	if err != nil || length > maxRequest {
		return fmt.Errorf("reading request length: %q is not a length of at most %d", digits.String(), maxRequest)
	}
	body := make([]byte, length)
	if _, err := io.ReadFull(r, body); err != nil {
		return fmt.Errorf("reading request: %w", err)
	}
	decoder := json.NewDecoder(strings.NewReader(string(body)))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(request); err != nil {
		return fmt.Errorf("decoding request: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return errors.New("decoding request: something follows it")
	}
	return nil
}

// line is one line of an answer. Exactly one of its parts is set.
type line struct {
	Item      json.RawMessage `json:"item,omitempty"`
	Heartbeat bool            `json:"heartbeat,omitempty"`
	Error     string          `json:"error,omitempty"`
	Code      string          `json:"code,omitempty"`
	End       string          `json:"end,omitempty"`
	Count     int             `json:"count,omitempty"`
}

// endLine always carries its count, also when it is zero.
type endLine struct {
	End   string `json:"end"`
	Count int    `json:"count"`
}

// Writer sends an answer, a JSON document a line. It may be used from several goroutines.
type Writer struct {
	mu      sync.Mutex
	encoder *json.Encoder
	count   int
}

// NewWriter returns a Writer on w.
func NewWriter(w io.Writer) *Writer {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	return &Writer{encoder: encoder}
}

// Item sends one item of the answer.
func (w *Writer) Item(item any) error {
	body, err := json.Marshal(item)
	if err != nil {
		return fmt.Errorf("encoding item: %w", err)
	}
	if len(body) > maxLine-len(`{"item":}`)-1 {
		return fmt.Errorf("encoding item: %d bytes, a line may have %d", len(body), maxLine)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.encoder.Encode(line{Item: body}); err != nil {
		return err
	}
	w.count++
	return nil
}

// Heartbeat tells the driver that the node is still at work.
func (w *Writer) Heartbeat() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.encoder.Encode(line{Heartbeat: true})
}

// End closes the answer to verb: with err, when the verb failed; otherwise with the number of items sent.
func (w *Writer) End(verb string, err error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil {
		l := line{Error: err.Error()}
		for code, is := range errorCodes {
			if errors.Is(err, is) {
				l.Code = code
			}
		}
		return w.encoder.Encode(l)
	}
	return w.encoder.Encode(endLine{End: verb, Count: w.count})
}

// What a driver can do something about survives the way to it.
var (
	// ErrWrongRuntime says that a socket is not that of the runtime which the node's kubelet uses.
	ErrWrongRuntime = errors.New("not the kubelet's runtime")
	// ErrNoRuntime says that nothing answers at the socket. A pod keeps the socket of a runtime that has restarted since: the next
	// pod has the new one.
	ErrNoRuntime = errors.New("no answer from the container runtime")

	errorCodes = map[string]error{"WrongRuntime": ErrWrongRuntime, "NoRuntime": ErrNoRuntime}
)

// RemoteError is what a verb on the node said of its own failure.
type RemoteError struct {
	Message string
	// Code is that of ErrWrongRuntime or ErrNoRuntime, or empty.
	Code string
}

func (e *RemoteError) Error() string { return e.Message }

// Is finds ErrWrongRuntime and ErrNoRuntime.
func (e *RemoteError) Is(target error) bool { return target != nil && errorCodes[e.Code] == target }

// readLine reads a line of an answer, and no more of it than maxLine. The line is valid until the next call.
func readLine(r *bufio.Reader) ([]byte, error) {
	var long []byte
	for {
		part, err := r.ReadSlice('\n')
		if len(long)+len(part) > maxLine {
			return nil, fmt.Errorf("a line of more than %d bytes", maxLine)
		}
		if err == nil && long == nil {
			return part, nil
		}
		long = append(long, part...)
		if !errors.Is(err, bufio.ErrBufferFull) {
			return long, err
		}
	}
}

// ReadAnswer reads the answer to verb from r and hands each item to each. It returns nil only when the answer came to its
// end with as many items as the node says it sent; ErrTruncated when it stopped before, *RemoteError when the verb failed.
// alive, which may be nil, is called for every line, heartbeats included.
func ReadAnswer[T any](r io.Reader, verb string, each func(T) error, alive func()) error {
	reader := bufio.NewReaderSize(r, 64<<10)
	for count := 0; ; {
		text, err := readLine(reader)
		if err != nil {
			if errors.Is(err, io.EOF) {
				return fmt.Errorf("%s: after %d items: %w", verb, count, ErrTruncated)
			}
			return fmt.Errorf("reading answer to %s: %w", verb, err)
		}
		var l line
		if err := json.Unmarshal(text, &l); err != nil {
			return fmt.Errorf("decoding answer to %s: %w", verb, err)
		}
		if alive != nil {
			alive()
		}
		switch {
		case l.Heartbeat:
		case l.Error != "":
			return &RemoteError{Message: l.Error, Code: l.Code}
		case l.End != "":
			if l.End != verb || l.Count != count {
				return fmt.Errorf("%s: the node ended %q after %d items, %d arrived: %w", verb, l.End, l.Count, count, ErrTruncated)
			}
			return nil
		case l.Item != nil:
			var item T
			if err := json.Unmarshal(l.Item, &item); err != nil {
				return fmt.Errorf("decoding item of %s: %w", verb, err)
			}
			count++
			if err := each(item); err != nil {
				return err
			}
		default:
			return fmt.Errorf("decoding answer to %s: a line that is neither item, heartbeat, error nor end", verb)
		}
	}
}
