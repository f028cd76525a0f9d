package ctl

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

const (
	barWidth  = 30
	barEvery  = 100 * time.Millisecond
	lineEvery = 5 * time.Second // where nobody draws over a line
)

// progress tells a person how far long work has come: a bar on a terminal, a
// line now and then elsewhere. Programs that read the result never see it.
type progress struct {
	w        io.Writer
	terminal bool
	what     string
	total    int // 0: nobody knows
	next     time.Time
}

// progress begins to show work of so many steps.
func (o *output) progress(what string, total int) *progress {
	p := &progress{w: o.errors, what: what, total: total, terminal: isTerminal(o.errors)}
	if !p.terminal {
		p.next = time.Now().Add(lineEvery)
	}
	return p
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// at shows that so many steps are done.
func (p *progress) at(done int) {
	now := time.Now()
	if now.Before(p.next) {
		return
	}
	p.next = now.Add(lineEvery)
	if p.terminal {
		p.next = now.Add(barEvery)
	}
	p.draw(done)
}

// end shows the last state and leaves the line.
func (p *progress) end(done int) {
	if !p.terminal {
		return
	}
	p.draw(done)
	_, _ = fmt.Fprintln(p.w) // there is nowhere left to report to
}

func (p *progress) draw(done int) {
	_, _ = fmt.Fprint(p.w, p.text(done)) // as above
}

func (p *progress) text(done int) string {
	line := fmt.Sprintf("%s: %d", p.what, done)
	if p.total > 0 {
		line = fmt.Sprintf("%s: %s %d of %d (%d %%)", p.what, bar(done, p.total), done, p.total, 100*done/p.total)
	}
	if p.terminal {
		return "\r\x1b[K" + line
	}
	return line + "\n"
}

func bar(done, total int) string {
	full := min(barWidth, barWidth*done/total)
	return "[" + strings.Repeat("#", full) + strings.Repeat(".", barWidth-full) + "]"
}
