package middleware

import "net/http"

// headerTraceparent is in the spelling of net/http.
const headerTraceparent = "Traceparent"

// Layout of a traceparent: version "-" trace id "-" parent id "-" flags.
const (
	traceAt, traceEnd   = 3, 35
	parentAt, parentEnd = 36, 52
	flagsAt, flagsEnd   = 53, 55
)

// traceparent returns the W3C trace context of a request in the form of version
// 00, or nothing. A broken one is ignored, as the recommendation asks: tracing
// must not make a request fail.
func traceparent(h http.Header) string {
	values := h[headerTraceparent]
	if len(values) != 1 {
		return ""
	}
	v := values[0]
	if len(v) < flagsEnd || v[2] != '-' || v[traceEnd] != '-' || v[parentEnd] != '-' {
		return ""
	}
	version := v[:2]
	known := version == "00" && len(v) == flagsEnd
	newer := version != "00" && version != "ff" && (len(v) == flagsEnd || v[flagsEnd] == '-')
	if !known && !newer || !isHex(version) || !isHex(v[flagsAt:flagsEnd]) ||
		!isID(v[traceAt:traceEnd]) || !isID(v[parentAt:parentEnd]) {
		return ""
	}
	if known {
		return v
	}
	return "00" + v[2:flagsEnd]
}

// isID says whether s is lower-case hex and not all zero.
func isID(s string) bool {
	zero := true
	for i := range len(s) {
		zero = zero && s[i] == '0'
	}
	return !zero && isHex(s)
}

func isHex(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
