package ijson

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/prefsd/prefsd/pkg/fault"
)

// maxProblems bounds what is reported; reading ends there.
const maxProblems = 100

// maxName bounds how much of a caller's member name comes back in a path.
const maxName = 64

// severity sorts problems by the reason that they give the fault.
type severity int

const (
	wrong     severity = iota // a value that does not fit: INVALID_FIELD
	crowded                   // an array that is too long: TOO_MANY_ITEMS
	malformed                 // not I-JSON: INVALID_JSON
)

type problem struct {
	severity severity
	path     string
	text     string
}

// step is one element of a path: a member's name or an index.
type step struct {
	name   string
	index  int
	isName bool
}

// report keeps a problem of the value that is being read. It returns whether
// there is room for more.
func (p *parser) report(s severity, format string, args ...any) bool {
	p.problems = append(p.problems, problem{severity: s, path: render(p.path), text: fmt.Sprintf(format, args...)})
	return len(p.problems) < maxProblems
}

// broken keeps a problem of the grammar, with the position, and returns false:
// what follows it cannot be understood.
func (p *parser) broken(text string) bool {
	before := p.src[:min(p.pos, len(p.src))]
	line := strings.Count(before, "\n") + 1
	column := utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:]) + 1
	p.problems = append(p.problems, problem{
		severity: malformed,
		path:     render(p.path),
		text:     fmt.Sprintf("is not valid JSON at line %d, column %d: %s", line, column, text),
	})
	return false
}

// unexpected says what should have stood at pos.
func (p *parser) unexpected(want string) bool {
	if p.pos >= len(p.src) {
		return p.broken("it ends where " + want + " should be")
	}
	r, _ := utf8.DecodeRuneInString(p.src[p.pos:])
	return p.broken(strconv.QuoteRune(r) + " stands where " + want + " should be")
}

// fault returns everything that was found, or nil.
func (p *parser) fault() error {
	if len(p.problems) == 0 {
		return nil
	}
	worst := wrong
	violations := make([]fault.Violation, len(p.problems))
	for i, f := range p.problems {
		worst = max(worst, f.severity)
		violations[i] = fault.Violation{Field: f.path, Description: f.text}
	}
	reason := fault.ReasonInvalidField
	switch worst {
	case malformed:
		reason = ReasonInvalidJSON
	case crowded:
		reason = fault.ReasonTooManyItems
	case wrong:
	}
	return fault.New(fault.Invalid, reason, "%s", summary(p.problems)).Violating(violations...)
}

// summary is one sentence for people who see no more than that.
func summary(problems []problem) string {
	subject := problems[0].path
	if subject == wholeDocument {
		subject = "The document"
	}
	first := subject + " " + problems[0].text + "."
	if len(problems) == 1 {
		return first
	}
	return fmt.Sprintf("The document has %d problems. The first: %s", len(problems), first)
}

// ReasonInvalidJSON says that a document is not I-JSON at all.
const ReasonInvalidJSON fault.Reason = "INVALID_JSON"

// wholeDocument is the path of the document itself.
const wholeDocument = "$"

// render spells a path the way a programmer would: preferences[3].order.
func render(path []step) string {
	if len(path) == 0 {
		return wholeDocument
	}
	var b strings.Builder
	for _, s := range path {
		switch {
		case !s.isName:
			b.WriteString("[" + strconv.Itoa(s.index) + "]")
		case isPlain(s.name):
			if b.Len() > 0 {
				b.WriteByte('.')
			}
			b.WriteString(s.name)
		default:
			b.WriteString("[" + strconv.Quote(shorten(s.name)) + "]")
		}
	}
	return b.String()
}

func isPlain(name string) bool {
	if name == "" || len(name) > maxName {
		return false
	}
	for i := range len(name) {
		c := name[i]
		if !isDigit(c) && (c|0x20 < 'a' || c|0x20 > 'z') && c != '_' && c != '-' {
			return false
		}
	}
	return true
}

func shorten(name string) string {
	if len(name) <= maxName {
		return name
	}
	cut := maxName
	for !utf8.RuneStart(name[cut]) {
		cut--
	}
	return name[:cut] + "…"
}
