package ijson

import (
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// text reads the string at pos.
func (p *parser) text() (string, bool) {
	start := p.pos + 1
	for i := start; i < len(p.src); i++ {
		switch c := p.src[i]; {
		case c == '"':
			p.pos = i + 1
			return p.src[start:i], true
		case c == '\\' || c >= utf8.RuneSelf:
			return p.richText(start, i)
		case c < ' ':
			p.pos = i
			return "", p.broken("a control character in a string must be escaped")
		}
	}
	p.pos = len(p.src)
	return "", p.broken("a string is not closed")
}

// richText goes on at i, where text found an escape or a byte outside ASCII.
func (p *parser) richText(start, i int) (string, bool) {
	var unescaped []byte // nil as long as the text equals its source
	from := start        // what follows was not copied yet
	for p.pos = i; p.pos < len(p.src); {
		switch c := p.src[p.pos]; {
		case c == '"':
			p.pos++
			if unescaped == nil {
				return p.src[start : p.pos-1], true
			}
			return string(append(unescaped, p.src[from:p.pos-1]...)), true
		case c == '\\':
			unescaped = append(unescaped, p.src[from:p.pos]...)
			r, ok := p.escape()
			if !ok {
				return "", false
			}
			unescaped = utf8.AppendRune(unescaped, r)
			from = p.pos
		case c < ' ':
			return "", p.broken("a control character in a string must be escaped")
		default:
			r, width := utf8.DecodeRuneInString(p.src[p.pos:])
			if isNoncharacter(r) && !p.report(malformed, "has the noncharacter U+%04X", r) {
				return "", false
			}
			p.pos += width
		}
	}
	return "", p.broken("a string is not closed")
}

// escape reads the escape sequence at pos.
func (p *parser) escape() (rune, bool) {
	if p.pos+1 == len(p.src) {
		p.pos++
		return 0, p.broken("a string is not closed")
	}
	c := p.src[p.pos+1]
	switch c {
	case '"', '\\', '/':
	case 'b':
		c = '\b'
	case 'f':
		c = '\f'
	case 'n':
		c = '\n'
	case 'r':
		c = '\r'
	case 't':
		c = '\t'
	case 'u':
		return p.unicodeEscape()
	default:
		return 0, p.broken(`a string has an unknown escape sequence`)
	}
	p.pos += 2
	return rune(c), true
}

// unicodeEscape reads \uXXXX, or two of them that form a surrogate pair.
func (p *parser) unicodeEscape() (rune, bool) {
	r, ok := p.hex(p.pos)
	if !ok {
		return 0, p.broken(`a string has \u without four hexadecimal digits`)
	}
	p.pos += 6
	if utf16.IsSurrogate(r) {
		low, _ := p.hex(p.pos)
		pair := utf16.DecodeRune(r, low)
		if pair == utf8.RuneError {
			return pair, p.report(malformed, "has a surrogate that is not part of a pair")
		}
		p.pos += 6
		r = pair
	}
	switch {
	case r == 0:
		return r, p.report(malformed, `has the character \u0000, which cannot be stored`)
	case isNoncharacter(r):
		return r, p.report(malformed, "has the noncharacter U+%04X", r)
	}
	return r, true
}

// hex reads the \uXXXX at i.
func (p *parser) hex(i int) (rune, bool) {
	if i+6 > len(p.src) || p.src[i] != '\\' || p.src[i+1] != 'u' {
		return 0, false
	}
	n, err := strconv.ParseUint(p.src[i+2:i+6], 16, 16)
	return rune(n), err == nil
}

// isNoncharacter reports the code points that RFC 7493 section 2.1 excludes
// besides surrogates.
func isNoncharacter(r rune) bool {
	return r&0xfffe == 0xfffe || (r >= 0xfdd0 && r <= 0xfdef)
}
