package precondition

import "strings"

const blanks = " \t"

// What is wrong with a header, told to the one who sent it.
const (
	problemStar         = `must be either * alone or a list of entity tags`
	problemUnterminated = `has an entity tag without its closing quote, or with a character that a tag cannot have`
	problemSeparator    = `must separate entity tags by commas`
	problemNothing      = `must name an entity tag between its commas, or be left out`
	problemToken        = `must have entity tags in double quotes, such as "abc" or W/"abc"`
)

// parse reads all lines of one header as one list. It returns what is wrong, or
// nothing.
func parse(lines []string) (list, string) {
	var l list
	commas := false
	for _, line := range lines {
		commas = commas || strings.Contains(line, ",")
		line = strings.Trim(line, blanks+",")
		if line == "" {
			continue // a blank header is no condition, a blank element no tag
		}
		if l.any || (line == "*" && l.present) {
			return list{}, problemStar
		}
		l.add(line)
		if line == "*" {
			l.any = true
			continue
		}
		// A tag cannot span lines, so that each is read by itself.
		if problem := l.read(line); problem != "" {
			return list{}, problem
		}
	}
	if commas && !l.present {
		return list{}, problemNothing // a list without a tag is a mistake, and must not pass for no condition
	}
	return l, ""
}

func (l *list) add(line string) {
	if l.present {
		l.raw += ", " + line
		return
	}
	l.present, l.raw = true, line
}

// read appends the tags of a line that starts with one.
func (l *list) read(line string) string {
	for line != "" {
		tag, rest, problem := next(line)
		if problem != "" {
			return problem
		}
		l.tags = append(l.tags, tag)
		rest = strings.TrimLeft(rest, blanks)
		if rest != "" && rest[0] != ',' {
			return problemSeparator
		}
		line = strings.TrimLeft(rest, blanks+",")
	}
	return ""
}

// next cuts the first tag off s. Without quotes it is taken as a strong tag:
// clients send the etag of a body back as it stands there.
func next(s string) (tag entityTag, rest, problem string) {
	if body, ok := strings.CutPrefix(s, `W/"`); ok {
		tag.weak, s = true, `"`+body
	}
	if s[0] != '"' {
		return bare(s)
	}
	end := 1
	for end < len(s) && isTagByte(s[end]) {
		end++
	}
	if end == len(s) || s[end] != '"' {
		return entityTag{}, "", problemUnterminated
	}
	tag.opaque = s[1:end]
	return tag, s[end+1:], ""
}

func bare(s string) (tag entityTag, rest, problem string) {
	end := 0
	for end < len(s) && isTagByte(s[end]) && s[end] != ',' {
		end++
	}
	switch {
	case s[:end] == "*":
		return entityTag{}, "", problemStar
	case end == 0, end < len(s) && !strings.ContainsRune(blanks+",", rune(s[end])):
		return entityTag{}, "", problemToken
	}
	return entityTag{opaque: s[:end]}, s[end:], ""
}

// isTagByte is etagc of RFC 9110 section 8.8.3.
func isTagByte(b byte) bool {
	return b == 0x21 || (b >= 0x23 && b <= 0x7e) || b >= 0x80
}
