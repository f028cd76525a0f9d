package preferences

import (
	"encoding/binary"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzMoves: whatever a batch moves, each item with an order stands exactly
// there, the others keep their order among themselves, nobody is lost, and the
// order of the changes makes no difference.
func FuzzMoves(f *testing.F) {
	f.Add(uint8(5), []byte{0, 4, 4, 0})
	f.Add(uint8(1), []byte{0, 0})
	f.Add(uint8(200), []byte{199, 0, 0, 199, 100, 100, 7, 3})
	f.Fuzz(func(t *testing.T, n uint8, raw []byte) {
		wanted := make([]Wanted, n)
		for i := range wanted {
			wanted[i] = Wanted{EntityType: "account", EntityID: fmt.Sprint(i)}
		}
		var b batch
		var places []int
		for taken := []int{}; len(raw) > 1 && n > 0; raw = raw[2:] {
			at, order := int(raw[0])%int(n), int(raw[1])%int(n)+1
			if slices.Contains(places, at) || slices.Contains(taken, order) {
				continue // the check has seen to that
			}
			p := ItemPatch{Order: &order}
			if raw[0]^raw[1] == 0xff {
				p.Order = nil // it changes something else
			} else {
				taken = append(taken, order)
			}
			b.patches, places = append(b.patches, p), append(places, at)
		}
		got := b.move(places, wanted)
		require.ElementsMatch(t, wanted, got)
		var stay []Wanted
		for i, w := range wanted {
			if c := slices.Index(places, i); c >= 0 && b.patches[c].Order != nil {
				require.Equal(t, w, got[*b.patches[c].Order-1])
			} else {
				stay = append(stay, w)
			}
		}
		at := 0
		for _, w := range got {
			if at < len(stay) && w.EntityID == stay[at].EntityID {
				at++
			}
		}
		require.Equal(t, len(stay), at, "the rest keeps its order")
		slices.Reverse(b.patches)
		slices.Reverse(places)
		require.Equal(t, got, b.move(places, wanted))
	})
}

// FuzzTokens: a token opens for what it is bound to alone, in its one spelling.
func FuzzTokens(f *testing.F) {
	f.Add([]byte("alice"), []byte("content"), "")
	f.Add([]byte(nil), []byte(nil), "AAAAAAAAAAA")
	f.Fuzz(func(t *testing.T, bound, content []byte, token string) {
		sealed := seal(bound, content)
		got, ok := unseal(bound, sealed)
		require.True(t, ok)
		require.Equal(t, string(content), string(got))
		_, ok = unseal(binary.AppendUvarint(slices.Clone(bound), uint64(len(token))), sealed)
		require.False(t, ok)
		if got, ok := unseal(bound, token); ok {
			require.Equal(t, token, seal(bound, got))
		}
	})
}
