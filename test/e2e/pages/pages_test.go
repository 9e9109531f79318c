package pages

import (
	"slices"
	"testing"
)

func TestCommands_AreReadAsPrinted(t *testing.T) {
	const page = "# Page\n\nSay `kubectl imageclean list -o json`, or:\n\n```sh\necho '{\"a\": 1}' > a.json   # what it is for\n\n" +
		"kubectl apply -f - <<EOF\nkind: ImageList # not a comment\nEOF\nkubectl get a |\n  grep b\n```\n\n```yaml\nkind: A\n```\n\n```\nno language\n```\n"
	if got, want := Named(page), []string{"kubectl imageclean list -o json"}; !slices.Equal(got, want) {
		t.Errorf("named are %q, want %q", got, want)
	}
	if got := Blocks(page, "sh", "yaml"); len(got) != 2 || got[1] != "kind: A\n" {
		t.Errorf("the blocks are %q", got)
	}
	got, err := Commands(Blocks(page, "sh")[0])
	want := []string{`echo '{"a": 1}' > a.json`, "kubectl apply -f - <<EOF\nkind: ImageList # not a comment\nEOF", "kubectl get a |\n  grep b"}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("the commands are %q (%v), want %q", got, err, want)
	}
	if _, err := Commands("kubectl 'apply"); err == nil {
		t.Error("what is no shell is read")
	}
}
