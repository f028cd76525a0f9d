package ijson_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/prefsd/prefsd/pkg/fault"
	"github.com/prefsd/prefsd/pkg/ijson"
)

func seeds(f *testing.F) {
	f.Helper()
	for _, s := range []string{
		`{}`, `[]`, `null`, `{"domain":"a","preferences":[{"entityId":"é\ud83d\ude00","order":3,"attributes":{"a":[1.0,-0,1e-7]}}],"force":true}`,
		`{"preferences":[{"attributes":null,"id":"x"}],"ratio":0.1,"small":1.5}`, `{"domain":"\u0000"}`, `{"domain":"\ud800"}`, "{\"domain\":\"\xff\"}",
		`{"domain":1,"domain":2}`, `{"DOMAIN":"x"}`, `{"ratio":9007199254740993}`, `{"ratio":1e400}`, `[[[[[[[[[[[[[[[[[[`, `{} {}`, "\ufeff{}", `{"a\u0062":1,"ab":2}`,
		`{"any":{"a":[null,true,"x",{"b":{}}]},"labels":{"x":true},"children":[{"children":[]}],"next":{"Plain":-5}}`, `{"small":3.4028235e38}`,
	} {
		f.Add([]byte(s))
	}
}

// FuzzDecode holds what is accepted against encoding/json.
func FuzzDecode(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		agree[bodyJSON](t, data)
		agree[node](t, data, cmp.AllowUnexported(node{}))
	})
}

func agree[T any](t *testing.T, data []byte, opts ...cmp.Option) {
	t.Helper()
	var got, want T
	if err := ijson.Decode(data, &got); err != nil {
		if fault.CodeOf(err) != fault.Invalid {
			t.Fatalf("%q: %v", data, err)
		}
		return
	}
	if err := json.Unmarshal(data, &want); err != nil {
		t.Fatalf("%q: encoding/json refuses it: %v", data, err)
	}
	if d := cmp.Diff(want, got, opts...); d != "" {
		t.Fatalf("%q: %s", data, d)
	}
}

// FuzzCheck proves that an accepted document keeps its value when a client that
// knows only doubles reads it and writes it back.
func FuzzCheck(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		if ijson.Check(data) != nil {
			return
		}
		var first, second any
		if err := json.Unmarshal(data, &first); err != nil {
			t.Fatalf("%q: encoding/json refuses it: %v", data, err)
		}
		again, err := json.Marshal(first)
		if err != nil {
			t.Fatal(err)
		}
		if err := ijson.Check(again); err != nil {
			t.Fatalf("%q became %q: %v", data, again, err)
		}
		if err := json.Unmarshal(again, &second); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(first, second); d != "" {
			t.Fatalf("%q: %s", data, d)
		}
	})
}
