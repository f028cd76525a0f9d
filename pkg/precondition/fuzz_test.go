package precondition_test

import (
	"strings"
	"testing"

	"github.com/prefsd/prefsd/pkg/fault"
	"github.com/prefsd/prefsd/pkg/precondition"
)

func FuzzParse(f *testing.F) {
	for _, s := range []string{`"a"`, `"a", W/"b"`, `*`, ``, `,,`, `"a,b"`, `a, b`, `"a" "b"`, "\"\xff\"", `W/"`, `"a-gz"`} {
		f.Add(s, `"z"`, "a")
	}
	f.Fuzz(func(t *testing.T, first, second, current string) {
		c, err := precondition.Parse([]string{first, second}, nil)
		if err != nil {
			if fault.CodeOf(err) != fault.Invalid || !c.Empty() {
				t.Fatalf("%q, %q: %v, %+v", first, second, err, c)
			}
			return
		}
		// A blank line says nothing, wherever it stands.
		padded, err := precondition.Parse([]string{"", first, " ", second}, nil)
		if err != nil || padded.ForWrite(current, true) != c.ForWrite(current, true) {
			t.Fatalf("%q, %q: a blank line changed the verdict", first, second)
		}
		// Whatever is strongly matched is weakly matched too.
		none, err := precondition.Parse(nil, []string{first, second})
		if err != nil {
			t.Fatalf("%q, %q: accepted by one header only: %v", first, second, err)
		}
		if c.HasIfMatch() && c.ForWrite(current, true) == precondition.Proceed && none.ForWrite(current, true) != precondition.Failed {
			t.Fatalf("%q, %q: strong match of %q is no weak match", first, second, current)
		}
	})
}

func FuzzQuotedTagMatchesItself(f *testing.F) {
	f.Add("a", "b")
	f.Add("a,b", "*")
	f.Add("a-gz", "")
	f.Fuzz(func(t *testing.T, tag, other string) {
		if strings.ContainsFunc(tag+other, func(r rune) bool { return r <= ' ' || r == '"' || r == 0x7f }) || tag == "" {
			t.Skip("no entity tag")
		}
		c, err := precondition.Parse([]string{`W/"` + other + `" ,"` + tag + `"`}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := c.ForWrite(tag, true); got != precondition.Proceed {
			t.Fatalf("%q does not match itself", tag)
		}
		if got := c.ForWrite(tag+"x", true); got != precondition.Failed {
			t.Fatalf("%q matches %q", tag, tag+"x")
		}
	})
}
