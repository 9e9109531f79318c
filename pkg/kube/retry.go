package kube

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
)

// Outage is how long an API server that has answered before may be away, as one is while it restarts.
const Outage = time.Minute

// Patient makes every client of config wait, up to Outage, for an API server that has answered before and does not now. A
// request is sent again only where it cannot have been carried out, or where carrying it out twice makes no difference. An
// API server that never answers is an error at once.
func Patient(config *rest.Config) {
	answered := &atomic.Bool{}
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return &patient{next: next, answered: answered} })
}

type patient struct {
	next     http.RoundTripper
	answered *atomic.Bool
}

func (p *patient) RoundTrip(request *http.Request) (*http.Response, error) {
	backoff := wait.Backoff{Duration: 200 * time.Millisecond, Factor: 2, Jitter: 0.1, Steps: 10, Cap: 3 * time.Second}
	for began := time.Now(); ; {
		response, err := p.next.RoundTrip(request)
		if err == nil && !unavailable(response) {
			p.answered.Store(true)
			return response, nil
		}
		if !p.answered.Load() || !again(request, err) {
			return response, err
		}
		if time.Since(began) > Outage {
			return givenUp(response, err)
		}
		next, rewindErr := rewound(request)
		if rewindErr != nil {
			return response, err
		}
		if response != nil {
			_, _ = io.Copy(io.Discard, response.Body)
			_ = response.Body.Close()
		}
		select {
		case <-request.Context().Done():
			return nil, request.Context().Err()
		case <-time.After(backoff.Step()):
		}
		request = next
	}
}

// givenUp says what client-go does not take for a reason to begin all over again.
func givenUp(response *http.Response, err error) (*http.Response, error) {
	if err != nil {
		return nil, fmt.Errorf("the API server has not answered for %s: %v", Outage, err) //nolint:errorlint // not to be recognised
	}
	response.Header.Del("Retry-After")
	return response, nil
}

// WrappedRoundTripper lets client-go find the transport beneath.
func (p *patient) WrappedRoundTripper() http.RoundTripper { return p.next }

// unavailable says whether an API server, or what stands before it, is there and not ready to answer.
func unavailable(response *http.Response) bool {
	switch response.StatusCode {
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// again says whether a request may be sent once more after it failed with err, or was not answered for want of a server.
func again(request *http.Request, err error) bool {
	switch {
	case strings.HasSuffix(request.URL.Path, "/exec"): // a stream: who asked for it knows how to go on
		return false
	case utilnet.IsConnectionRefused(err): // it was never sent
		return true
	case err != nil && !utilnet.IsConnectionReset(err) && !utilnet.IsProbableEOF(err) && !utilnet.IsHTTP2ConnectionLost(err) && !utilnet.IsTimeout(err):
		return false
	}
	// A create that is sent twice fails the second time, since its object has a name.
	return true
}

// rewound is the request with its body at the beginning again.
func rewound(request *http.Request) (*http.Request, error) {
	next := request.Clone(request.Context())
	if request.Body == nil || request.Body == http.NoBody {
		return next, nil
	}
	if request.GetBody == nil {
		return nil, errors.New("the request's body cannot be read twice")
	}
	var err error
	next.Body, err = request.GetBody()
	return next, err
}
