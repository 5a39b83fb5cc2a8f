package gateway

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"time"
)

// maxSegment bounds one of the two files, in bytes; some 100,000 records of
// usual size fit into both.
const maxSegment = 32 << 20

// segments are the files of a journal: the one written to, and the one before
// it, which goes when the newer is full. Lines are JSON, oldest first.
type segments struct {
	path   string
	max    int // records in a file
	maxAge time.Duration

	file    *os.File
	size    int64 // of the whole lines in file
	records int
	began   time.Time // of the first record in file
}

func openSegments(path string, max int, maxAge time.Duration, now time.Time) (segments, error) {
	s := segments{path: path, max: (max + 1) / 2, maxAge: maxAge}
	if err := s.open(); err != nil {
		return segments{}, err
	}
	if err := s.measure(); err != nil {
		s.file.Close()
		return segments{}, err
	}
	if err := s.rotateIfDue(now); err != nil {
		s.file.Close()
		return segments{}, err
	}
	return s, nil
}

func (s *segments) older() string { return s.path + ".1" }

func (s *segments) open() error {
	f, err := os.OpenFile(s.path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if err := f.Chmod(0o600); err != nil {
		f.Close()
		return err
	}
	s.file, s.size, s.records, s.began = f, 0, 0, time.Time{}
	return nil
}

// measure finds the end of the last whole line and cuts off what follows it.
func (s *segments) measure() error {
	text, err := io.ReadAll(io.LimitReader(s.file, 2*maxSegment))
	if err != nil {
		return err
	}
	text = text[:bytes.LastIndexByte(text, '\n')+1]
	s.size, s.records = int64(len(text)), bytes.Count(text, []byte{'\n'})
	for line := range bytes.Lines(text) {
		var first struct{ Time time.Time }
		if json.Unmarshal(line, &first) == nil {
			s.began = first.Time
			break
		}
	}
	return s.file.Truncate(s.size)
}

// append writes the records, in as many files as they need.
func (s *segments) append(list []Refused, now time.Time) error {
	for len(list) > 0 {
		if err := s.rotateIfDue(now); err != nil {
			return err
		}
		n := min(len(list), s.max-s.records)
		if err := s.appendHere(list[:n]); err != nil {
			return err
		}
		list = list[n:]
	}
	return nil
}

// appendHere writes the records as lines. What it could not write whole, it
// takes back.
func (s *segments) appendHere(list []Refused) error {
	var lines bytes.Buffer
	enc := json.NewEncoder(&lines)
	enc.SetEscapeHTML(false)
	for i := range list {
		if err := enc.Encode(&list[i]); err != nil {
			return fmt.Errorf("record %s: %w", list[i].Reference, err)
		}
	}
	if _, err := s.file.WriteAt(lines.Bytes(), s.size); err != nil {
		return errors.Join(err, s.file.Truncate(s.size))
	}
	if s.records == 0 {
		s.began = list[0].Time
	}
	s.size += int64(lines.Len())
	s.records += len(list)
	return nil
}

// rotateIfDue begins a new file when the present one is full or half as old
// as a record may become, and drops an older one that has outlived its use.
func (s *segments) rotateIfDue(now time.Time) error {
	full := s.records >= s.max || s.size >= maxSegment
	old := s.records > 0 && now.Sub(s.began) >= s.maxAge/2
	if full || old {
		if err := os.Rename(s.path, s.older()); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		previous := s.file
		if err := s.open(); err != nil {
			return err // s.file goes on, under its other name
		}
		return previous.Close()
	}
	info, err := os.Stat(s.older())
	if err == nil && now.Sub(info.ModTime()) >= s.maxAge {
		err = os.Remove(s.older())
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// newestFirst yields the records whose line holds mark. Damaged lines are
// passed over.
func (s *segments) newestFirst(mark []byte) iter.Seq2[Refused, error] {
	return func(yield func(Refused, error) bool) {
		for _, path := range []string{s.path, s.older()} {
			text, err := os.ReadFile(path)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				yield(Refused{}, err)
				return
			}
			if !yieldLines(text, mark, yield) {
				return
			}
		}
	}
}

// yieldLines yields the records in text from the last line to the first.
func yieldLines(text, mark []byte, yield func(Refused, error) bool) bool {
	for len(text) > 0 {
		text = bytes.TrimSuffix(text, []byte{'\n'})
		i := bytes.LastIndexByte(text, '\n')
		line := text[i+1:]
		text = text[:i+1]
		if !bytes.Contains(line, mark) {
			continue
		}
		var r Refused
		if json.Unmarshal(line, &r) != nil {
			continue
		}
		if !yield(r, nil) {
			return false
		}
	}
	return true
}

func (s *segments) close() error { return s.file.Close() }
