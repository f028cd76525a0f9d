package api_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/auth"
)

// refused expects 401 without and with a word about the token.
func (a answered) refused() {
	a.t.Helper()
	a.fails(http.StatusUnauthorized, "INVALID_TOKEN")
	want := `Bearer realm="prefsd"`
	if len(a.Request.Header["Authorization"]) > 0 {
		want += `, error="invalid_token"`
	}
	require.Equal(a.t, want, a.Header.Get("WWW-Authenticate"))
}

// everywhere are one request to each route that needs a token.
func everywhere(id string) [][3]string {
	return [][3]string{
		{http.MethodGet, accounts, ""},
		{http.MethodHead, accounts, ""},
		{http.MethodPost, "/preferences", `{"domain":"accounts","entityId":"z"}`},
		{http.MethodGet, "/preferences/" + id, ""},
		{http.MethodHead, "/preferences/" + id, ""},
		{http.MethodPatch, "/preferences/" + id, `{"attributes":{"a":1}}`},
		{http.MethodDelete, "/preferences/" + id, ""},
		{http.MethodPut, "/preferences:batchReplace", body("z")},
		{http.MethodPost, "/preferences:batchReplace", body("z")},
		{http.MethodPatch, batchPath, `{"domain":"accounts","updates":[{"id":"` + id + `","order":1}]}`},
		{http.MethodPost, batchPath, `{"domain":"accounts","updates":[{"id":"` + id + `","order":1}]}`},
		{http.MethodPost, "/preferences:restore", `{"domain":"accounts","version":1}`},
		{http.MethodPost, "/preferences:cleanOrphaned", `{"entityId":"a","entityType":"account"}`},
		{http.MethodGet, history, ""},
		{http.MethodHead, history, ""},
		{http.MethodGet, trail, ""},
		{http.MethodHead, trail, ""},
	}
}

// byUser says whether an address knows the parameter userId.
func byUser(address string) bool {
	return strings.HasPrefix(address, accounts) || strings.HasPrefix(address, history) || strings.HasPrefix(address, trail)
}

// forAdmins says whether an address is for administrators, or for services too.
func forAdmins(address string) bool {
	return strings.HasPrefix(address, trail) || strings.Contains(address, ":cleanOrphaned")
}

func TestCase013_WithoutATokenNobodyGetsIn(t *testing.T) {
	w := begin(t)
	id := w.as("alice").save("a").Preferences[0].ID
	w.unchanged(func() {
		for _, x := range everywhere(id) {
			caller{world: w}.send(x[0], x[1], x[2]).refused()
		}
	})
}

func TestCase014_ATokenThatNobodyVouchesForIsRefused(t *testing.T) {
	w := begin(t)
	id := w.as("alice").save("a").Preferences[0].ID
	_, stranger, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	good := jwt.MapClaims{"iss": auth.DevIssuer, "aud": auth.DevAudience, "sub": "alice", "exp": time.Now().Add(time.Hour).Unix()}
	foreign, err := jwt.NewWithClaims(jwt.SigningMethodEdDSA, good).SignedString(stranger)
	require.NoError(t, err)
	unsigned, err := jwt.NewWithClaims(jwt.SigningMethodNone, good).SignedString(jwt.UnsafeAllowNoneSignatureType)
	require.NoError(t, err)
	symmetric, err := jwt.NewWithClaims(jwt.SigningMethodHS256, good).SignedString([]byte("guessed"))
	require.NoError(t, err)
	sign := func(g auth.Grant) string {
		signed, err := key().Sign(g)
		require.NoError(t, err)
		return signed
	}
	valid := token(t, "alice")
	head, rest, _ := strings.Cut(valid, ".")
	_, signature, _ := strings.Cut(rest, ".")
	altered := head + "." + base64.RawURLEncoding.EncodeToString([]byte(`{"sub":"bob"}`)) + "." + signature
	w.unchanged(func() {
		for name, tok := range map[string]string{
			"of a stranger": foreign, "unsigned": unsigned, "symmetric": symmetric, "altered": altered, "nonsense": "x", "two words": valid + " " + valid,
			"expired":        sign(auth.Grant{Subject: "alice", Lifetime: -time.Hour}),
			"other issuer":   sign(auth.Grant{Subject: "alice", Issuer: "https://elsewhere"}),
			"other audience": sign(auth.Grant{Subject: "alice", Audience: "elsewhere"}),
		} {
			for _, x := range everywhere(id) {
				t.Run(name+" "+x[0]+" "+x[1], func(t *testing.T) {
					w.in(t).as("nobody").send(x[0], x[1], x[2], "Authorization", "Bearer "+tok).refused()
				})
			}
		}
	})
}

// TestCase015: whose subject is no user is nobody.
func TestCase015_ATokenNeedsASubject(t *testing.T) {
	w := begin(t)
	file := t.TempDir() + "/key.pem"
	require.NoError(t, key().Save(file))
	for name, subject := range map[string]any{
		"none": nil, "empty": "", "too long": strings.Repeat("u", 256), "NUL": "a\x00b", "line": "a\nb", "number": 7, "list": []string{"a"},
	} {
		t.Run(name, func(t *testing.T) {
			claims := jwt.MapClaims{"iss": auth.DevIssuer, "aud": auth.DevAudience, "exp": time.Now().Add(time.Hour).Unix()}
			if subject != nil {
				claims["sub"] = subject
			}
			w.in(t).as("nobody").send(http.MethodGet, accounts, "", "Authorization", "Bearer "+signedBy(t, file, claims)).refused()
		})
	}
	w.as(strings.Repeat("u", 255)).send(http.MethodGet, accounts, "").is(http.StatusOK)
}

// TestCase016: what others may do takes a scope, and the answer names it.
func TestCase016_AUserCannotCallForTheSystem(t *testing.T) {
	w := begin(t)
	w.as("alice").save("a")
	const clean = `{"entityId":"a","entityType":"account"}`
	w.unchanged(func() {
		for _, c := range []caller{w.as("alice"), w.as("alice", "preferences", "preferences.systems", "admin")} {
			res := c.send(http.MethodPost, "/preferences:cleanOrphaned", clean)
			res.fails(http.StatusForbidden, "INSUFFICIENT_SCOPE")
			require.Equal(t, `Bearer realm="prefsd", error="insufficient_scope", scope="preferences.system"`, res.Header.Get("WWW-Authenticate"))
		}
	})
	w.system().send(http.MethodPost, "/preferences:cleanOrphaned", clean).is(http.StatusOK)
	w.admin().send(http.MethodPost, "/preferences:cleanOrphaned", clean).is(http.StatusOK)
}

// TestCase017 and 18: an id of somebody else is an unknown one, to the letter,
// whatever the conditions.
func TestCase017_AnItemOfAnotherUserIsUnknown(t *testing.T) {
	w := begin(t)
	id := w.as("alice").save("a").Preferences[0].ID
	bob := w.as("bob")
	bob.save("b")
	const unknown = "0192688a-4b3f-7c21-9a5e-3f1d2c4b5a69"
	w.unchanged(func() {
		for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPatch, http.MethodDelete} {
			for _, conditions := range [][]string{nil, {"If-Match", "*"}, {"If-None-Match", "*"}, {"If-Match", `"x"`}} {
				h := append([]string{"X-Request-Id", "same"}, conditions...)
				for _, content := range []string{`{"attributes":{"a":1}}`, `{"entityId":"a","id":"` + id + `"}`} {
					theirs, none := bob.send(method, "/preferences/"+id, content, h...), bob.send(method, "/preferences/"+unknown, content, h...)
					theirs.fails(http.StatusNotFound, "NOT_FOUND")
					require.Equal(t, none.text, theirs.text)
					require.Equal(t, none.Header["Etag"], theirs.Header["Etag"])
				}
			}
		}
	})
}

func TestCase018_AConditionTellsNothingAboutOthersItems(t *testing.T) {
	w := begin(t)
	it := w.as("alice").save("a").Preferences[0]
	w.unchanged(func() {
		for _, tag := range []string{"*", it.ETag, `"` + it.ETag + `"`} {
			w.as("bob").send(http.MethodPatch, "/preferences/"+it.ID, `{}`, "If-Match", tag).fails(http.StatusNotFound, "NOT_FOUND")
			w.as("bob").send(http.MethodGet, "/preferences/"+it.ID, "", "If-None-Match", tag).fails(http.StatusNotFound, "NOT_FOUND")
		}
	})
}

func TestCase019_OnlyAnAdministratorReadsOthersLists(t *testing.T) {
	w := begin(t)
	saved := w.as("alice").save("a", "b")
	for _, c := range []caller{w.as("bob"), w.system(), w.as("alice")} {
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			res := c.send(method, accounts+"&userId=alice", "")
			res.fails(http.StatusForbidden, "INSUFFICIENT_SCOPE")
			require.Contains(t, res.Header.Get("WWW-Authenticate"), `scope="preferences.admin"`)
		}
	}
	seen := w.admin().send(http.MethodGet, accounts+"&userId=alice", "").list(http.StatusOK)
	require.Equal(t, saved.ETag, seen.ETag)
	require.Equal(t, []string{"a:1", "b:2"}, seen.shown())
	w.admin().send(http.MethodGet, accounts+"&userId=alice", "", "If-None-Match", saved.ETag).is(http.StatusNotModified)
	require.Empty(t, w.admin().send(http.MethodGet, accounts+"&userId=nobody", "").list(http.StatusOK).Preferences)
	require.Empty(t, w.admin().read().Preferences, "without userId it is the administrator's own list")
	w.unchanged(func() {
		for _, user := range []string{"", strings.Repeat("u", 256), "a%00b", "%FF", "a%0Ab"} {
			w.admin().send(http.MethodGet, accounts+"&userId="+user, "").fails(http.StatusBadRequest, "INVALID_FIELD", "userId")
		}
		// Nobody reads or writes single items of others, or saves their lists.
		for _, x := range everywhere(saved.Preferences[0].ID) {
			if byUser(x[1]) {
				continue
			}
			w.admin().send(x[0], x[1]+"?userId=alice", x[2]).fails(http.StatusBadRequest, "INVALID_FIELD", "userId")
			w.as("bob", auth.ScopeSystem).send(x[0], x[1]+"?userId=alice", x[2]).fails(http.StatusForbidden, "INSUFFICIENT_SCOPE")
		}
	})
}

func TestCase020_ATokenInTheQueryCountsForNothing(t *testing.T) {
	w := begin(t)
	caller{world: w}.send(http.MethodGet, accounts+"&access_token="+token(t, "alice"), "").refused()
}

func TestCase021_TwoTokensAreNone(t *testing.T) {
	w := begin(t)
	alice := "Bearer " + token(t, "alice")
	for _, h := range [][]string{
		{"Authorization", alice, "Authorization", alice},
		{"Authorization", alice, "Authorization", "Bearer " + token(t, "bob")},
		{"Authorization", alice, "Authorization", ""},
		{"Authorization", "Basic YWxpY2U6eA=="},
		{"Authorization", "Bearer"},
		{"Authorization", "Bearer "},
		{"Authorization", alice[len("Bearer "):]},
	} {
		w.as("alice").send(http.MethodGet, accounts, "", h...).refused()
	}
	w.as("alice").send(http.MethodGet, accounts, "", "Authorization", strings.Replace(alice, "Bearer", "bearer", 1)).is(http.StatusOK)
}

// signedBy signs claims that the key itself would refuse to.
func signedBy(t *testing.T, file string, claims jwt.MapClaims) string {
	t.Helper()
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	block, _ := pem.Decode(content)
	private, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	require.NoError(t, err)
	signed, err := jwt.NewWithClaims(jwt.SigningMethodEdDSA, claims).SignedString(private)
	require.NoError(t, err)
	return signed
}
