package config_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/config"
)

// holder nests a secret in every way that a configuration does.
type holder struct {
	Plain   config.Secret
	Pointer *config.Secret
	List    []config.Secret
	Map     map[string]config.Secret
	Any     any
	Inner   struct{ Deep config.Secret }
}

func TestASecretNeverPrintsItself(t *testing.T) {
	t.Parallel()
	s := config.Secret("hunter2")
	h := holder{Plain: s, Pointer: &s, List: []config.Secret{s}, Map: map[string]config.Secret{"k": s}, Any: s}
	h.Inner.Deep = s

	var out bytes.Buffer
	for _, handler := range []slog.Handler{slog.NewJSONHandler(&out, nil), slog.NewTextHandler(&out, nil)} {
		log := slog.New(handler)
		log.InfoContext(t.Context(), "x", slog.Any("secret", s), slog.Any("holder", h), slog.Any("pointer", &h))
		log.InfoContext(t.Context(), "x", slog.Any("error", fmt.Errorf("connect to %s: %w", s, errors.New("refused"))))
		log.WithGroup("g").With(slog.Any("secret", s)).InfoContext(t.Context(), "x")
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%10.3s", "%T %v"} {
		fmt.Fprintf(&out, verb, s)
		fmt.Fprintf(&out, verb, h)
		fmt.Fprintf(&out, verb, &h)
		fmt.Fprintf(&out, verb, []any{s, &s})
	}
	fmt.Fprint(&out, s, h)
	fmt.Fprintln(&out, s, &s)
	out.WriteString(s.String() + s.GoString())
	require.NoError(t, json.NewEncoder(&out).Encode(h))
	text, err := s.MarshalText()
	require.NoError(t, err)
	out.Write(text)

	require.NotContains(t, out.String(), "hunter2")
	require.NotContains(t, out.String(), fmt.Sprintf("%x", "hunter2"))
	require.Contains(t, out.String(), "[secret]")
	require.Equal(t, "hunter2", s.Reveal())
}

func TestAnEmptySecretShowsThatItIsEmpty(t *testing.T) {
	t.Parallel()
	var s config.Secret
	require.Empty(t, s.String())
	require.Equal(t, `config.Secret("")`, fmt.Sprintf("%#v", s))
	require.Equal(t, `"[secret]"`, fmt.Sprintf("%q", config.Secret("x")))
}
