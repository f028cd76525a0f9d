package migrations

import (
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
)

const good = "-- +goose Up\ncreate table t (a int);\n-- +goose Down\ndrop table t;\n"

func TestTheEmbeddedFilesAreValid(t *testing.T) {
	t.Parallel()
	require.NoError(t, Validate())
}

func TestValidateNamesWhatIsWrong(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		files map[string]string
		want  []string
	}{
		"fine":           {map[string]string{"00001_a.sql": good, "00002_b.sql": good}, nil},
		"nothing":        {nil, []string{"no migration"}},
		"a bad name":     {map[string]string{"1_a.sql": good}, []string{"1_a.sql: the name"}},
		"no words":       {map[string]string{"00001_.sql": good}, []string{"00001_.sql: the name"}},
		"a hole":         {map[string]string{"00001_a.sql": good, "00003_c.sql": good}, []string{"00003_c.sql: expected number 00002"}},
		"a double":       {map[string]string{"00001_a.sql": good, "00001_b.sql": good}, []string{"00001_b.sql: expected number 00002"}},
		"no way down":    {map[string]string{"00001_a.sql": "-- +goose Up\nselect 1;\n"}, []string{"1 statements up and 0 down"}},
		"an empty down":  {map[string]string{"00001_a.sql": "-- +goose Up\nselect 1;\n-- +goose Down\n-- nothing;\n"}, []string{"1 statements up and 0 down"}},
		"no annotations": {map[string]string{"00001_a.sql": "select 1;\n"}, []string{"0 statements up and 0 down"}},
		"two mistakes":   {map[string]string{"00001_a.sql": "", "00003_c.sql": good}, []string{"00001_a.sql", "00003_c.sql"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fsys := fstest.MapFS{}
			for file, text := range test.files {
				fsys[file] = &fstest.MapFile{Data: []byte(text)}
			}
			err := validate(fsys)
			if test.want == nil {
				require.NoError(t, err)
			}
			for _, want := range test.want {
				require.ErrorContains(t, err, want)
			}
		})
	}
}
