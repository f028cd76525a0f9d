package ijson_test

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"

	"github.com/prefsd/prefsd/pkg/ijson"
)

// replaceBody is what a UI sends when a user saves n rows.
func replaceBody(n int) []byte {
	items := make([]string, n)
	for i := range items {
		items[i] = fmt.Sprintf(`{"entityId":"acc-%05d","order":%d,"attributes":{"isFavorite":%t,"color":"#11aa%02x","alias":"Girokonto Nr. %d"}}`,
			i, i+1, i%3 == 0, i%256, i)
	}
	return []byte(`{"domain":"accounts","preferences":[` + strings.Join(items, ",") + `]}`)
}

func BenchmarkDecode(b *testing.B) {
	for _, rows := range []int{20, 100, 1000} {
		data := replaceBody(rows)
		b.Run(fmt.Sprintf("rows=%d", rows), func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				var body bodyJSON
				if err := ijson.Decode(data, &body); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("encoding-json/rows=%d", rows), func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				var body bodyJSON
				if err := json.Unmarshal(data, &body); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkHostile shows that no megabyte costs more than a few of them.
func BenchmarkHostile(b *testing.B) {
	var names strings.Builder
	for i := 0; names.Len() < 1<<20; i++ {
		fmt.Fprintf(&names, `"%x":0,`, i)
	}
	for name, document := range map[string]string{
		"depth":    strings.Repeat("[", 1<<20),
		"names":    `{"preferences":[{"attributes":{` + names.String() + `"z":0}}]}`,
		"items":    `{"preferences":[` + strings.Repeat("{},", 1<<20/3) + `{}]}`,
		"numbers":  `{"preferences":[{"attributes":[` + strings.Repeat("1.7976931348623157e308,", 1<<20/23) + `0]}]}`,
		"digits":   `{"preferences":[{"attributes":[` + strings.Repeat(strconv.FormatFloat(math.SmallestNonzeroFloat64, 'e', 750, 64)+",", 1<<20/758) + `0]}]}`,
		"escapes":  `{"preferences":[{"attributes":["` + strings.Repeat(`\u0041`, 1<<20/6) + `"]}]}`,
		"problems": `{"preferences":[` + strings.Repeat(`"",`, 1<<20/3) + `{}]}`,
	} {
		data := []byte(document)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				var body bodyJSON
				_ = ijson.Decode(data, &body)
			}
		})
	}
}
