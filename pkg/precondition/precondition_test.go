package precondition_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/fault"
	"github.com/prefsd/prefsd/pkg/precondition"
)

func lines(s ...string) []string { return s }

func TestConditionsAreJudgedByRFC9110(t *testing.T) {
	t.Parallel()
	const ok, same, failed = precondition.Proceed, precondition.NotModified, precondition.Failed
	for name, c := range map[string]struct {
		match, none []string
		current     string
		absent      bool
		read, write precondition.Verdict
	}{
		"no condition":                          {current: "a", read: ok, write: ok},
		"no condition on nothing":               {absent: true, read: ok, write: ok},
		"current tag":                           {match: lines(`"a"`), current: "a"},
		"stale tag":                             {match: lines(`"b"`), current: "a", read: failed, write: failed},
		"bare tag":                              {match: lines(`v1`), current: "v1"},
		"bare base64":                           {match: lines(`AxY2c5nOpTu=`), current: "AxY2c5nOpTu="},
		"bare list":                             {match: lines(`x, a`), current: "a"},
		"weak tag never matches strongly":       {match: lines(`W/"a"`), current: "a", read: failed, write: failed},
		"weak beside strong":                    {match: lines(`W/"a", "b"`), current: "a", read: failed, write: failed},
		"bare tag that looks weak":              {match: lines(`W/a`), current: "a", read: failed, write: failed},
		"list":                                  {match: lines(`"x", "a","y"`), current: "a"},
		"two lines are one list":                {match: lines(`"x"`, `"a"`), current: "a"},
		"two lines, none current":               {match: lines(`"x"`, `"y"`), current: "a", read: failed, write: failed},
		"star on something":                     {match: lines(`*`), current: "a"},
		"star on nothing":                       {match: lines(`*`), absent: true, read: failed, write: failed},
		"star on an empty list with a tag":      {match: lines(`*`), current: "a", absent: true, read: failed, write: failed},
		"tag of an empty list":                  {match: lines(`"a"`), current: "a", absent: true},
		"tag on nothing":                        {match: lines(`"a"`), absent: true, read: failed, write: failed},
		"empty tag on nothing":                  {match: lines(`""`), absent: true, read: failed, write: failed},
		"empty tag":                             {match: lines(`""`), current: "a", read: failed, write: failed},
		"comma inside a tag":                    {match: lines(`"a,b"`), current: "a,b"},
		"star inside a tag":                     {match: lines(`"*"`), current: "a", read: failed, write: failed},
		"blank header":                          {match: lines(``), current: "a"},
		"blank header of blanks":                {match: lines(" \t "), current: "a"},
		"blank line beside a tag":               {match: lines(``, `"a"`, ` `), current: "a"},
		"blank line beside a star":              {match: lines(``, `*`), current: "a"},
		"empty list members":                    {match: lines(`, ,"a",`), current: "a"},
		"gzip tag":                              {match: lines(`"a-gz"`), current: "a"},
		"gzip tag of a tag with the suffix":     {match: lines(`"a-gz-gz"`), current: "a-gz"},
		"tag that ends like gzip":               {match: lines(`"a-gz"`), current: "a-gz"},
		"shorter than a tag that ends in it":    {match: lines(`"a"`), current: "a-gz", read: failed, write: failed},
		"tag of bytes over 0x80":                {match: lines("\"\xc3\xa9\""), current: "\xc3\xa9"},
		"unwanted tag":                          {none: lines(`"a"`), current: "a", read: same, write: failed},
		"unwanted weak tag":                     {none: lines(`W/"a"`), current: "a", read: same, write: failed},
		"unwanted gzip tag":                     {none: lines(`"a-gz"`), current: "a", read: same, write: failed},
		"unwanted weakened gzip tag":            {none: lines(`W/"a-gz"`), current: "a", read: same, write: failed},
		"second unwanted tag":                   {none: lines(`"z", "a"`), current: "a", read: same, write: failed},
		"another tag unwanted":                  {none: lines(`"b"`), current: "a"},
		"blank If-None-Match":                   {none: lines(``), current: "a"},
		"anything unwanted":                     {none: lines(`*`), current: "a", read: same, write: failed},
		"anything unwanted, nothing there":      {none: lines(`*`), absent: true},
		"anything unwanted, empty list":         {none: lines(`*`), current: "a", absent: true},
		"If-Match goes first":                   {match: lines(`"b"`), none: lines(`"a"`), current: "a", read: failed, write: failed},
		"If-Match holds, then If-None-Match":    {match: lines(`"a"`), none: lines(`"a"`), current: "a", read: same, write: failed},
		"If-Match holds and so does the second": {match: lines(`"a"`), none: lines(`"b"`), current: "a"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := precondition.Parse(c.match, c.none)
			require.NoError(t, err)
			require.Equal(t, c.read, got.ForRead(c.current, !c.absent), "read")
			require.Equal(t, c.write, got.ForWrite(c.current, !c.absent), "write")
		})
	}
}

func TestAMalformedHeaderIsNamed(t *testing.T) {
	t.Parallel()
	for _, value := range []string{
		`"a", *`, `*, "a"`, `*,*`, `**, *`, `"a`, `a"`, `"a"b`, `"a" "b"`, `"a b"`, `a b`, `w/"a"`, `W/"a`,
		`W/ "a"`, `"`, "\"a\x7f\"", "\"a\x00\"", "a\x01", "\u007f", `"a"; "b"`, `"a"",`,
		`,`, " \t,, ",
	} {
		t.Run(value, func(t *testing.T) {
			t.Parallel()
			for _, name := range []string{precondition.IfMatch, precondition.IfNoneMatch} {
				match, none := []string{value}, []string{`"ok"`}
				if name == precondition.IfNoneMatch {
					match, none = none, match
				}
				c, err := precondition.Parse(match, none)
				require.Equal(t, fault.Invalid, fault.CodeOf(err))
				require.Equal(t, fault.ReasonMalformedCondition, fault.ReasonOf(err))
				require.True(t, c.Empty())
				var f *fault.Error
				require.ErrorAs(t, err, &f)
				require.Len(t, f.Violations, 1)
				require.Equal(t, name, f.Violations[0].Field)
				require.Contains(t, f.Message, name)
			}
		})
	}
}

func TestBothMalformedHeadersAreNamedAtOnce(t *testing.T) {
	t.Parallel()
	_, err := precondition.Parse(lines(`"a`), lines(`*, *`))
	var f *fault.Error
	require.ErrorAs(t, err, &f)
	require.Len(t, f.Violations, 2)
	require.Contains(t, f.Message, "If-Match and If-None-Match")
}

func TestLinesDoNotMeltIntoOneTag(t *testing.T) {
	t.Parallel()
	_, err := precondition.Parse(lines(`"a`, `b"`), nil)
	require.Equal(t, fault.ReasonMalformedCondition, fault.ReasonOf(err))
	_, err = precondition.Parse(lines(`*`, `"a"`), nil)
	require.Equal(t, fault.ReasonMalformedCondition, fault.ReasonOf(err))
	_, err = precondition.Parse(lines(`"a"`, `*`), nil)
	require.Equal(t, fault.ReasonMalformedCondition, fault.ReasonOf(err))
}

func TestProvidedIsWhatTheCallerSent(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		match, none []string
		want        string
	}{
		"nothing":             {},
		"single tag":          {match: lines(`"v1"`), want: "v1"},
		"bare tag":            {match: lines(` v1 `), want: "v1"},
		"weak tag":            {match: lines(`W/"v1"`), want: `W/"v1"`},
		"star":                {match: lines(`*`), want: "*"},
		"list":                {match: lines(`"v1", "v2"`), want: `"v1", "v2"`},
		"lines":               {match: lines(`"v1"`, ``, `"v2"`), want: `"v1", "v2"`},
		"only If-None-Match":  {none: lines(`*`), want: "*"},
		"both, If-Match wins": {match: lines(`"v1"`), none: lines(`*`), want: "v1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := precondition.Parse(c.match, c.none)
			require.NoError(t, err)
			require.Equal(t, c.want, got.Provided())
		})
	}
}

func TestConditionsSayWhatTheyHold(t *testing.T) {
	t.Parallel()
	none, err := precondition.Parse(lines(``), lines(` `))
	require.NoError(t, err)
	require.True(t, none.Empty())
	require.False(t, none.HasIfMatch())
	require.False(t, none.HasIfNoneMatch())

	both, err := precondition.Parse(lines(`*`), lines(`"a"`))
	require.NoError(t, err)
	require.False(t, both.Empty())
	require.True(t, both.HasIfMatch())
	require.True(t, both.HasIfNoneMatch())
}

func TestRequireHoldsForItsTagOnly(t *testing.T) {
	t.Parallel()
	c := precondition.Require("v1")
	require.Equal(t, precondition.Proceed, c.ForWrite("v1", true))
	require.Equal(t, precondition.Failed, c.ForWrite("v2", true))
	require.Equal(t, "v1", c.Provided())
	require.True(t, precondition.Require("").Empty())
}

func TestVerdictsHaveNames(t *testing.T) {
	t.Parallel()
	require.Equal(t, "proceed", precondition.Proceed.String())
	require.Equal(t, "not modified", precondition.NotModified.String())
	require.Equal(t, "failed", precondition.Failed.String())
	require.Equal(t, "unknown verdict", precondition.Verdict(9).String())
}
