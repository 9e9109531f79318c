// Package scan says what a scan found in an image. It knows neither how the image was analysed nor what is decided from
// the answer.
package scan

// State is the outcome of scanning one image.
type State string

// The outcomes of a scan.
const (
	Clean       State = "clean"       // scanned, nothing found
	Vulnerable  State = "vulnerable"  // scanned, with findings
	EndOfLife   State = "endOfLife"   // scanned; its distribution gets no more security fixes
	Unscannable State = "unscannable" // not scanned, or not completely; Message says why
)

// Severity is a vulnerability's severity, as vulnerability databases name it.
type Severity string

// The severities, the worst first.
const (
	Critical Severity = "CRITICAL"
	High     Severity = "HIGH"
	Medium   Severity = "MEDIUM"
	Low      Severity = "LOW"
	Unknown  Severity = "UNKNOWN"
)

// Finding is one vulnerability in one package of an image.
type Finding struct {
	ID        string   `json:"id"`
	Severity  Severity `json:"severity"`
	Package   string   `json:"package"`
	Installed string   `json:"installed"`
	// Fixed is the version that has the fix, empty where there is none.
	Fixed string `json:"fixed,omitempty"`
}

// Verdict is what is known of one image after a scan.
type Verdict struct {
	State    State            `json:"state"`
	Counts   map[Severity]int `json:"counts,omitempty"`
	Findings []Finding        `json:"findings,omitempty"`
	Message  string           `json:"message,omitempty"`
}
