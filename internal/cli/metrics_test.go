package cli

import (
	"cmp"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/postern-project/postern/internal/config"
)

// docs/metrics.md has every metric of a running server, with its labels, as the
// registry knows them: 'go test ./internal/cli -run Metric -update' writes the
// table.
func TestTheManualListsEveryMetric(t *testing.T) {
	doc, err := filepath.Abs("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	inFolder(t, true)
	h, err := openHouse(t, defaultData)
	if err != nil {
		t.Fatal(err)
	}
	conf, _, err := config.Parse("postern.yaml", []byte("listen: \"127.0.0.1:0\"\npublic: {listen: \"127.0.0.1:0\"}\nsites:\n  localhost: {static: ., allow: [ben]}\n"))
	if err != nil {
		t.Fatal(err)
	}
	opened, err := new(doors).reopen(conf)
	if err != nil {
		t.Fatal(err)
	}
	defer opened.close()
	a := &app{Env: Env{Now: time.Now, Getenv: func(string) string { return "" }}}
	o := &office{house: h}
	o.inUse.Store(&declared{conf: conf})
	if err := o.makeFolders(); err != nil {
		t.Fatal(err)
	}
	s, err := a.newServer(t.Context(), gatehouse{h.Dir, h.Roster, window{h.Authority, o}}, opening{conf: conf, log: slog.New(slog.DiscardHandler), level: new(slog.LevelVar), doors: opened})
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	want := tableOfMetrics(t, s.metrics)
	have, err := os.ReadFile(doc)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(have), "| metric |")
	_, after, ok2 := strings.Cut(rest, "\n\n")
	if !ok || !ok2 {
		t.Fatal("docs/metrics.md has no table")
	}
	if *update {
		if err := os.WriteFile(doc, []byte(before+want+"\n"+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got := "| metric |" + strings.TrimSuffix(rest, after); strings.TrimSpace(got) != strings.TrimSpace(want) {
		t.Errorf("docs/metrics.md is not what the registry says: run 'go test ./internal/cli -run Metric -update'\n%s", want)
	}
}

// tableOfMetrics returns the metrics of our own as a table.
func tableOfMetrics(t *testing.T, r *prometheus.Registry) string {
	t.Helper()
	descs := make(chan *prometheus.Desc, 1000)
	r.Describe(descs)
	close(descs)
	form := regexp.MustCompile(`^Desc\{fqName: "(postern_[a-z0-9_]+)", help: "(.*?)"(?:, unit: "[^"]*")?, constLabels: \{\}, variableLabels: \{(.*)\}\}$`)
	var rows []string
	for d := range descs {
		m := form.FindStringSubmatch(d.String())
		if m == nil {
			continue // of the process or the runtime
		}
		kind := "gauge"
		if strings.HasSuffix(m[1], "_total") {
			kind = "counter"
		}
		labels := cmp.Or(strings.ReplaceAll(m[3], ",", ", "), "–")
		rows = append(rows, fmt.Sprintf("| `%s` | %s | %s | %s |", m[1], kind, labels, m[2]))
	}
	slices.Sort(rows)
	return "| metric | type | labels | meaning |\n|---|---|---|---|\n" + strings.Join(rows, "\n") + "\n"
}
