package page

import (
	"fmt"
	"html/template"
	"strings"
)

// A step is one thing to do, with a picture of what it looks like there.
type step struct {
	Text string
	// Screen are the lines of the picture, the first one being its heading; none
	// for no picture. One that begins with ">" is to be tapped, an empty one
	// stands for what does not matter.
	Screen []string
}

// Measures of a picture, in its own units.
const (
	pictureWidth = 240
	pictureRow   = 30
	pictureEdge  = 10
)

// Picture draws the screen. It repeats what the text says, so screen readers
// pass it over.
func (s step) Picture() template.HTML {
	if len(s.Screen) == 0 {
		return ""
	}
	var out strings.Builder
	height := pictureRow*len(s.Screen) + 2*pictureEdge
	fmt.Fprintf(&out, `<svg class="picture" viewBox="0 0 %d %d" aria-hidden="true" focusable="false"><rect class="screen" x="1" y="1" width="%d" height="%d" rx="12"/>`,
		pictureWidth, height, pictureWidth-2, height-2)
	for i, line := range s.Screen {
		y := pictureEdge + i*pictureRow
		text, tap := strings.CutPrefix(line, ">")
		class := "line"
		switch {
		case i == 0:
			class = "head"
		case tap:
			class = "tap"
		}
		if class != "head" {
			fmt.Fprintf(&out, `<rect class="%s" x="%d" y="%d" width="%d" height="%d" rx="6"/>`, class, pictureEdge, y+2, pictureWidth-2*pictureEdge, pictureRow-4)
		}
		if text == "" {
			fmt.Fprintf(&out, `<rect class="blank" x="%d" y="%d" width="%d" height="6" rx="3"/>`, pictureEdge+10, y+pictureRow/2-3, 90+i*37%60)
			continue
		}
		fmt.Fprintf(&out, `<text class="%s" x="%d" y="%d">%s</text>`, class, pictureEdge+10, y+pictureRow/2+4, template.HTMLEscapeString(text))
	}
	out.WriteString("</svg>")
	return template.HTML(out.String())
}
