// Package precondition reads and judges If-Match and If-None-Match by RFC 9110
// section 13. It knows nothing of HTTP: header values come in as strings, and a
// verdict goes out, so that the rules can be applied where the version they
// speak about is locked.
package precondition

import (
	"strings"

	"github.com/prefsd/prefsd/pkg/fault"
)

// Header names, as faults and answers spell them.
const (
	IfMatch     = "If-Match"
	IfNoneMatch = "If-None-Match"
)

// GzipSuffix marks the tag of a gzip-encoded representation. RFC 9110 section
// 8.8.3.3 wants it to differ from the tag of the plain one; both name the same
// state, so a condition may carry either.
const GzipSuffix = "-gz"

// Verdict is the outcome of evaluating conditions.
type Verdict int

// Verdicts, in the words of RFC 9110 section 13.2.2.
const (
	// Proceed means that the request may be carried out.
	Proceed Verdict = iota
	// NotModified means that the caller already has what it asks for: 304.
	NotModified
	// Failed means that a condition does not hold: 412.
	Failed
)

// String names the verdict for logs and tests.
func (v Verdict) String() string {
	switch v {
	case Proceed:
		return "proceed"
	case NotModified:
		return "not modified"
	case Failed:
		return "failed"
	default:
		return "unknown verdict"
	}
}

// Conditions are the preconditions of one request. The zero value has none.
type Conditions struct {
	match, noneMatch list
}

// Parse reads all field lines of both headers. A field that is absent or blank
// is no condition. A malformed one gives a fault that names its header; if both
// are malformed it names both.
func Parse(ifMatch, ifNoneMatch []string) (Conditions, error) {
	var c Conditions
	var bad []fault.Violation
	var problem string
	if c.match, problem = parse(ifMatch); problem != "" {
		bad = append(bad, fault.Violation{Field: IfMatch, Description: problem})
	}
	if c.noneMatch, problem = parse(ifNoneMatch); problem != "" {
		bad = append(bad, fault.Violation{Field: IfNoneMatch, Description: problem})
	}
	if len(bad) == 0 {
		return c, nil
	}
	names := bad[0].Field
	if len(bad) > 1 {
		names += " and " + bad[1].Field
	}
	return Conditions{}, fault.New(fault.Invalid, fault.ReasonMalformedCondition, "%s cannot be read.", names).
		Violating(bad...)
}

// Require returns the condition that the state has exactly this tag, for
// callers that hold a tag in their hands instead of a header.
func Require(tag string) Conditions {
	if tag == "" {
		return Conditions{}
	}
	return Conditions{match: list{present: true, tags: []entityTag{{opaque: tag}}, raw: tag}}
}

// Empty reports whether there is no condition at all.
func (c Conditions) Empty() bool { return !c.match.present && !c.noneMatch.present }

// HasIfMatch reports whether the caller named the state it has seen.
func (c Conditions) HasIfMatch() bool { return c.match.present }

// HasIfNoneMatch reports whether the caller named states that it does not want.
func (c Conditions) HasIfNoneMatch() bool { return c.noneMatch.present }

// Excludes reports whether If-None-Match names exactly this tag.
func (c Conditions) Excludes(tag string) bool {
	for _, t := range c.noneMatch.tags {
		if t.opaque == tag {
			return true
		}
	}
	return false
}

// Provided is what the caller sent: If-Match, or else If-None-Match. A single
// strong tag comes without its quotes, the way tags stand in bodies.
func (c Conditions) Provided() string {
	l := c.match
	if !l.present {
		l = c.noneMatch
	}
	if len(l.tags) == 1 && !l.tags[0].weak {
		return l.tags[0].opaque
	}
	return l.raw
}

// ForRead judges the conditions of a request that changes nothing. Current is
// the tag of the state without quotes, empty if it has none. Exists decides what
// `*` means; it is separate because an empty list has a tag and yet is nothing.
func (c Conditions) ForRead(current string, exists bool) Verdict {
	return c.judge(current, exists, NotModified)
}

// ForWrite judges the conditions of a request that changes the state; the
// arguments are those of ForRead.
func (c Conditions) ForWrite(current string, exists bool) Verdict {
	return c.judge(current, exists, Failed)
}

// judge keeps the order of RFC 9110 section 13.2.2: If-Match first.
func (c Conditions) judge(current string, exists bool, unwanted Verdict) Verdict {
	if c.match.present && !c.match.names(current, exists, false) {
		return Failed
	}
	if c.noneMatch.present && c.noneMatch.names(current, exists, true) {
		return unwanted
	}
	return Proceed
}

// list is the value of one header.
type list struct {
	present bool
	any     bool
	tags    []entityTag
	raw     string
}

type entityTag struct {
	weak   bool
	opaque string
}

// names reports whether the list names the current state. Weak tags take part in
// the weak comparison only.
func (l list) names(current string, exists, weakly bool) bool {
	if l.any {
		return exists
	}
	if current == "" {
		return false
	}
	for _, t := range l.tags {
		if t.weak && !weakly {
			continue
		}
		// Only what the caller sent loses the suffix: a tag that happens to
		// end like it must still equal itself.
		if t.opaque == current || strings.TrimSuffix(t.opaque, GzipSuffix) == current {
			return true
		}
	}
	return false
}
