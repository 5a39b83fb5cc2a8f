package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// table writes rows in columns under their heads, every cell cleaned.
func table(w io.Writer, heads []string, rows [][]string) {
	all := append([][]string{heads}, rows...)
	widths := make([]int, len(heads))
	for _, row := range all {
		for i := range row {
			row[i] = clean(row[i])
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i]))
		}
	}
	for _, row := range all {
		var line strings.Builder
		for i, cell := range row {
			line.WriteString(cell)
			line.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+2))
		}
		fmt.Fprintln(w, strings.TrimRight(line.String(), " "))
	}
}

// tailed writes a table whose last column may be long: on a terminal that it
// would not fit, that column goes below each row, in lines of its own.
func (a *app) tailed(w io.Writer, heads []string, rows [][]string) {
	last, width := len(heads)-1, 0
	for i := range heads {
		column := 0
		for _, row := range append(slices.Clone(rows), heads) {
			column = max(column, utf8.RuneCountInString(clean(row[i]))+2)
		}
		width += column
	}
	if !a.StdoutTerminal || width-2 <= usualWidth {
		table(w, heads, rows)
		return
	}
	const indent = "  "
	short := make([][]string, len(rows))
	for i, row := range rows {
		short[i] = slices.Clone(row[:last])
	}
	var lines strings.Builder
	table(&lines, slices.Clone(heads[:last]), short)
	for i, line := range strings.Split(strings.TrimSuffix(lines.String(), "\n"), "\n") {
		fmt.Fprintln(w, line)
		if i > 0 {
			for _, part := range wrap(clean(rows[i-1][last]), usualWidth-len(indent)) {
				fmt.Fprintln(w, indent+part)
			}
		}
	}
}

// facts writes names with their values, one a line, leaving out empty ones.
func facts(w io.Writer, pairs ...string) {
	width := 0
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			width = max(width, len(pairs[i]))
		}
	}
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			fmt.Fprintf(w, "%-*s  %s\n", width, pairs[i], clean(pairs[i+1]))
		}
	}
}

// moment writes a time as people in this place read it, with the zone; "" for
// none.
func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format("2006-01-02 15:04 MST")
}

// span writes a duration roughly: 364 days, 5 hours, 15 minutes.
func span(d time.Duration) string {
	n, unit := int64(d.Round(time.Second)/time.Second), "second"
	switch {
	case d >= 48*time.Hour:
		n, unit = int64(d/(24*time.Hour)), "day"
	case d >= 2*time.Hour:
		n, unit = int64(d.Round(time.Hour)/time.Hour), "hour"
	case d >= 2*time.Minute:
		n, unit = int64(d.Round(time.Minute)/time.Minute), "minute"
	}
	return count(int(n), unit)
}

// count writes a number with its noun.
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	if stem, ok := strings.CutSuffix(noun, "ry"); ok {
		return fmt.Sprintf("%d %sries", n, stem)
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
