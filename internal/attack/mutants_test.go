package attack

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Each patch that takes a defence away still fits the source and names an
// attack that exists. Whether the attack then gets through is what 'make
// mutants' finds out.
func TestMutantsApply(t *testing.T) {
	t.Parallel()
	patches, err := filepath.Glob("testdata/mutants/*.patch")
	must(t, err)
	if len(patches) == 0 {
		t.Fatal("there are no mutants")
	}
	header := regexp.MustCompile(`(?m)^Attack: \./(\S+) (Test\w+)(/\S+)?$`)
	for _, patch := range patches {
		text, err := os.ReadFile(patch)
		must(t, err)
		m := header.FindSubmatch(text)
		if m == nil {
			t.Errorf("%s does not say which attack gets through: write 'Attack: ./PACKAGE TEST'", patch)
			continue
		}
		tests, err := filepath.Glob(filepath.Join("../..", string(m[1]), "*_test.go"))
		must(t, err)
		found := false
		for _, file := range tests {
			source, err := os.ReadFile(file)
			must(t, err)
			found = found || strings.Contains(string(source), "\nfunc "+string(m[2])+"(")
		}
		if !found {
			t.Errorf("%s names %s in %s, which is not there", patch, m[2], m[1])
		}
		abs, err := filepath.Abs(patch)
		must(t, err)
		cmd := exec.Command("patch", "--dry-run", "-s", "-f", "-p1", "-i", abs)
		cmd.Dir = "../.."
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s does not apply: %v\n%s", patch, err, out)
		}
	}
}
