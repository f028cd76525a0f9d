package postgres_test

import (
	"encoding/base64"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/outbox"
	"github.com/prefsd/prefsd/pkg/postgres"
)

func TestStoredHeadersAreReadInEverySpelling(t *testing.T) {
	t.Parallel()
	for stored, want := range map[string][]outbox.Header{
		`[]`:                                 {},
		`[["a", "bm93"]]`:                    {{Name: "a", Value: []byte("now")}},
		`[["a","bm93"]]`:                     {{Name: "a", Value: []byte("now")}},
		`[["a", null], ["a", ""]]`:           {{Name: "a"}, {Name: "a", Value: []byte{}}},
		`[["\u00e4\"", "AP8="], ["", null]]`: {{Name: "ä\"", Value: []byte{0, 0xff}}, {}},
		`[["ä", "AP8="]]`:                    {{Name: "ä", Value: []byte{0, 0xff}}},
	} {
		got, err := postgres.DecodeHeaders([]byte(stored))
		require.NoError(t, err, stored)
		require.Equal(t, want, got, stored)
	}
	for _, stored := range []string{``, `{}`, `[[]]`, `[["a"]]`, `[[null, "bm93"]]`, `[["a", "no base64"]]`, `[["a", "bm93"]`, `[["a", "bm93"]]]`, `[["a", "bm93"], ]`} {
		_, err := postgres.DecodeHeaders([]byte(stored))
		require.Error(t, err, stored)
	}
}

// FuzzDecodeHeaders holds what is read quickly to what encoding/json reads.
func FuzzDecodeHeaders(f *testing.F) {
	for _, seed := range []string{`[]`, `[["a", "bm93"], ["b", null]]`, `[["a", "bm\n93"]]`, `[["\u0041", ""]]`, "[[\"\xff\", null]]"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, stored string) {
		got, err := postgres.DecodeHeaders([]byte(stored))
		var pairs [][]*string
		if json.Unmarshal([]byte(stored), &pairs) != nil {
			require.Error(t, err)
			return
		}
		if err != nil {
			return
		}
		require.Len(t, got, len(pairs))
		for i, h := range got {
			require.Equal(t, *pairs[i][0], h.Name)
			require.Equal(t, pairs[i][1] == nil, h.Value == nil)
			if h.Value != nil {
				want, err := base64.StdEncoding.DecodeString(*pairs[i][1])
				require.NoError(t, err)
				require.Equal(t, want, h.Value)
			}
		}
	})
}
