package join

import (
	"context"
	"errors"
	"fmt"
	"html"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
	"unicode"
)

// A Schedule is what makes this machine renew an identity by itself.
type Schedule struct {
	// System is the operating system, as GOOS names it.
	System string
	// Home is the user's home, and Config their configuration folder; empty
	// means .config in Home.
	Home, Config string
	// Program is the postern program, Dir the identity's folder; both whole.
	Program, Dir string

	// run stands in for the system's tools in tests; nil means those.
	run func(ctx context.Context, name string, args ...string) error
}

// unit is the schedule's name: it holds the folder's last parts, of which a
// name has only letters, digits, dashes and slashes.
func (s Schedule) unit() string {
	parts := strings.Split(filepath.ToSlash(s.Dir), "/")
	word := strings.Map(func(r rune) rune {
		if 'a' <= r && r <= 'z' || '0' <= r && r <= '9' || r == '.' || r == '-' {
			return r
		}
		return '-'
	}, strings.ToLower(strings.Join(parts[max(0, len(parts)-3):], "-")))
	return "postern-renew-" + word
}

// files returns what the schedule consists of, by path.
func (s Schedule) files() map[string]string {
	config := s.Config
	if config == "" {
		config = filepath.Join(s.Home, ".config")
	}
	switch s.System {
	case "linux":
		dir := filepath.Join(config, "systemd", "user")
		return map[string]string{
			filepath.Join(dir, s.unit()+".service"): fmt.Sprintf("[Unit]\nDescription=Renew a certificate of Postern\n\n[Service]\nType=oneshot\nExecStart=%s renew --due %s\n",
				unitWord(s.Program), unitWord(s.Dir)),
			filepath.Join(dir, s.unit()+".timer"): "[Unit]\nDescription=Renew a certificate of Postern when it is time\n\n[Timer]\nOnCalendar=daily\nRandomizedDelaySec=6h\nPersistent=true\n\n[Install]\nWantedBy=timers.target\n",
		}
	case "darwin":
		return map[string]string{filepath.Join(s.Home, "Library", "LaunchAgents", s.unit()+".plist"): `<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0"><dict>
<key>Label</key><string>` + html.EscapeString(s.unit()) + `</string>
<key>ProgramArguments</key><array><string>` + html.EscapeString(s.Program) + `</string><string>renew</string><string>--due</string><string>` + html.EscapeString(s.Dir) + `</string></array>
<key>StartInterval</key><integer>86400</integer>
</dict></plist>
`}
	}
	return nil
}

// unitWord writes a word of a unit file (systemd.service, section Command
// lines).
func unitWord(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "%", "%%", "$", "$$").Replace(s) + `"`
}

// commands start the schedule, or stop it.
func (s Schedule) commands(start bool) [][]string {
	switch {
	case s.System == "linux" && start:
		return [][]string{{"systemctl", "--user", "daemon-reload"}, {"systemctl", "--user", "enable", "--now", s.unit() + ".timer"}}
	case s.System == "linux":
		return [][]string{{"systemctl", "--user", "disable", "--now", s.unit() + ".timer"}}
	case s.System == "darwin" && start:
		return [][]string{{"launchctl", "load", "-w", filepath.Join(s.Home, "Library", "LaunchAgents", s.unit()+".plist")}}
	case s.System == "darwin":
		return [][]string{{"launchctl", "unload", filepath.Join(s.Home, "Library", "LaunchAgents", s.unit()+".plist")}}
	case s.System == "windows" && start:
		return [][]string{{"schtasks", "/Create", "/F", "/SC", "DAILY", "/TN", s.unit(), "/TR", fmt.Sprintf(`"%s" renew --due "%s"`, s.Program, s.Dir)}}
	case s.System == "windows":
		return [][]string{{"schtasks", "/Delete", "/F", "/TN", s.unit()}}
	}
	return nil
}

// Start sets the schedule up. An error leaves none of it, and says how else to
// renew.
func (s Schedule) Start(ctx context.Context) error {
	if strings.ContainsFunc(s.Dir+s.Program, unicode.IsControl) || s.System == "windows" && strings.Contains(s.Dir+s.Program, `"`) {
		return s.otherwise(errors.New("the folder's name has characters that no scheduler can read"))
	}
	if len(s.commands(true)) == 0 {
		return s.otherwise(fmt.Errorf("there is no scheduler that is known on %s", s.System))
	}
	for path, text := range s.files() {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return s.otherwise(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return s.otherwise(err)
		}
	}
	for _, c := range s.commands(true) {
		if err := s.execute(ctx, c); err != nil {
			return errors.Join(s.otherwise(err), s.remove())
		}
	}
	return nil
}

func (s Schedule) otherwise(err error) error {
	return fmt.Errorf("the certificate is not renewed by itself (%w): run 'postern renew --due %s' once a day, such as by cron", err, shellQuote(s.Dir))
}

// Stop takes the schedule away; that there is none is no error.
func (s Schedule) Stop(ctx context.Context) error {
	there := s.System == "windows"
	for path := range s.files() {
		if _, err := os.Stat(path); err == nil {
			there = true
		}
	}
	if !there {
		return nil
	}
	for _, c := range s.commands(false) {
		s.execute(ctx, c) // what was stopped already cannot be stopped
	}
	return s.remove()
}

func (s Schedule) remove() error {
	var errs []error
	for path := range s.files() {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (s Schedule) execute(ctx context.Context, c []string) error {
	if s.run != nil {
		return s.run(ctx, c[0], c[1:]...)
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	if out, err := exec.CommandContext(ctx, c[0], c[1:]...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w %s", c[0], err, printable(strings.TrimSpace(string(out))))
	}
	return nil
}
