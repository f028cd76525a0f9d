package ijson

import (
	"bytes"
	"strconv"
	"strings"
)

const (
	// safeDigits is how many significant digits every double carries, and
	// safeExponent a decimal exponent that keeps far from both ends of its range.
	safeDigits   = 15
	safeExponent = 290
	// maxDigits is how many significant digits tell any two doubles apart.
	maxDigits = 17
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
// 0.1 and 1e300, but neither 2^53+1 nor 1e400. More digits than a double can need
// are taken of 64-bit integers only, which other languages write in full; to print
// hundreds of them exactly would also cost too much.
func survives(number string) bool {
	number = strings.TrimPrefix(number, "-")
	mantissa, exponent := number, "0"
	if i := strings.IndexAny(number, "eE"); i >= 0 {
		mantissa, exponent = number[:i], number[i+1:]
	}
	digits, point := significant(mantissa)
	if digits == "" {
		return true // zero, whatever its exponent
	}
	shift, err := strconv.Atoi(exponent)
	if err != nil {
		return false
	}
	point += shift // the number is 0.DIGITS * 10^point
	if len(digits) <= safeDigits && point < safeExponent && point > -safeExponent {
		return true
	}
	if len(digits) > maxDigits {
		return isExactInteger(digits, point)
	}
	f, err := strconv.ParseFloat(number, 64)
	if err != nil {
		return false
	}
	return reads(strconv.AppendFloat(make([]byte, 0, 32), f, 'e', len(digits)-1, 64), digits, point-1)
}

// isExactInteger reports whether 0.DIGITS * 10^point is an integer of 64 bits that
// a double holds exactly.
func isExactInteger(digits string, point int) bool {
	if point < len(digits) || point > len("18446744073709551615") {
		return false
	}
	n, err := strconv.ParseUint(digits+strings.Repeat("0", point-len(digits)), 10, 64)
	return err == nil && float64(n) < 1<<64 && uint64(float64(n)) == n
}

// reads reports whether printed, in the form d.ddde±dd, has these digits and this
// exponent.
func reads(printed []byte, digits string, exponent int) bool {
	mantissa, magnitude, _ := bytes.Cut(printed, []byte("e"))
	n, err := strconv.Atoi(string(magnitude))
	if err != nil || n != exponent || mantissa[0] != digits[0] {
		return false
	}
	return len(digits) == 1 || string(mantissa[len("d."):]) == digits[1:]
}

// significant strips a mantissa of its point and outer zeros; point is where the
// point stood relative to the first digit that is left.
func significant(mantissa string) (digits string, point int) {
	whole, fraction, _ := strings.Cut(mantissa, ".")
	digits = whole
	if fraction != "" {
		digits += fraction
	}
	trimmed := strings.TrimLeft(digits, "0")
	point = len(whole) - (len(digits) - len(trimmed))
	return strings.TrimRight(trimmed, "0"), point
}
