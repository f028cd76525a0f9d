package api_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/preferences"
)

func TestCase078_TheCurrentTagLetsAWriteThrough(t *testing.T) {
	alice := begin(t).as("alice")
	l := alice.save("a", "b")
	next := alice.replace(body("b", "a"), "If-Match", `"`+l.ETag+`"`).list(http.StatusOK)
	require.NotEqual(t, l.ETag, next.ETag)
	it := next.Preferences[0]
	patched := alice.send(http.MethodPatch, "/preferences/"+it.ID, `{"attributes":{"x":1}}`, "If-Match", `"`+it.ETag+`"`).item(http.StatusOK)
	require.NotEqual(t, it.ETag, patched.ETag)
	alice.send(http.MethodDelete, "/preferences/"+it.ID, "", "If-Match", `"`+patched.ETag+`"`).is(http.StatusNoContent)
	l = alice.read()
	alice.send(http.MethodPost, "/preferences", `{"domain":"accounts","entityId":"c"}`, "If-Match", `"`+l.ETag+`"`).item(http.StatusCreated)
}

func TestCase079_AStaleTagTellsWhatIsCurrent(t *testing.T) {
	alice := begin(t).as("alice")
	old := alice.save("a", "b")
	now := alice.save("b", "a")
	it := now.find("a")
	for _, c := range []struct{ method, target, body, stale, current, name, modified string }{
		{http.MethodPut, "/preferences:batchReplace", body("a"), old.ETag, now.ETag, "preferences?domain=accounts", it.UpdateTime},
		{http.MethodPost, "/preferences", `{"domain":"accounts","entityId":"c"}`, old.ETag, now.ETag, "preferences?domain=accounts", it.UpdateTime},
		{http.MethodPost, "/preferences:batchReplace", body("a"), old.ETag, now.ETag, "preferences?domain=accounts", it.UpdateTime},
		{http.MethodPatch, batchPath, batch(it.moves(1)), old.ETag, now.ETag, "preferences?domain=accounts", it.UpdateTime},
		{http.MethodPost, batchPath, batch(it.moves(1)), old.ETag, now.ETag, "preferences?domain=accounts", it.UpdateTime},
		{http.MethodPost, "/preferences:restore", `{"domain":"accounts","version":1}`, old.ETag, now.ETag, "preferences?domain=accounts", it.UpdateTime},
		{http.MethodPatch, "/preferences/" + it.ID, `{"attributes":{"isFavorite":true}}`, old.find("a").ETag, it.ETag, "preferences/" + it.ID, it.UpdateTime},
		{http.MethodDelete, "/preferences/" + it.ID, "", old.find("a").ETag, it.ETag, "preferences/" + it.ID, it.UpdateTime},
	} {
		alice.unchanged(func() {
			res := alice.send(c.method, c.target, c.body, "If-Match", `"`+c.stale+`"`)
			p := res.fails(http.StatusPreconditionFailed, "PRECONDITION_FAILED")
			require.Equal(t, "FAILED_PRECONDITION", p.Error.Status)
			require.Equal(t, "The resource has been modified since you last retrieved it.", p.Error.Message)
			require.Equal(t, c.current, p.Error.Details.CurrentETag)
			require.Equal(t, c.stale, p.Error.Details.ProvidedETag)
			require.Equal(t, c.name, p.Error.Details.ResourceName)
			require.Equal(t, c.modified, *p.Error.Details.LastModified)
			require.Equal(t, `"`+c.current+`"`, res.Header.Get("ETag"))
		})
	}
}

// TestCase080 to 88: how conditions are spelled, on a save of the same list,
// which changes nothing when it is let through.
func TestCase080_ConditionsAreReadByRFC9110(t *testing.T) {
	w := begin(t)
	alice := w.as("alice")
	l := alice.save("a")
	item := l.Preferences[0]
	const bad = http.StatusBadRequest
	const ok, failed = http.StatusOK, http.StatusPreconditionFailed
	for name, c := range map[string]struct {
		list, item int
		headers    func(tag, other string) []string
	}{
		"case 80: bare":                   {ok, ok, func(tag, _ string) []string { return []string{"If-Match", tag} }},
		"case 81: list":                   {ok, ok, func(tag, _ string) []string { return []string{"If-Match", `"x", "` + tag + `", "y"`} }},
		"case 82: two lines":              {ok, ok, func(tag, _ string) []string { return []string{"If-Match", `"x"`, "If-Match", `"` + tag + `"`} }},
		"case 82: two lines, stale":       {failed, failed, func(string, string) []string { return []string{"If-Match", `"x"`, "If-Match", `"y"`} }},
		"case 83: weak":                   {failed, failed, func(tag, _ string) []string { return []string{"If-Match", `W/"` + tag + `"`} }},
		"case 84: star in a list":         {bad, bad, func(string, string) []string { return []string{"If-Match", `"a", *`} }},
		"case 84: unterminated":           {bad, bad, func(string, string) []string { return []string{"If-Match", `"a`} }},
		"case 84: small w":                {bad, bad, func(string, string) []string { return []string{"If-Match", `w/"a"`} }},
		"case 84: in If-None-Match":       {bad, bad, func(string, string) []string { return []string{"If-None-Match", `"a" "b"`} }},
		"case 85: empty":                  {ok, ok, func(string, string) []string { return []string{"If-Match", ""} }},
		"case 86: star on something":      {ok, ok, func(string, string) []string { return []string{"If-Match", "*"} }},
		"case 87: If-None-Match star":     {failed, failed, func(string, string) []string { return []string{"If-None-Match", "*"} }},
		"case 87: If-None-Match the tag":  {failed, failed, func(tag, _ string) []string { return []string{"If-None-Match", tag} }},
		"case 87: If-None-Match another":  {ok, ok, func(string, string) []string { return []string{"If-None-Match", `"x"`} }},
		"case 88: the tag of the other":   {failed, failed, func(_, other string) []string { return []string{"If-Match", `"` + other + `"`} }},
		"gzip's tag of the same state":    {ok, ok, func(tag, _ string) []string { return []string{"If-Match", `"` + tag + `-gz"`} }},
		"If-Match first, then the other":  {failed, failed, func(tag, _ string) []string { return []string{"If-Match", tag, "If-None-Match", tag} }},
		"an old client's empty condition": {ok, ok, func(string, string) []string { return []string{"If-None-Match", ""} }},
	} {
		t.Run(name, func(t *testing.T) {
			alice := alice.in(t)
			alice.unchanged(func() {
				for _, x := range []struct {
					res  answered
					want int
				}{
					{alice.replace(body("a"), c.headers(l.ETag, item.ETag)...), c.list},
					{alice.send(http.MethodPatch, "/preferences/"+item.ID, `{}`, c.headers(item.ETag, l.ETag)...), c.item},
				} {
					switch x.want {
					case bad:
						x.res.fails(bad, "MALFORMED_PRECONDITION")
					case failed:
						x.res.fails(failed, "PRECONDITION_FAILED")
					default:
						x.res.is(ok)
					}
				}
			})
		})
	}
}

func TestCase086_NothingMatchesWhatWasNeverSaved(t *testing.T) {
	alice := begin(t).as("alice")
	empty := alice.read()
	alice.unchanged(func() {
		res := alice.replace(body("a"), "If-Match", "*")
		p := res.fails(http.StatusPreconditionFailed, "PRECONDITION_FAILED")
		require.Equal(t, empty.ETag, p.Error.Details.CurrentETag)
		require.Nil(t, p.Error.Details.LastModified)
		alice.send(http.MethodGet, accounts, "", "If-Match", "*").fails(http.StatusPreconditionFailed, "PRECONDITION_FAILED")
	})
	// Its tag does: whoever saw it empty may be the first.
	alice.replace(body("a"), "If-Match", empty.ETag).list(http.StatusOK)
	alice.replace(body("b"), "If-Match", empty.ETag).fails(http.StatusPreconditionFailed, "PRECONDITION_FAILED")
}

func TestCase087_OnlyTheFirstSaveOfTwoWins(t *testing.T) {
	alice := begin(t).as("alice")
	alice.replace(body("a"), "If-None-Match", "*").list(http.StatusOK)
	alice.unchanged(func() {
		alice.replace(body("b"), "If-None-Match", "*").fails(http.StatusPreconditionFailed, "PRECONDITION_FAILED")
	})
}

func TestCase089_ConditionsAreJudgedAfterEverythingElse(t *testing.T) {
	w := begin(t)
	alice := w.as("alice")
	id := alice.save("a").Preferences[0].ID
	const unknown = "/preferences/0192688a-4b3f-7c21-9a5e-3f1d2c4b5a69"
	w.unchanged(func() {
		alice.replace(`{`, "If-Match", `"stale"`).fails(http.StatusBadRequest, "INVALID_JSON")
		alice.replace(body("a", "a"), "If-Match", `"stale"`).fails(http.StatusBadRequest, "DUPLICATE_ENTITY")
		alice.send(http.MethodPatch, "/preferences/"+id, `{"order":0}`, "If-Match", `"stale"`).fails(http.StatusBadRequest, "INVALID_FIELD", "order")
		alice.send(http.MethodPatch, "/preferences/"+id, `{"order":2}`, "If-Match", `"stale"`).fails(http.StatusBadRequest, "INVALID_FIELD", "order")
		alice.send(http.MethodPatch, unknown, `{}`, "If-Match", `"stale"`).fails(http.StatusNotFound, "NOT_FOUND")
		alice.send(http.MethodDelete, unknown, "", "If-Match", `"stale"`).fails(http.StatusNotFound, "NOT_FOUND")
		alice.replace(body("a"), "If-Match", `"stale"`, "Content-Type", "text/plain").fails(http.StatusUnsupportedMediaType, "UNSUPPORTED_MEDIA_TYPE")
		alice.send(http.MethodPost, "/preferences:cleanOrphaned", `{}`, "If-Match", `"stale"`).fails(http.StatusForbidden, "INSUFFICIENT_SCOPE")
		caller{world: w}.replace(body("a"), "If-Match", `"stale"`).refused()
		// And conflicts after them.
		alice.send(http.MethodPost, "/preferences", `{"domain":"accounts","entityId":"a"}`, "If-Match", `"stale"`).fails(http.StatusPreconditionFailed, "PRECONDITION_FAILED")
	})
}

func TestCase093_WhereAConditionIsRequiredNothingGoesWithout(t *testing.T) {
	w := begin(t, func(o *preferences.Options) { o.RequireCondition = true })
	alice := w.as("alice")
	empty := alice.read()
	saved := alice.replace(body("a", "b"), "If-Match", empty.ETag).list(http.StatusOK)
	it := saved.Preferences[0]
	w.unchanged(func() {
		for _, h := range [][]string{nil, {"If-Match", ""}} {
			alice.replace(body("b"), h...).fails(http.StatusPreconditionRequired, "PRECONDITION_REQUIRED")
			alice.send(http.MethodPost, "/preferences", `{"domain":"accounts","entityId":"c"}`, h...).fails(http.StatusPreconditionRequired, "PRECONDITION_REQUIRED")
			alice.send(http.MethodPatch, "/preferences/"+it.ID, `{}`, h...).fails(http.StatusPreconditionRequired, "PRECONDITION_REQUIRED")
			alice.send(http.MethodDelete, "/preferences/"+it.ID, "", h...).fails(http.StatusPreconditionRequired, "PRECONDITION_REQUIRED")
			alice.replace(body("b", "b"), h...).fails(http.StatusBadRequest, "DUPLICATE_ENTITY")
		}
	})
	alice.send(http.MethodPatch, "/preferences/"+it.ID, `{"order":2}`, "If-Match", it.ETag).item(http.StatusOK)
	alice.send(http.MethodPut, "/preferences:batchReplace?force=true", body("b"), "If-Match", `"stale"`).list(http.StatusOK)
}

func TestCase094_ForceOverridesAndIsRecorded(t *testing.T) {
	alice := begin(t).as("alice")
	it := alice.save("a", "b").Preferences[0]
	alice.unchanged(func() {
		alice.send(http.MethodPut, "/preferences:batchReplace?force=false", body("c"), "If-Match", `"stale"`).fails(http.StatusPreconditionFailed, "PRECONDITION_FAILED")
		for _, value := range []string{"", "1", "TRUE", "yes"} {
			alice.send(http.MethodPut, "/preferences:batchReplace?force="+value, body("c")).fails(http.StatusBadRequest, "INVALID_FIELD", "force")
		}
		alice.send(http.MethodPut, "/preferences:batchReplace?force=true", body("c"), "If-Match", `"bad`).fails(http.StatusBadRequest, "MALFORMED_PRECONDITION")
	})
	require.Equal(t, 0, alice.count("select count(*) from changes where forced"))
	alice.send(http.MethodPatch, "/preferences/"+it.ID+"?force=true", `{"attributes":{"x":1}}`, "If-Match", `"stale"`).item(http.StatusOK)
	require.Equal(t, 1, alice.count("select count(*) from changes where forced and version = 2"))
	alice.send(http.MethodPut, "/preferences:batchReplace?force=true", body("b"), "If-Match", `"stale"`).list(http.StatusOK)
	require.Equal(t, 1, alice.count("select count(*) from changes where forced and version = 3"))
}

func TestCase095_ATagNeverComesBack(t *testing.T) {
	alice := begin(t).as("alice")
	first := alice.save("a")
	alice.send(http.MethodDelete, "/preferences/"+first.Preferences[0].ID, "").is(http.StatusNoContent)
	again := alice.save("a")
	require.NotEqual(t, first.ETag, again.ETag)
	require.NotEqual(t, first.Preferences[0].ETag, again.Preferences[0].ETag)
	alice.unchanged(func() {
		alice.replace(body("b"), "If-Match", first.ETag).fails(http.StatusPreconditionFailed, "PRECONDITION_FAILED")
		alice.send(http.MethodPatch, "/preferences/"+again.Preferences[0].ID, `{}`, "If-Match", first.Preferences[0].ETag).fails(http.StatusPreconditionFailed, "PRECONDITION_FAILED")
	})
}

// TestATagFromBeforeARestoreOfTheDatabaseIsStale: the version that it names is
// made a second time, of something else.
func TestATagFromBeforeARestoreOfTheDatabaseIsStale(t *testing.T) {
	alice := begin(t).as("alice")
	alice.save("a")
	_, err := alice.db.ExecContext(t.Context(), "create table backup as select l.version, l.updated_at, p.id from preference_lists l join preferences p using (list_id)")
	require.NoError(t, err)
	lost := alice.save("a", "b")
	for _, restore := range []string{
		"update preference_lists l set version = b.version, updated_at = b.updated_at from backup b",
		"delete from preferences where id not in (select id from backup)",
		"delete from changes where version > (select version from backup)",
		"delete from outbox where aggregate_seq > (select version from backup)",
	} {
		_, err := alice.db.ExecContext(t.Context(), restore)
		require.NoError(t, err)
	}
	now := alice.save("a", "c")
	require.NotEqual(t, lost.ETag, now.ETag)
	require.Equal(t, now.ETag, alice.send(http.MethodGet, accounts, "", "If-None-Match", lost.ETag).list(http.StatusOK).ETag)
	alice.replace(body("a"), "If-Match", lost.ETag).fails(http.StatusPreconditionFailed, "PRECONDITION_FAILED")
}

func TestTimesAreUTCInMicroseconds(t *testing.T) {
	alice := begin(t).as("alice")
	it := alice.save("a").Preferences[0]
	for _, text := range []string{it.CreateTime, it.UpdateTime} {
		at, err := time.Parse(time.RFC3339Nano, text)
		require.NoError(t, err)
		require.Equal(t, time.UTC, at.Location())
		require.Zero(t, at.Nanosecond()%1000)
		require.WithinDuration(t, time.Now(), at, time.Minute)
	}
}
