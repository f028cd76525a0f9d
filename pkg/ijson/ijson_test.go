package ijson_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/fault"
	"github.com/prefsd/prefsd/pkg/ijson"
)

type itemJSON struct {
	EntityID   string          `json:"entityId"`
	Order      *int32          `json:"order,omitempty"`
	Attributes json.RawMessage `json:"attributes"`
}

// OutputOnly lists what comes back from a GET.
func (itemJSON) OutputOnly() []string { return []string{"id", "etag"} }

type bodyJSON struct {
	Domain      string     `json:"domain"`
	Preferences []itemJSON `json:"preferences"`
	Force       bool       `json:"force"`
	Ratio       float64    `json:"ratio"`
	Small       float32    `json:"small"`
}

// decode reads a body and returns what is wrong with it, one line a problem.
func decode(t *testing.T, document string, opts ...ijson.Option) (bodyJSON, []string) {
	t.Helper()
	var body bodyJSON
	err := ijson.Decode([]byte(document), &body, opts...)
	return body, problems(t, err)
}

func problems(t *testing.T, err error) []string {
	t.Helper()
	if err == nil {
		return nil
	}
	require.Equal(t, fault.Invalid, fault.CodeOf(err))
	f, ok := errors.AsType[*fault.Error](err)
	require.True(t, ok)
	require.NotEmpty(t, f.Violations)
	lines := make([]string, len(f.Violations))
	for i, v := range f.Violations {
		lines[i] = v.Field + " " + v.Description
	}
	return lines
}

func TestAGoodDocumentFillsItsTarget(t *testing.T) {
	t.Parallel()
	one := int32(1)
	body, wrong := decode(t, ` {"domain":"acc\u006funts", "preferences" : [
		{"entityId":"a","order":1,"attributes":{"isFavorite":true,"n":[1.0,null]},"id":"x","etag":7},
		{"entityId":"é😀\ud83d\ude00"}, {}], "force":true, "ratio":-2.5e-1, "small":0.5}
	`)
	require.Empty(t, wrong)
	want := bodyJSON{
		Domain: "accounts", Force: true, Ratio: -0.25, Small: 0.5,
		Preferences: []itemJSON{
			{EntityID: "a", Order: &one, Attributes: json.RawMessage(`{"isFavorite":true,"n":[1.0,null]}`)},
			{EntityID: "é😀😀"},
			{},
		},
	}
	require.Empty(t, cmp.Diff(want, body))
}

func TestAbsentNullAndValueDiffer(t *testing.T) {
	t.Parallel()
	body, wrong := decode(t, `{"preferences":[{},{"attributes":null},{"attributes":{}}]}`)
	require.Empty(t, wrong)
	require.Nil(t, body.Preferences[0].Attributes)
	require.JSONEq(t, `null`, string(body.Preferences[1].Attributes))
	require.JSONEq(t, `{}`, string(body.Preferences[2].Attributes))

	body, wrong = decode(t, `{}`)
	require.Empty(t, wrong)
	require.Nil(t, body.Preferences)
	body, wrong = decode(t, `{"preferences":[]}`)
	require.Empty(t, wrong)
	require.NotNil(t, body.Preferences)
	require.Empty(t, body.Preferences)
}

func TestRawBytesAreNotShared(t *testing.T) {
	t.Parallel()
	data := []byte(`{"preferences":[{"attributes":{"a":1}}]}`)
	var body bodyJSON
	require.NoError(t, ijson.Decode(data, &body))
	clear(data)
	require.JSONEq(t, `{"a":1}`, string(body.Preferences[0].Attributes))
}

func TestMembersAreRefusedWithPathAndHelp(t *testing.T) {
	t.Parallel()
	item := func(s string) string { return `{"preferences":[{},{},{},{` + s + `}]}` }
	for document, want := range map[string]string{
		`[]`:                             `$ must be an object, but is an array`,
		`null`:                           `$ must be an object, not null; leave it out to say nothing`,
		`"x"`:                            `$ must be an object, but is a string`,
		`7`:                              `$ must be an object, but is a number`,
		`true`:                           `$ must be an object, but is a boolean`,
		`{"preferences":{}}`:             `preferences must be an array, but is an object`,
		`{"preferences":null}`:           `preferences must be an array, not null; leave it out to say nothing`,
		`{"preferences":[7]}`:            `preferences[0] must be an object, but is a number`,
		`{"domain":null}`:                `domain must be a string, not null; leave it out to say nothing`,
		`{"domain":{"a":[]}}`:            `domain must be a string, but is an object`,
		`{"force":1}`:                    `force must be true or false, but is a number`,
		`{"force":"true"}`:               `force must be true or false, but is a string`,
		`{"ratio":"1"}`:                  `ratio must be a number, but is a string`,
		`{"small":1e39}`:                 `small must be a number that fits into 32 bits`,
		`{"preferense":[]}`:              `preferense is not known here; known are domain, preferences, force, ratio, small`,
		`{"a b":1}`:                      `["a b"] is not known here; known are domain, preferences, force, ratio, small`,
		`{"":1}`:                         `[""] is not known here; known are domain, preferences, force, ratio, small`,
		`{"id":"x"}`:                     `id is not known here; known are domain, preferences, force, ratio, small`,
		item(`"ENTITYID":"a"`):           `preferences[3].ENTITYID is not known here; it is spelled entityId`,
		item(`"ordre":1`):                `preferences[3].ordre is not known here; known are entityId, order, attributes`,
		item(`"order":1.5`):              `preferences[3].order must be an integer, without a fraction or an exponent`,
		item(`"order":1.0`):              `preferences[3].order must be an integer, without a fraction or an exponent`,
		item(`"order":1e2`):              `preferences[3].order must be an integer, without a fraction or an exponent`,
		item(`"order":"1"`):              `preferences[3].order must be an integer, but is a string`,
		item(`"order":null`):             `preferences[3].order must be an integer, not null; leave it out to say nothing`,
		item(`"order":2147483648`):       `preferences[3].order must be an integer between -2147483648 and 2147483647`,
		item(`"order":-2147483649`):      `preferences[3].order must be an integer between -2147483648 and 2147483647`,
		item(`"order":9007199254740993`): `preferences[3].order must be a number that a double carries exactly; send others as a string`,
		item(`"attributes":{"n":9007199254740993}`): `preferences[3].attributes.n must be a number that a double carries exactly; send others as a string`,
		item(`"attributes":[0,{"a b":1e400}]`):      `preferences[3].attributes[1]["a b"] must be a number that a double carries exactly; send others as a string`,
		item(`"attributes":1e131072`):               `preferences[3].attributes must be a number that a double carries exactly; send others as a string`,
	} {
		t.Run(document, func(t *testing.T) {
			t.Parallel()
			_, wrong := decode(t, document)
			require.Equal(t, []string{want}, wrong)
			var body bodyJSON
			require.Equal(t, fault.ReasonInvalidField, fault.ReasonOf(ijson.Decode([]byte(document), &body)))
		})
	}
}

// Each document is refused as a whole, as body and in Check.
func TestWhatIsNotIJSONIsRefused(t *testing.T) {
	t.Parallel()
	for document, want := range map[string]string{
		``:                                 `$ is not valid JSON at line 1, column 1: it is empty`,
		" \n ":                             `$ is not valid JSON at line 2, column 2: it is empty`,
		"\ufeff{}":                         `$ is not valid JSON at line 1, column 1: it starts with a byte order mark`,
		"{\"domain\":\"é\xff\"}":           `$ is not valid JSON at line 1, column 13: it is not valid UTF-8`,
		"{\"domain\":\"\xed\xa0\x80\"}":    `$ is not valid JSON at line 1, column 12: it is not valid UTF-8`,
		"\xff\xfe{\x00":                    `$ is not valid JSON at line 1, column 1: it is not valid UTF-8`,
		`{} {}`:                            `$ is not valid JSON at line 1, column 4: there is something after its end`,
		`{}x`:                              `$ is not valid JSON at line 1, column 3: there is something after its end`,
		"{}\x00":                           `$ is not valid JSON at line 1, column 3: there is something after its end`,
		`{`:                                `$ is not valid JSON at line 1, column 2: it ends where a member name in double quotes should be`,
		`{"domain"`:                        `domain is not valid JSON at line 1, column 10: it ends where a colon should be`,
		`{"domain":`:                       `domain is not valid JSON at line 1, column 11: it ends where a value should be`,
		`{"domain":"a`:                     `domain is not valid JSON at line 1, column 13: a string is not closed`,
		`{"domain":"é`:                     `domain is not valid JSON at line 1, column 13: a string is not closed`,
		`{"domain":"\`:                     `domain is not valid JSON at line 1, column 13: a string is not closed`,
		`{"domain":"a"`:                    `domain is not valid JSON at line 1, column 14: it ends where a comma or } should be`,
		`{"domain":"a",}`:                  `$ is not valid JSON at line 1, column 15: '}' stands where a member name in double quotes should be`,
		`{domain:"a"}`:                     `$ is not valid JSON at line 1, column 2: 'd' stands where a member name in double quotes should be`,
		`{'domain':"a"}`:                   `$ is not valid JSON at line 1, column 2: '\'' stands where a member name in double quotes should be`,
		`{"domain" "a"}`:                   `domain is not valid JSON at line 1, column 11: '"' stands where a colon should be`,
		"{\n \"domain\":\n tru}":           `domain is not valid JSON at line 3, column 2: 't' stands where a value should be`,
		`{"force":trueish}`:                `force is not valid JSON at line 1, column 14: 'i' stands where a comma or } should be`,
		`{"preferences":[{},]}`:            `preferences[1] is not valid JSON at line 1, column 20: ']' stands where a value should be`,
		`{"preferences":[{} {}]}`:          `preferences[0] is not valid JSON at line 1, column 20: '{' stands where a comma or ] should be`,
		`{"ratio":01}`:                     `ratio is not valid JSON at line 1, column 11: '1' stands where a comma or } should be`,
		`{"ratio":-}`:                      `ratio is not valid JSON at line 1, column 11: '}' stands where a digit should be`,
		`{"ratio":1.}`:                     `ratio is not valid JSON at line 1, column 12: '}' stands where a digit should be`,
		`{"ratio":1e+}`:                    `ratio is not valid JSON at line 1, column 13: '}' stands where a digit should be`,
		`{"ratio":.5}`:                     `ratio is not valid JSON at line 1, column 10: '.' stands where a value should be`,
		`{"ratio":NaN}`:                    `ratio is not valid JSON at line 1, column 10: 'N' stands where a value should be`,
		`{"ratio":-Infinity}`:              `ratio is not valid JSON at line 1, column 11: 'I' stands where a digit should be`,
		`{"ratio":0x10}`:                   `ratio is not valid JSON at line 1, column 11: 'x' stands where a comma or } should be`,
		`{} // comment`:                    `$ is not valid JSON at line 1, column 4: there is something after its end`,
		"{\"domain\":\"a\nb\"}":            `domain is not valid JSON at line 1, column 13: a control character in a string must be escaped`,
		"{\"domain\":\"é\tb\"}":            `domain is not valid JSON at line 1, column 13: a control character in a string must be escaped`,
		`{"domain":"\x41"}`:                `domain is not valid JSON at line 1, column 12: a string has an unknown escape sequence`,
		`{"domain":"\u12g4"}`:              `domain is not valid JSON at line 1, column 12: a string has \u without four hexadecimal digits`,
		`{"domain":"\u+123"}`:              `domain is not valid JSON at line 1, column 12: a string has \u without four hexadecimal digits`,
		`{"domain":"\u123`:                 `domain is not valid JSON at line 1, column 12: a string has \u without four hexadecimal digits`,
		`{"domain":"\u0000"}`:              `domain has the character \u0000, which cannot be stored`,
		`{"domain\u0000":""}`:              `$ has the character \u0000, which cannot be stored`,
		`{"domain":"\ud800"}`:              `domain has a surrogate that is not part of a pair`,
		`{"domain":"\udc00\ud800"}`:        `domain has a surrogate that is not part of a pair`,
		`{"domain":"\ud83dA"}`:             `domain has a surrogate that is not part of a pair`,
		`{"domain":"\uFFFE"}`:              `domain has the noncharacter U+FFFE`,
		"{\"domain\":\"\ufdd0\"}":          `domain has the noncharacter U+FDD0`,
		`{"domain":"\ud83f\udfff"}`:        `domain has the noncharacter U+1FFFF`,
		`{"domain":"a","domain":"a"}`:      `domain appears twice in its object`,
		`{"domain":"a","dom\u0061in":"b"}`: `domain appears twice in its object`,
	} {
		t.Run(document, func(t *testing.T) {
			t.Parallel()
			var body bodyJSON
			err := ijson.Decode([]byte(document), &body)
			require.Equal(t, ijson.ReasonInvalidJSON, fault.ReasonOf(err))
			require.Equal(t, want, problems(t, err)[0])
			require.Equal(t, ijson.ReasonInvalidJSON, fault.ReasonOf(ijson.Check([]byte(document))))
		})
	}
}

func TestNamesAreUniqueAtAnyDepth(t *testing.T) {
	t.Parallel()
	_, wrong := decode(t, `{"preferences":[{"attributes":{"a":{"b":1,"b":2}}}]}`)
	require.Equal(t, []string{`preferences[0].attributes.a.b appears twice in its object`}, wrong)

	many := make([]string, 0, 200)
	for i := range 100 {
		many = append(many, `"k`+strings.Repeat("x", i)+`":{"in":1,"out":2}`)
	}
	require.NoError(t, ijson.Check([]byte("{"+strings.Join(many, ",")+"}")))
	many = append(many, many[3], many[90])
	err := ijson.Check([]byte("{" + strings.Join(many, ",") + "}"))
	require.Len(t, problems(t, err), 2)
}

func TestEveryProblemIsReportedAtOnce(t *testing.T) {
	t.Parallel()
	_, wrong := decode(t, `{"domain":1,"preferences":[{"order":"1"},{"ordre":1,"entityId":"\u0000","entityId":2}],"force":null}`)
	require.Equal(t, []string{
		`domain must be a string, but is a number`,
		`preferences[0].order must be an integer, but is a string`,
		`preferences[1].ordre is not known here; known are entityId, order, attributes`,
		`preferences[1].entityId has the character \u0000, which cannot be stored`,
		`preferences[1].entityId appears twice in its object`,
		`preferences[1].entityId must be a string, but is a number`,
		`force must be true or false, not null; leave it out to say nothing`,
	}, wrong)

	_, wrong = decode(t, `{"domain":1,"force":2,`)
	require.Len(t, wrong, 3, "what was found before the end counts too")
}

func TestTheMessageIsASentence(t *testing.T) {
	t.Parallel()
	for document, want := range map[string]string{
		`[]`:                     "The document must be an object, but is an array.",
		`{"force":1}`:            "force must be true or false, but is a number.",
		`{"force":1,"domain":2}`: "The document has 2 problems. The first: force must be true or false, but is a number.",
	} {
		var body bodyJSON
		f, ok := errors.AsType[*fault.Error](ijson.Decode([]byte(document), &body))
		require.True(t, ok)
		require.Equal(t, want, f.Message)
	}
}

func TestProblemsAreBounded(t *testing.T) {
	t.Parallel()
	flood := `{"preferences":[` + strings.Repeat(`{"x":1},`, 5000) + `{}]}`
	_, wrong := decode(t, flood)
	require.Len(t, wrong, 100)

	_, wrong = decode(t, `{"`+strings.Repeat("é", 1<<18)+`":1}`)
	require.Len(t, wrong, 1)
	require.Less(t, len(wrong[0]), 300)
}

func TestUnknownMembersAndNullCanBeAllowed(t *testing.T) {
	t.Parallel()
	body, wrong := decode(t, `{"DOMAIN":"x","new":{"a":1},"domain":null,"preferences":[{"order":null,"attributes":null}],"force":null}`,
		ijson.AllowUnknown(), ijson.NullIsAbsent())
	require.Empty(t, wrong)
	require.Equal(t, bodyJSON{Preferences: []itemJSON{{Attributes: json.RawMessage("null")}}}, body)

	_, wrong = decode(t, `{"new":{"a":1,"a":2}}`, ijson.AllowUnknown())
	require.Len(t, wrong, 1, "what is ignored must be I-JSON all the same")
}

type base struct {
	ID uuid.UUID `json:"id"`
}

type node struct {
	base

	At       time.Time       `json:"at"`
	Any      any             `json:"any"`
	Labels   map[string]bool `json:"labels"`
	Children []node          `json:"children"`
	Next     *node           `json:"next"`
	Hidden   string          `json:"-"`
	Plain    int
	private  int
}

func TestTargetsOfManyTypes(t *testing.T) {
	t.Parallel()
	const document = `{"id":"0198c0de-0000-7000-8000-000000000001","at":"2026-01-31T12:00:00Z","any":{"a":[1,"x",null]},
		"labels":{"on":true,"off":false},"children":[{"Plain":2},{"next":{"Plain":3}}],"Plain":1}`
	var got, want node
	require.NoError(t, ijson.Decode([]byte(document), &got))
	require.NoError(t, json.Unmarshal([]byte(document), &want))
	require.Empty(t, cmp.Diff(want, got, cmp.AllowUnexported(node{})))
	require.Zero(t, got.private)

	err := ijson.Decode([]byte(`{"id":"x","at":null,"any":1e400,"labels":{"on":1},"children":[{"at":"yesterday"}],"Hidden":"x","private":1}`), &got)
	require.Equal(t, []string{
		`id must be a valid UUID`,
		`at must be a Time, not null; leave it out to say nothing`,
		`any must be a number that a double carries exactly; send others as a string`,
		`labels.on must be true or false, but is a number`,
		`children[0].at must be a valid Time`,
		`Hidden is not known here; known are id, at, any, labels, children, next, Plain`,
		`private is not known here; known are id, at, any, labels, children, next, Plain`,
	}, problems(t, err))

	require.NoError(t, ijson.Decode([]byte(`{"at":null,"next":null,"any":null}`), &node{}, ijson.NullIsAbsent()))
	require.Error(t, ijson.Decode([]byte(strings.Repeat(`{"next":`, 100)+`{}`+strings.Repeat(`}`, 100)), &node{}))
}

func TestTargetsThatCannotBeFilledPanic(t *testing.T) {
	t.Parallel()
	require.Panics(t, func() { _ = ijson.Decode([]byte(`{}`), bodyJSON{}) })
	require.Panics(t, func() { _ = ijson.Decode([]byte(`{}`), (*bodyJSON)(nil)) })
	require.Panics(t, func() { _ = ijson.Decode([]byte(`{}`), &struct{ C chan int }{}) })
	require.Panics(t, func() { _ = ijson.Decode([]byte(`{}`), &struct{ B []byte }{}) })
	require.Panics(t, func() { _ = ijson.Decode([]byte(`{}`), &struct{ M map[int]string }{}) })
	require.Panics(t, func() { _ = ijson.Decode([]byte(`{}`), &struct{ E error }{}) })
	require.Panics(t, func() {
		_ = ijson.Decode([]byte(`{}`), &struct {
			N int `json:"n,string"`
		}{})
	})
	require.Panics(t, func() {
		_ = ijson.Decode([]byte(`{}`), &struct {
			base

			Other string `json:"id"`
		}{})
	})
}
