package cli

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/postern-project/postern/internal/api"
	"github.com/postern-project/postern/internal/config"
	"github.com/postern-project/postern/internal/split"
)

// What it costs that certificates are asked for through the window, and that
// the gateway follows the ledger, beside the authority alone: CPU time of both
// sides, which here are in one process.
func BenchmarkIssuing(b *testing.B) {
	for _, two := range []bool{false, true} {
		b.Run(map[bool]string{false: "authority-alone", true: "through-the-window"}[two], func(b *testing.B) {
			dir, err := made()
			if err != nil {
				b.Fatal(err)
			}
			b.Chdir(b.TempDir())
			b.Setenv("POSTERN_STATE_DIR", ".state")
			copyFolder(b, filepath.Join(dir, "data"), defaultData)
			lock, err := api.TryHold(defaultData)
			if err != nil {
				b.Fatal(err)
			}
			h, err := OpenHouse(b.Context(), lock, HouseOptions{})
			if err != nil {
				b.Fatal(err)
			}
			defer h.Close()
			text := []byte("sites:\n")
			for i := range 500 { // a host gets so many certificates within an hour, and no more
				text = fmt.Appendf(text, "  h%d.example: {proxy: \"http://127.0.0.1:1\", allow: [ben]}\n", i)
			}
			conf, _, err := config.Parse("postern.yaml", text)
			if err != nil {
				b.Fatal(err)
			}
			a := &app{Env: Env{Now: time.Now, Getenv: func(string) string { return "" }}}
			log := slog.New(slog.DiscardHandler)
			g, err := a.startGate(upFlags{}, &doors{})
			if err != nil {
				b.Fatal(err)
			}
			o, err := a.newOffice(b.Context(), h, g, tenure{conf: conf, log: log, level: new(slog.LevelVar), box: &sandbox{}})
			if err != nil {
				b.Fatal(err)
			}
			defer o.close()
			var asked api.Window = window{h.Authority, o}
			if two {
				mine, theirs, err := split.New()
				if err != nil {
					b.Fatal(err)
				}
				ctx, stop := context.WithCancel(b.Context())
				defer stop()
				go api.ServeWindow(ctx, mine, api.WindowHandler(asked, log), log)
				client := api.DialWindow(theirs)
				defer client.Close()
				asked = client
			} else {
				h.follower.Store(nil)
			}
			var next atomic.Int64
			_, spki := aKey()
			began := cpu()
			b.SetParallelism(32)
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := asked.IssueServed(b.Context(), api.OwnRequest{Host: fmt.Sprintf("h%d.example", next.Add(1)%500), PublicKey: spki}); err != nil {
						b.Error(err)
						return
					}
				}
			})
			b.ReportMetric(float64((cpu()-began).Microseconds())/float64(b.N), "cpu-µs/op")
		})
	}
}

func cpu() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
