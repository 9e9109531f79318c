package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/imageclean/kubectl-imageclean/test/cluster/images"
	"github.com/imageclean/kubectl-imageclean/test/e2e/scene"
	"github.com/imageclean/kubectl-imageclean/test/e2e/terminal"
)

// screen is a terminal, mostly with the plugin in it.
type screen struct {
	t   *testing.T
	at  *terminal.Terminal
	dir string
}

// openScreen runs the plugin in a terminal, with environment variables besides those of the test.
func openScreen(t *testing.T, env []string, args ...string) *screen {
	t.Helper()
	plugin, err := filepath.Abs("../../bin/kubectl-imageclean")
	if err != nil {
		t.Fatal(err)
	}
	s := openTerminal(t)
	for _, name := range []string{"KUBECONFIG", "XDG_CACHE_HOME"} {
		env = append(env, name+"="+os.Getenv(name))
	}
	command := quoted(slices.Concat([]string{"env"}, env, []string{plugin}, args))
	s.must(s.at.Run(t.Context(), fmt.Sprintf("cd %s; sh -c 'echo $$ >pid; exec %s' 2>log; echo ended with $?", s.dir, command)))
	return s
}

// openTerminal opens a terminal with a shell in it, and closes it when the test ends.
func openTerminal(t *testing.T) *screen {
	t.Helper()
	dir, err := os.MkdirTemp("", "screen") //nolint:usetesting // a socket's path has at most 107 characters, fewer than some tests' folders have
	if err != nil {
		t.Fatal(err)
	}
	at, err := terminal.Open(t.Context(), dir, 100, 30)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = at.Close() // a test may have closed it
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return &screen{t, at, dir}
}

func quoted(args []string) string {
	var all []string
	for _, arg := range args {
		all = append(all, `"`+arg+`"`)
	}
	return strings.Join(all, " ")
}

func (s *screen) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *screen) shows(texts ...string) string {
	s.t.Helper()
	shown, err := s.at.Shows(s.t.Context(), texts...)
	s.must(err)
	return shown
}

func (s *screen) press(keys ...string) {
	s.t.Helper()
	s.must(s.at.Press(s.t.Context(), keys...))
}

// filter narrows the list, or shows all of it again when text is empty.
func (s *screen) filter(text string) {
	s.t.Helper()
	if text == "" {
		s.press("Escape")
		return
	}
	s.press("/")
	s.must(s.at.Type(s.t.Context(), text))
	s.press("Enter")
	s.shows("filter: " + text)
}

// confirm types what the dialog asks for, as a person would who has read it.
func (s *screen) confirm(word string) {
	s.t.Helper()
	s.shows("Type " + word)
	time.Sleep(400 * time.Millisecond)
	s.must(s.at.Type(s.t.Context(), word))
	time.Sleep(400 * time.Millisecond)
	s.press("Enter")
}

// ended waits for the plugin's end and checks its exit code, and that the terminal is as it was. It returns what stderr has.
func (s *screen) ended(code int) string {
	s.t.Helper()
	s.shows("ended with " + strconv.Itoa(code))
	s.must(s.at.Sane(s.t.Context()))
	return s.log()
}

func (s *screen) log() string {
	s.t.Helper()
	text, err := os.ReadFile(filepath.Join(s.dir, "log"))
	s.must(err)
	return string(text)
}

// signal sends the plugin a signal.
func (s *screen) signal(signal syscall.Signal) {
	s.t.Helper()
	text, err := os.ReadFile(filepath.Join(s.dir, "pid"))
	s.must(err)
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	s.must(err)
	s.must(syscall.Kill(pid, signal))
}

// contextName is what is typed to confirm a removal from several nodes.
const contextName = "imageclean-testcluster"

// TestScreen_RemovesWhatAPersonHasConfirmed takes one removal back, protects an image for good, has another come into use while the
// plan is reviewed, and confirms the rest.
func TestScreen_RemovesWhatAPersonHasConfirmed(t *testing.T) {
	flags := scanBed(t)
	base := hardBase(t)
	all := map[string]images.Image{"harmless:1": imageOf(t, base, scene.Debian(scene.NewCurl))}
	for _, name := range []string{"goes:1", "unmarked:1", "protected:1", "started:1"} {
		all[name] = imageOf(t, imageOf(t, base, scene.Debian(scene.OldCurl)), text("srv/name", name))
	}
	pullImages(t, all)
	exclusions := client.CoreV1().ConfigMaps(metav1.NamespaceSystem)
	t.Cleanup(func() { _ = exclusions.Delete(context.Background(), "imageclean-exclusions", metav1.DeleteOptions{}) })

	s := openScreen(t, nil, append([]string{"run"}, flags...)...)
	s.shows("REVIEW", "REMOVE 4 of", "goes:1", "unmarked:1", "protected:1", "started:1")
	wantNothingAlive(t) // while a person reads
	s.filter("unmarked:1")
	s.press("g", "g", "j", "Space")
	s.shows("REMOVE 3 of", "SKIP 1")
	s.filter("")
	s.filter("protected:1")
	s.press("g", "g", "j", "x")
	s.shows("which images?")
	s.press("1")
	s.press("y")
	s.shows("REMOVE 2 of")
	written, err := exclusions.Get(t.Context(), "imageclean-exclusions", metav1.GetOptions{})
	if err != nil || !contains(written.Data["imageclean.json"], hard+"protected:1") {
		t.Errorf("the exclusions are %v, %v", written.Data, err)
	}
	s.filter("")
	for _, node := range bed.Nodes() {
		createPod(t, "screen-"+node, hardSpec(node, hard+"started:1"))
	}
	for _, node := range bed.Nodes() {
		waitRunning(t, "screen-"+node)
	}
	s.press("D")
	s.shows("Remove 1 image", "started:1", "InUse")
	wantNothingAlive(t) // nor while they think
	s.confirm(contextName)
	s.shows("DONE")
	wantNothingAlive(t) // nor while they look at the result
	s.press("q")
	if said := s.ended(0); !contains(said, fmt.Sprintf("removed 1 image (%d copies)", len(bed.Nodes()))) || !contains(said, "started:1") {
		t.Errorf("it says %q", said)
	}
	for _, node := range bed.Nodes() {
		want := []string{hard + "harmless:1", hard + "protected:1", hard + "started:1", hard + "unmarked:1"}
		if left := hardNames(t, node); !slices.Equal(left, want) {
			t.Errorf("%s has %v, want %v", node, left, want)
		}
	}
}

func TestScreen_RemovesNothingThatWasNotTyped(t *testing.T) {
	litter(t, 3)
	s := openScreen(t, nil, litterScreen...)
	s.shows("REVIEW", "REMOVE 3 of")
	s.press("D")
	s.shows("Type " + contextName)
	time.Sleep(400 * time.Millisecond)
	s.must(s.at.Paste(t.Context(), contextName))
	time.Sleep(400 * time.Millisecond)
	s.press("Enter", "Enter", "y", "Enter")
	time.Sleep(time.Second)
	s.press("Escape")
	s.shows("REVIEW")
	s.press("q")
	if said := s.ended(1); !contains(said, "nothing was removed") {
		t.Errorf("it says %q", said)
	}
	for _, node := range bed.Nodes() {
		if left := litterOn(t, node); len(left) != 3 {
			t.Errorf("%s has %v", node, left)
		}
	}
	wantNothingAlive(t)
}

// litterScreen is litterArgs with a person.
var litterScreen = slices.DeleteFunc(slices.Clone(litterArgs), func(arg string) bool { return arg == "--yes" })

func TestScreen_LeavesTheTerminalAndTheNodesAsTheyWere(t *testing.T) {
	states := []struct {
		name   string
		images int
		reach  func(*screen)
	}{
		{"loading", 3, func(s *screen) { s.shows("LOADING") }},
		{"review", 3, func(s *screen) { s.shows("REVIEW") }},
		{"confirm", 3, func(s *screen) { s.shows("REVIEW"); s.press("D"); s.shows("Type ") }},
		{"removing", 90, func(s *screen) {
			s.shows("REVIEW")
			s.press("D")
			s.confirm(contextName)
			s.shows("REMOVING")
		}},
	}
	for _, state := range states {
		for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
			t.Run(state.name+" "+signal.String(), func(t *testing.T) {
				litter(t, state.images)
				s := openScreen(t, nil, litterScreen...)
				state.reach(s)
				s.signal(signal)
				if said := s.ended(130); !contains(said, "interrupted") {
					t.Errorf("it says %q", said)
				}
				wantNothingAlive(t)
				wantNoHalfRemoved(t)
			})
		}
	}
	t.Run("closed", func(t *testing.T) {
		litter(t, 3)
		s := openScreen(t, nil, litterScreen...)
		s.shows("REVIEW")
		s.must(s.at.Close())
		eventually(t, "the plugin has ended", func() bool { return contains(s.log(), "interrupted") })
		wantNothingAlive(t)
	})
}

// colour is any but the terminal's own.
var colour = regexp.MustCompile(`\x1b\[([0-9]+;)*(3[0-8]|4[0-8]|9[0-7]|10[0-7])[;m]`)

// A second signal ends the command at once, in the middle of its clean-up.
func TestScreen_LeavesTheTerminalAsItWasToWhoCannotWait(t *testing.T) {
	litter(t, 3)
	s := openScreen(t, nil, litterScreen...)
	s.shows("LOADING", "starting its pod")
	s.signal(syscall.SIGTERM)
	time.Sleep(20 * time.Millisecond)
	s.signal(syscall.SIGTERM)
	s.ended(130)
	// What stays for a while is that of a run that was killed.
	ours := metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=imageclean"}
	background := metav1.DeletePropagationBackground
	err := client.BatchV1().Jobs(metav1.NamespaceSystem).DeleteCollection(t.Context(), metav1.DeleteOptions{PropagationPolicy: &background}, ours)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "its pods are gone", func() bool {
		pods, err := client.CoreV1().Pods(metav1.NamespaceSystem).List(t.Context(), ours)
		return err == nil && len(pods.Items) == 0
	})
	wantNothingAlive(t)
}

func TestScreen_FitsTheTerminal(t *testing.T) {
	litter(t, 3)
	s := openScreen(t, []string{"NO_COLOR=yes"}, litterScreen...)
	s.shows("REVIEW", "docker.io/litter/image:1")
	colours, err := s.at.Colours(t.Context())
	s.must(err)
	if found := colour.FindString(colours); found != "" {
		t.Errorf("without colours it prints %q in\n%q", found, colours)
	}
	for _, size := range [][2]int{{80, 24}, {60, 15}, {140, 50}} {
		s.must(s.at.Resize(t.Context(), size[0], size[1]))
		s.shows("REVIEW", "litter/image:1")
	}
	s.must(s.at.Resize(t.Context(), 40, 10))
	s.shows("60x15")
	s.press("q")
	s.must(s.at.Resize(t.Context(), 100, 30))
	s.ended(1)
}

func TestScreen_OpensForAPersonWhoWantsOne(t *testing.T) {
	litter(t, 1)
	for name, test := range map[string]struct{ env, args []string }{
		"--no-tui":     {args: []string{"--no-tui"}},
		"--accessible": {args: []string{"--accessible"}},
		"ACCESSIBLE":   {env: []string{"ACCESSIBLE=1"}},
		"TERM":         {env: []string{"TERM=dumb"}},
		"-o":           {args: []string{"-o", "wide"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := openScreen(t, test.env, append(slices.Clone(litterScreen), test.args...)...)
			eventually(t, "it asks", func() bool { return contains(s.log(), "to do so: ") })
			if contains(s.log(), "\x1b[") {
				t.Errorf("it moves about on the terminal: %q", s.log())
			}
			s.must(s.at.Run(t.Context(), "no"))
			if said := s.ended(1); !contains(said, "nothing was removed") {
				t.Errorf("it says %q", said)
			}
		})
	}
	wantNothingAlive(t)
}

// TestScreen_SaysAfterwardsWhatItSaid leaves the result with ctrl+c, which interrupts nothing any more.
func TestScreen_SaysAfterwardsWhatItSaid(t *testing.T) {
	litter(t, 2)
	node := bed.Nodes()[0]
	label := func(value string) {
		t.Helper()
		patch := fmt.Appendf(nil, `{"metadata":{"labels":{"eraser.sh/cleanup.filter":%s}}}`, value)
		if _, err := client.CoreV1().Nodes().Patch(context.WithoutCancel(t.Context()), node, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	label(`"true"`)
	t.Cleanup(func() { label("null") })
	s := openScreen(t, nil, litterScreen...)
	s.shows("REVIEW", "REMOVE 2 of")
	s.press("D")
	s.confirm("yes")
	s.shows("DONE")
	s.press("C-c")
	said := s.ended(0)
	for _, want := range []string{"node " + node + " is skipped", "removed 2 images"} {
		if !contains(said, want) {
			t.Errorf("it does not say %q: %s", want, said)
		}
	}
	if left := litterOn(t, node); len(left) != 2 {
		t.Errorf("the node that is skipped has %v", left)
	}
	wantNothingAlive(t)
}

func TestScreen_ComesBackAfterItWasSuspended(t *testing.T) {
	litter(t, 3)
	dir := t.TempDir()
	plugin, err := filepath.Abs("../../bin/kubectl-imageclean")
	if err != nil {
		t.Fatal(err)
	}
	s := openScreen(t, nil, "version")
	s.shows("ended with 0")
	s.must(s.at.Run(t.Context(), "exec bash --norc -i"))
	s.must(s.at.Run(t.Context(), "clear; cd "+dir+"; KUBECONFIG="+os.Getenv("KUBECONFIG")+" "+quoted(append([]string{plugin}, litterScreen...))))
	s.shows("REVIEW", "REMOVE 3 of")
	s.press("C-z")
	s.shows("Stopped")
	s.must(s.at.Run(t.Context(), "fg"))
	s.shows("REVIEW", "REMOVE 3 of")
	s.press("q")
	s.shows("nothing was removed")
	wantNothingAlive(t)
}
