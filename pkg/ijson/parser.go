package ijson

import "strings"

// parser reads a document from left to right. Its methods return whether reading
// can go on; what is wrong is kept in problems.
type parser struct {
	options
	src      string
	pos      int
	depth    int      // containers open in the value of free form
	nested   int      // containers open that belong to the target
	path     []step   // where pos is
	names    []string // members read of all open objects, innermost last
	problems []problem
}

// maxNested bounds the nesting of targets that contain themselves.
const maxNested = 64

// smallObject is up to how many members a scan beats a map.
const smallObject = 16

func (p *parser) space() {
	for p.pos < len(p.src) {
		switch p.src[p.pos] {
		case ' ', '\t', '\n', '\r':
			p.pos++
		default:
			return
		}
	}
}

// peek skips blanks and returns the next byte, 0 at the end. No document has a
// 0 outside a string, so that the two need not be told apart.
func (p *parser) peek() byte {
	p.space()
	if p.pos == len(p.src) {
		return 0
	}
	return p.src[p.pos]
}

// free reads a value of any form.
func (p *parser) free() bool {
	switch c := p.peek(); {
	case c == '{':
		return p.deeper((*parser).freeObject)
	case c == '[':
		return p.deeper((*parser).freeArray)
	case c == '"':
		_, ok := p.text()
		return ok
	case c == '-' || isDigit(c):
		_, ok := p.number()
		return ok
	default:
		_, ok := p.literal()
		return ok
	}
}

func (p *parser) freeObject() bool {
	return p.object(func(p *parser, _ string) bool { return p.free() })
}

func (p *parser) freeArray() bool {
	return p.array(func(p *parser, _ int) bool { return p.free() })
}

// deeper reads one container of a value of free form.
func (p *parser) deeper(read func(*parser) bool) bool {
	if p.depth == p.maxDepth {
		p.report(malformed, "nests deeper than %d levels", p.maxDepth)
		return false // going on would mean to nest just as deep
	}
	p.depth++
	ok := read(p)
	p.depth--
	return ok
}

// raw reads a value of any form and returns its text.
func (p *parser) raw() (string, bool) {
	p.space()
	start, depth := p.pos, p.depth
	p.depth = 0
	ok := p.free()
	p.depth = depth
	return p.src[start:p.pos], ok
}

// literal reads true, false or null.
func (p *parser) literal() (string, bool) {
	for _, word := range [...]string{"true", "false", "null"} {
		if strings.HasPrefix(p.src[p.pos:], word) {
			p.pos += len(word)
			return word, true
		}
	}
	return "", p.unexpected("a value")
}

// array reads the array at pos and calls element for each of its values.
func (p *parser) array(element func(p *parser, i int) bool) bool {
	p.pos++
	if p.peek() == ']' {
		p.pos++
		return true
	}
	p.path = append(p.path, step{})
	for i := 0; ; i++ {
		p.path[len(p.path)-1].index = i
		if !element(p, i) {
			return false
		}
		switch p.peek() {
		case ',':
			p.pos++
		case ']':
			p.pos++
			p.path = p.path[:len(p.path)-1]
			return true
		default:
			return p.unexpected("a comma or ]")
		}
	}
}

// object reads the object at pos and calls member for each of its values.
func (p *parser) object(member func(p *parser, name string) bool) bool {
	p.pos++
	if p.peek() == '}' {
		p.pos++
		return true
	}
	seen := nameSet{from: len(p.names)}
	for p.member(&seen, member) {
		switch p.peek() {
		case ',':
			p.pos++
			p.path = p.path[:len(p.path)-1]
		case '}':
			p.pos++
			p.path = p.path[:len(p.path)-1]
			p.names = p.names[:seen.from]
			return true
		default:
			return p.unexpected("a comma or }")
		}
	}
	return false
}

// member reads one name and its value. It leaves the name on the path.
func (p *parser) member(seen *nameSet, read func(p *parser, name string) bool) bool {
	if p.peek() != '"' {
		return p.unexpected("a member name in double quotes")
	}
	name, ok := p.text()
	if !ok {
		return false
	}
	p.path = append(p.path, step{name: name, isName: true})
	if !seen.add(p, name) && !p.report(malformed, "appears twice in its object") {
		return false
	}
	if p.peek() != ':' {
		return p.unexpected("a colon")
	}
	p.pos++
	p.space()
	return read(p, name)
}

// nameSet is the set of the names of one object. A few are compared one by one
// on the parser's stack, which costs nothing; more go into a map.
type nameSet struct {
	from  int
	index map[string]struct{}
}

func (s *nameSet) add(p *parser, name string) bool {
	if s.index != nil {
		before := len(s.index)
		s.index[name] = struct{}{}
		return len(s.index) > before
	}
	own := p.names[s.from:]
	for _, n := range own {
		if n == name {
			return false
		}
	}
	p.names = append(p.names, name)
	if len(own) < smallObject {
		return true
	}
	s.index = make(map[string]struct{}, 4*smallObject)
	for _, n := range p.names[s.from:] {
		s.index[n] = struct{}{}
	}
	return true
}
