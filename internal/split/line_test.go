//go:build unix

package split

import (
	"errors"
	"io"
	"os"
	"testing"
)

// Connections and files go one way over a line, and its end is heard.
func TestALine(t *testing.T) {
	a, b, err := New()
	if err != nil {
		t.Fatal(err)
	}
	dialled, err := a.DialContext(t.Context(), "", "")
	if err != nil {
		t.Fatal(err)
	}
	defer dialled.Close()
	accepted, err := b.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer accepted.Close()
	if _, err := io.WriteString(dialled, "hello"); err != nil {
		t.Fatal(err)
	}
	said := make([]byte, 5)
	if _, err := io.ReadFull(accepted, said); err != nil || string(said) != "hello" {
		t.Errorf("%q, %v", said, err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := a.Send(w, w, w); err != nil {
		t.Fatal(err)
	}
	w.Close()
	files, err := b.Receive()
	if err != nil || len(files) != 3 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	if _, err := files[2].WriteString("through"); err != nil {
		t.Error(err)
	}
	for _, f := range files {
		f.Close()
	}
	if got, err := io.ReadAll(r); err != nil || string(got) != "through" {
		t.Errorf("%q, %v", got, err)
	}
	if err := a.Send(make([]*os.File, maxFiles+1)...); err == nil {
		t.Error("more files are taken than the kernel passes on")
	}
	a.Close()
	if _, err := b.Receive(); !errors.Is(err, io.EOF) {
		t.Errorf("its end: %v", err)
	}
	b.Close()
}
