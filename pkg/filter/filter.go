// Package filter reads filter expressions: of AIP-160, fields that are compared
// with literals for equality, joined by AND. What the fields are is for its
// callers to know.
package filter

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Term is one comparison: all of an expression's terms must hold.
type Term struct {
	Field   []string // its segments, without dots and quotes
	Literal Literal
	At      int // the character at which the term begins, from 1
}

// Literal is what a field is compared with.
type Literal struct {
	Text   string // without quotes and escapes
	Quoted bool   // a string, whatever it looks like
}

// Error says what is wrong with an expression, and where.
type Error struct {
	At      int    // the character, from 1
	Problem string // a sentence without its beginning, for whoever wrote it
}

func (e *Error) Error() string { return fmt.Sprintf("at character %d: %s", e.At, e.Problem) }

// Parse reads an expression. A mistake is reported as an *Error.
func Parse(expression string) ([]Term, error) {
	if !utf8.ValidString(expression) {
		return nil, &Error{1, "must be UTF-8"}
	}
	p := parser{text: expression}
	var terms []Term
	for {
		term, err := p.term()
		if err != nil {
			return nil, err
		}
		terms = append(terms, term)
		if p.blanks(); p.rest() == "" {
			return terms, nil
		}
		if err := p.conjunction(); err != nil {
			return nil, err
		}
	}
}

// Words that mean something to AIP-160 and so cannot stand for themselves.
const (
	and = "AND"
	or  = "OR"
	not = "NOT"
)

// parser stands at a byte of an expression.
type parser struct {
	text string
	pos  int
}

func (p *parser) rest() string { return p.text[p.pos:] }

// at is the character that the parser stands at, or before which it ended.
func (p *parser) at() int { return utf8.RuneCountInString(p.text[:p.pos]) + 1 }

func (p *parser) wrong(format string, args ...any) *Error {
	return &Error{p.at(), fmt.Sprintf(format, args...)}
}

func (p *parser) blanks() {
	p.pos = len(p.text) - len(strings.TrimLeft(p.rest(), " \t\r\n"))
}

// term reads field = literal.
func (p *parser) term() (Term, error) {
	p.blanks()
	t := Term{At: p.at()}
	var err error
	if t.Field, err = p.field(); err != nil {
		return Term{}, err
	}
	p.blanks()
	if !strings.HasPrefix(p.rest(), "=") {
		return Term{}, p.wrong("must have = here; a field can be compared with a literal for equality, and in no other way")
	}
	p.pos++
	p.blanks()
	t.Literal, err = p.literal()
	return t, err
}

// field reads segments with dots between them.
func (p *parser) field() ([]string, error) {
	var segments []string
	for {
		segment, err := p.segment()
		if err != nil {
			return nil, err
		}
		segments = append(segments, segment)
		if !strings.HasPrefix(p.rest(), ".") {
			return segments, nil
		}
		p.pos++
	}
}

func (p *parser) segment() (string, error) {
	if p.quote() {
		return p.quoted()
	}
	word := p.word(isNameByte)
	switch word {
	case "":
		return "", p.wrong("must name a field here; a name with other characters than letters, digits, _ and - needs quotes")
	case and, or, not:
		p.pos -= len(word)
		return "", p.wrong("must name a field here, not %s", word)
	}
	return word, nil
}

func (p *parser) literal() (Literal, error) {
	if p.quote() {
		text, err := p.quoted()
		return Literal{text, true}, err
	}
	word := p.word(isLiteralByte)
	switch word {
	case "":
		return Literal{}, p.wrong("must have a literal here; a string with other characters than letters, digits and . _ : + - needs quotes")
	case and, or, not:
		p.pos -= len(word)
		return Literal{}, p.wrong("must have a literal here; the word %s needs quotes", word)
	}
	return Literal{Text: word}, nil
}

// conjunction reads the AND between two terms.
func (p *parser) conjunction() error {
	start := p.pos
	if p.word(isNameByte) == and && p.pos < len(p.text) && strings.ContainsRune(" \t\r\n", rune(p.text[p.pos])) {
		return nil
	}
	p.pos = start
	return p.wrong("must have AND here, or the end; OR, NOT, parentheses and further operators are not supported")
}

func (p *parser) word(belongs func(byte) bool) string {
	start := p.pos
	for p.pos < len(p.text) && belongs(p.text[p.pos]) {
		p.pos++
	}
	return p.text[start:p.pos]
}

func (p *parser) quote() bool {
	return p.pos < len(p.text) && (p.text[p.pos] == '"' || p.text[p.pos] == '\'')
}

// quoted reads a string in double or single quotes. A backslash stands before a
// quote or another backslash.
func (p *parser) quoted() (string, error) {
	opened := p.at()
	mark := p.text[p.pos]
	var out strings.Builder
	for p.pos++; p.pos < len(p.text); p.pos++ {
		switch c := p.text[p.pos]; c {
		case mark:
			p.pos++
			return out.String(), nil
		case '\\':
			if p.pos+1 == len(p.text) || !strings.ContainsRune(`"'\`, rune(p.text[p.pos+1])) {
				return "", p.wrong(`must have ", ' or \ after a backslash`)
			}
			p.pos++
			out.WriteByte(p.text[p.pos])
		default:
			out.WriteByte(c)
		}
	}
	return "", &Error{opened, "must have a closing quote for the one here"}
}

func isNameByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-'
}

func isLiteralByte(c byte) bool {
	return isNameByte(c) || c == '.' || c == ':' || c == '+'
}
