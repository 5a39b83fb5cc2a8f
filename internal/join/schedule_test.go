package join

import (
	"context"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A folder's name cannot become a command, or anything else, in a unit file, a
// property list or a task.
func TestASchedulesFilesHoldHostileNames(t *testing.T) {
	for _, system := range []string{"linux", "darwin"} {
		s := Schedule{System: system, Home: t.TempDir(), Program: "/opt/a b/postern", Dir: "/home/x/\"; rm -rf ~ %h $HOME </string>/ben/laptop"}
		s.run = func(context.Context, string, ...string) error { return nil }
		if err := s.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		for path := range s.files() {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if filepath.Ext(path) == ".plist" {
				for d := xml.NewDecoder(strings.NewReader(string(text))); ; {
					if _, err := d.Token(); err == io.EOF {
						break
					} else if err != nil {
						t.Fatalf("%s: %v", path, err)
					}
				}
				continue
			}
			if strings.Contains(strings.ReplaceAll(string(text), "%%h", ""), "%h") || strings.Contains(strings.ReplaceAll(string(text), "$$HOME", ""), "$HOME") {
				t.Errorf("%s lets systemd read a name: %s", path, text)
			}
		}
		if err := s.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		for path := range s.files() {
			if _, err := os.Stat(path); err == nil {
				t.Errorf("%s is left", path)
			}
		}
	}
}

func TestAFailedStartLeavesNothing(t *testing.T) {
	s := Schedule{System: "linux", Home: t.TempDir(), Program: "/usr/bin/postern", Dir: "/home/ben/x/ben/laptop"}
	s.run = func(context.Context, string, ...string) error { return exec.ErrNotFound }
	err := s.Start(t.Context())
	if !errors.Is(err, exec.ErrNotFound) || !strings.Contains(err.Error(), "postern renew --due /home/ben/x/ben/laptop") {
		t.Errorf("%v", err)
	}
	for path := range s.files() {
		if _, err := os.Stat(path); err == nil {
			t.Errorf("%s is left", path)
		}
	}
	s.Dir = "/home/x\nExecStart=/bin/sh"
	if err := s.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "characters") {
		t.Errorf("a folder with a line of its own: %v", err)
	}
	if err := (Schedule{System: "plan9"}).Start(t.Context()); err == nil {
		t.Error("an unknown system has a scheduler")
	}
	if err := s.Stop(t.Context()); err != nil {
		t.Errorf("stopping what is not there: %v", err)
	}
}
