package preferences_test

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/preferences"
)

// TestTagsFollowTheirRecipe: clients keep tags, and two releases run side by
// side, so a tag must never change by itself.
func TestTagsFollowTheirRecipe(t *testing.T) {
	t.Parallel()
	recipe := func(format string, args ...any) string {
		sum := sha256.Sum256(fmt.Appendf(nil, format, args...))
		return base64.RawURLEncoding.EncodeToString(sum[:])[:16]
	}
	at := time.Date(2024, 10, 7, 14, 30, 0, 123_456_000, time.UTC)
	id := uuid.MustParse("0192688a-4b3f-7c21-9a5e-3f1d2c4b5a69")
	for _, n := range []int32{1, 7, math.MaxInt32} {
		it := preferences.Item{ID: id, Version: n, Order: int(n), UpdateTime: at}
		require.Equal(t, recipe("p1|%s|%d|%d|%d", id, n, n, at.UnixMicro()), it.ETag())
		l := preferences.List{ID: int64(n) << 31, UserID: "alice|é", Domain: "accounts", Version: int64(n), UpdateTime: at}
		require.Equal(t, recipe("l1|%s|%s|%d|%d|%d", l.UserID, l.Domain, l.ID, l.Version, at.UnixMicro()), l.ETag())
		l.Version = 0
		require.Equal(t, recipe("l1|%s|%s|0|0|0", l.UserID, l.Domain), l.ETag())
	}
}
