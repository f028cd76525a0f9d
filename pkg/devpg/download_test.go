package devpg

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha512"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
)

// pack makes a package archive of the given files, and its pin.
func pack(t *testing.T, files map[string]string) ([]byte, archive) {
	t.Helper()
	var out bytes.Buffer
	zw := gzip.NewWriter(&out)
	tw := tar.NewWriter(zw)
	for name, text := range files {
		require.NoError(t, tw.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o600, Size: int64(len(text))}))
		_, err := tw.Write([]byte(text))
		require.NoError(t, err)
	}
	require.NoError(t, tw.Close())
	require.NoError(t, zw.Close())
	sum := sha512.Sum512(out.Bytes())
	return out.Bytes(), archive{name: "test-x64", sum: base64.StdEncoding.EncodeToString(sum[:])}
}

func ordinary() map[string]string {
	return map[string]string{
		"package/package.json":                  "{}",
		"package/native/bin/initdb":             "#!initdb",
		"package/native/bin/postgres":           "#!postgres",
		"package/native/lib/libicu.so.60.2":     "icu",
		"package/native/share/timezone/bin/UTC": "utc",
		"package/native/pg-symlinks.json":       `[{"source":"native/lib/libicu.so.60.2","target":"native/lib/libicu.so.60"}]`,
	}
}

// registry answers the package's path with what answer returns.
func registry(t *testing.T, a archive, answer func(request int64) (int, []byte)) (at string, requests *atomic.Int64) {
	t.Helper()
	requests = new(atomic.Int64)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != a.path() {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		status, body := answer(requests.Add(1))
		w.WriteHeader(status)
		_, _ = w.Write(body)
	}))
	t.Cleanup(s.Close)
	return s.URL, requests
}

func entries(t *testing.T, dir string) []string {
	t.Helper()
	list, err := os.ReadDir(dir)
	require.NoError(t, err)
	var names []string
	for _, entry := range list {
		if entry.IsDir() {
			names = append(names, entry.Name())
		}
	}
	return names
}

func TestADownloadIsUnpackedOnce(t *testing.T) {
	t.Parallel()
	body, pinned := pack(t, ordinary())
	at, requests := registry(t, pinned, func(int64) (int, []byte) { return http.StatusOK, body })
	cache := t.TempDir()
	var group errgroup.Group
	for range 4 {
		group.Go(func() error {
			_, err := pinned.fetch(t.Context(), at, cache)
			return err
		})
	}
	require.NoError(t, group.Wait())
	bin, err := pinned.fetch(t.Context(), at, cache)
	require.NoError(t, err)
	require.Equal(t, int64(1), requests.Load())
	require.True(t, hasServer(bin))
	require.Len(t, entries(t, cache), 1)

	root := filepath.Dir(bin)
	target, err := os.Readlink(filepath.Join(root, "lib", "libicu.so.60"))
	require.NoError(t, err)
	require.Equal(t, "libicu.so.60.2", target)
	require.NoFileExists(t, filepath.Join(root, "package.json"))
	for path, mode := range map[string]os.FileMode{"bin/postgres": 0o755, "lib/libicu.so.60.2": 0o644, "lib": 0o755, ".": 0o755} {
		info, err := os.Stat(filepath.Join(root, path))
		require.NoError(t, err)
		require.Equal(t, mode, info.Mode().Perm(), path)
	}
}

func TestADownloadIsTriedAgain(t *testing.T) {
	t.Parallel()
	body, pinned := pack(t, ordinary())
	at, requests := registry(t, pinned, func(n int64) (int, []byte) {
		if n == 1 {
			return http.StatusBadGateway, nil
		}
		return http.StatusOK, body
	})
	_, err := pinned.fetch(t.Context(), at, t.TempDir())
	require.NoError(t, err)
	require.Equal(t, int64(2), requests.Load())
}

func TestAMissingPackageIsNotAskedForAgain(t *testing.T) {
	t.Parallel()
	_, pinned := pack(t, ordinary())
	at, requests := registry(t, pinned, func(int64) (int, []byte) { return http.StatusNotFound, nil })
	_, err := pinned.fetch(t.Context(), at, t.TempDir())
	require.ErrorContains(t, err, "404")
	require.Equal(t, int64(1), requests.Load())
}

func TestAnotherArchiveThanThePinnedOneIsRefused(t *testing.T) {
	t.Parallel()
	body, pinned := pack(t, ordinary())
	for name, wrong := range map[string][]byte{"changed": append(bytes.Clone(body), 0), "cut off": body[:len(body)-1], "empty": nil} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			at, requests := registry(t, pinned, func(int64) (int, []byte) { return http.StatusOK, wrong })
			cache := t.TempDir()
			_, err := pinned.fetch(t.Context(), at, cache)
			require.ErrorContains(t, err, "not the pinned")
			require.Equal(t, int64(1), requests.Load(), "asking again would bring the same")
			require.Empty(t, entries(t, cache))
		})
	}
}

func TestAnArchiveCannotReachOutOfItsDirectory(t *testing.T) {
	t.Parallel()
	tests := map[string]map[string]string{
		"file":        {"package/native/../../../evil": "x"},
		"link":        {"package/native/pg-symlinks.json": `[{"source":"native/lib/a","target":"native/../../evil"}]`},
		"link source": {"package/native/pg-symlinks.json": `[{"source":"/etc/passwd","target":"native/evil"}]`},
	}
	for name, files := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			body, pinned := pack(t, files)
			at, _ := registry(t, pinned, func(int64) (int, []byte) { return http.StatusOK, body })
			cache := t.TempDir()
			_, err := pinned.fetch(t.Context(), at, cache)
			require.ErrorContains(t, err, "leads out of the archive")
			require.Empty(t, entries(t, cache))
			require.NoFileExists(t, filepath.Join(filepath.Dir(cache), "evil"))
		})
	}
}

func TestEveryPinIsASHA512(t *testing.T) {
	t.Parallel()
	for system, pinned := range archives {
		sum, err := base64.StdEncoding.DecodeString(pinned.sum)
		require.NoError(t, err, system)
		require.Len(t, sum, sha512.Size, system)
	}
	require.Contains(t, archives, runtime.GOOS+"/"+runtime.GOARCH)
}
