package ijson

import (
	"strconv"
	"strings"
)

const (
	// safeDigits is how many significant digits every double carries, and
	// safeExponent a decimal exponent that keeps far from both ends of its range.
	safeDigits   = 15
	safeExponent = 290
	// maxDigits is how many significant digits a double has at most when it is
	// written out exactly.
	maxDigits = 767
)

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// number reads the number at pos and returns its spelling.
func (p *parser) number() (string, bool) {
	start := p.pos
	if p.src[p.pos] == '-' {
		p.pos++
	}
	switch {
	case p.pos < len(p.src) && p.src[p.pos] == '0':
		p.pos++
	case !p.digits():
		return "", p.unexpected("a digit")
	}
	if p.pos < len(p.src) && p.src[p.pos] == '.' {
		p.pos++
		if !p.digits() {
			return "", p.unexpected("a digit")
		}
	}
	if p.pos < len(p.src) && p.src[p.pos]|0x20 == 'e' {
		p.pos++
		if p.pos < len(p.src) && (p.src[p.pos] == '+' || p.src[p.pos] == '-') {
			p.pos++
		}
		if !p.digits() {
			return "", p.unexpected("a digit")
		}
	}
	text := p.src[start:p.pos]
	if !survives(text) {
		return text, p.report(wrong, "must be a number that a double carries exactly; send others as a string")
	}
	return text, true
}

// digits reads one digit or more.
func (p *parser) digits() bool {
	start := p.pos
	for p.pos < len(p.src) && isDigit(p.src[p.pos]) {
		p.pos++
	}
	return p.pos > start
}

// survives reports whether a JSON number comes back from a double: printing the
// double with as many significant digits must give the same number. That takes
// 0.1 and 1e300, but neither 2^53+1 nor 1e400.
func survives(number string) bool {
	number = strings.TrimPrefix(number, "-")
	mantissa, exponent := number, ""
	if i := strings.IndexAny(number, "eE"); i >= 0 {
		mantissa, exponent = number[:i], number[i+1:]
	}
	digits, scale := significant(mantissa)
	switch {
	case digits == "":
		return true // zero, whatever its exponent
	case len(digits) > maxDigits:
		return false
	}
	shift := 0
	if exponent != "" {
		var err error
		if shift, err = strconv.Atoi(exponent); err != nil {
			return false
		}
	}
	// The number is 0.DIGITS * 10^point.
	point := scale + shift
	if len(digits) <= safeDigits && point < safeExponent && point > -safeExponent {
		return true
	}
	f, err := strconv.ParseFloat(number, 64)
	if err != nil {
		return false
	}
	printed, printedExponent, _ := strings.Cut(strconv.FormatFloat(f, 'e', len(digits)-1, 64), "e")
	magnitude, err := strconv.Atoi(printedExponent)
	return err == nil && magnitude == point-1 && strings.Replace(printed, ".", "", 1) == digits
}

// significant strips a mantissa of its point and outer zeros; scale is where the
// point stood relative to the first digit that is left.
func significant(mantissa string) (digits string, scale int) {
	whole, fraction, _ := strings.Cut(mantissa, ".")
	digits = whole
	if fraction != "" {
		digits += fraction
	}
	trimmed := strings.TrimLeft(digits, "0")
	scale = len(whole) - (len(digits) - len(trimmed))
	return strings.TrimRight(trimmed, "0"), scale
}
