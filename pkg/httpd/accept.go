package httpd

import (
	"net/http"
	"strconv"
	"strings"
)

// TakesGzip reads Accept-Encoding by RFC 9110 section 12.5.3: gzip must be named
// or covered by an asterisk, and not be liked less than a plain body.
func TakesGzip(h http.Header) bool {
	named, others, plain := -1.0, -1.0, -1.0
	for _, line := range h["Accept-Encoding"] {
		for element := range strings.SplitSeq(line, ",") {
			coding, weight := Weighed(element)
			switch coding {
			case "gzip", "x-gzip":
				named = weight
			case "identity":
				plain = weight
			case "*":
				others = weight
			}
		}
	}
	if named < 0 {
		named = others
	}
	return named > 0 && named >= plain
}

// Weighed splits an element of a list into its value and its weight: 1 if none is
// given, 0 if it cannot be read.
func Weighed(element string) (value string, weight float64) {
	value, params, given := strings.Cut(element, ";")
	value = strings.ToLower(strings.Trim(value, " \t"))
	if !given {
		return value, 1
	}
	for param := range strings.SplitSeq(params, ";") {
		name, text, _ := strings.Cut(strings.Trim(param, " \t"), "=")
		if !strings.EqualFold(name, "q") {
			continue
		}
		q, err := strconv.ParseFloat(text, 64)
		if err != nil || q < 0 || q > 1 {
			return value, 0
		}
		return value, q
	}
	return value, 1
}
