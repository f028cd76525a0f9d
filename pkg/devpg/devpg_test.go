package devpg_test

import (
	"context"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/prefsd/prefsd/pkg/devpg"
)

// start starts a server that is gone after the test.
func start(t *testing.T, opts devpg.Options) *devpg.Server {
	t.Helper()
	s, err := devpg.Start(t.Context(), opts)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

func connect(t *testing.T, at string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), at)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	return conn
}

// ask runs a query of one value on a connection of its own.
func ask(t *testing.T, at, query string) string {
	t.Helper()
	conn := connect(t, at)
	var answer string
	require.NoError(t, conn.QueryRow(t.Context(), query).Scan(&answer))
	require.NoError(t, conn.Close(t.Context()))
	return answer
}

// do runs a statement on a connection of its own.
func do(t *testing.T, at, statement string) {
	t.Helper()
	conn := connect(t, at)
	_, err := conn.Exec(t.Context(), statement)
	require.NoError(t, err)
	require.NoError(t, conn.Close(t.Context()))
}

// openDir returns a directory that every user of the machine can enter, as the
// directories of an ordinary checkout are.
func openDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, path := range []string{dir, filepath.Dir(dir)} {
		require.NoError(t, os.Chmod(path, 0o755))
	}
	return dir
}

func TestATemporaryServerLeavesNothing(t *testing.T) {
	t.Parallel()
	s, err := devpg.Start(t.Context(), devpg.Options{})
	require.NoError(t, err)
	require.False(t, s.Adopted())
	require.NotEmpty(t, s.BinDir())
	require.Contains(t, ask(t, s.URL(), `show server_version`), s.Version())
	require.Equal(t, "off", ask(t, s.URL(), `show fsync`))
	require.Equal(t, "127.0.0.1", ask(t, s.URL(), `show listen_addresses`))
	require.Equal(t, "UTF8", ask(t, s.URL(), `show server_encoding`))
	require.DirExists(t, s.DataDir())
	ended := s.Done()

	require.NoError(t, s.Close())
	<-ended
	require.NoDirExists(t, filepath.Dir(s.DataDir()))
	_, err = pgx.Connect(t.Context(), s.URL())
	require.Error(t, err)
	require.NoError(t, s.Close(), "a second Close is harmless")
}

func TestSettingsOfTheCallerWin(t *testing.T) {
	t.Parallel()
	var log strings.Builder
	s := start(t, devpg.Options{
		Settings: map[string]string{"max_connections": "23", "fsync": "on"}, Database: "odd name", Output: &log,
	})
	require.Equal(t, "23", ask(t, s.URL(), `show max_connections`))
	require.Equal(t, "on", ask(t, s.URL(), `show fsync`))
	require.Equal(t, "odd name", ask(t, s.URL(), `select current_database()`))
	require.Equal(t, "postgres", ask(t, s.URLOf("postgres"), `select current_database()`))
	require.Contains(t, s.Log(), "ready to accept connections")
	require.NoError(t, s.Stop())
	require.Contains(t, log.String(), "ready to accept connections")
}

func TestDataOutlivesTheServer(t *testing.T) {
	t.Parallel()
	opts := devpg.Options{DataDir: filepath.Join(openDir(t), "deep", "pg"), Database: "prefs"}
	unfinished := opts.DataDir + ".new-123" // of a start that was killed
	require.NoError(t, os.MkdirAll(filepath.Join(unfinished, "base"), 0o755))
	first, err := devpg.Start(t.Context(), opts)
	require.NoError(t, err)
	require.NoDirExists(t, unfinished)
	require.Equal(t, opts.DataDir, first.DataDir())
	require.Equal(t, "on", ask(t, first.URL(), `show fsync`))
	require.Equal(t, "on", ask(t, first.URL(), `show synchronous_commit`), "an acknowledged commit outlives a kill")
	do(t, first.URL(), `create table kept as select 42 as n`)
	require.NoError(t, first.Close())
	require.DirExists(t, opts.DataDir)

	second := start(t, opts)
	require.Equal(t, "42", ask(t, second.URL(), `select n::text from kept`))
}

func TestOnlyWhoReadsTheDataGetsIn(t *testing.T) {
	t.Parallel()
	s := start(t, devpg.Options{})
	for name, user := range map[string]*url.Userinfo{"none": url.User("prefs"), "wrong": url.UserPassword("prefs", "prefs")} {
		at, err := url.Parse(s.URL())
		require.NoError(t, err)
		at.User = user
		_, err = pgx.Connect(t.Context(), at.String())
		require.ErrorContains(t, err, "28P01", name)
	}
	info, err := os.Stat(filepath.Join(s.DataDir(), "prefsd.password"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
}

func TestStopAndStartKeepPortAndData(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*devpg.Server) error{"stop": (*devpg.Server).Stop, "kill": (*devpg.Server).Kill} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, devpg.Options{})
			at := s.URL()
			client := connect(t, at)
			do(t, at, `create table kept as select 42 as n`)
			ended := s.Done()

			require.NoError(t, end(s))
			<-ended
			require.Error(t, client.Ping(t.Context()), "clients are cut off")
			require.NoError(t, end(s), "what is down stays down")

			require.NoError(t, s.Start(t.Context()))
			require.NoError(t, s.Start(t.Context()), "what runs goes on")
			require.Equal(t, at, s.URL())
			require.Equal(t, "42", ask(t, at, `select n::text from kept`))
		})
	}
}

func TestASecondStartAdoptsTheServer(t *testing.T) {
	t.Parallel()
	opts := devpg.Options{DataDir: filepath.Join(openDir(t), "pg")}
	first := start(t, opts)
	second, err := devpg.Start(t.Context(), devpg.Options{DataDir: opts.DataDir, Database: "more"})
	require.NoError(t, err)
	require.True(t, second.Adopted())
	require.Equal(t, first.Port(), second.Port())
	require.Equal(t, "more", ask(t, second.URL(), `select current_database()`))

	require.NoError(t, second.Start(t.Context()))
	require.NoError(t, second.Kill())
	require.NoError(t, second.Close())
	require.Equal(t, "1", ask(t, first.URL(), `select 1::text`), "it was not ours to stop")
}

func TestOnlyOneOfManyStartsTheServer(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(openDir(t), "pg")
	servers := make([]*devpg.Server, 3)
	group, ctx := errgroup.WithContext(t.Context())
	for i := range servers {
		group.Go(func() (err error) {
			servers[i], err = devpg.Start(ctx, devpg.Options{DataDir: dir})
			return err
		})
	}
	require.NoError(t, group.Wait())
	owners := 0
	for _, s := range servers {
		require.Equal(t, servers[0].URL(), s.URL())
		if !s.Adopted() {
			owners++
		}
	}
	require.Equal(t, 1, owners)
	for _, s := range servers {
		require.NoError(t, s.Close())
	}
}

func TestAGivenPortIsUsedOrRefused(t *testing.T) {
	t.Parallel()
	first := start(t, devpg.Options{})
	_, err := devpg.Start(t.Context(), devpg.Options{Port: first.Port()})
	require.ErrorContains(t, err, "taken")
	require.NoError(t, first.Stop())
	second := start(t, devpg.Options{Port: first.Port()})
	at, err := url.Parse(second.URL())
	require.NoError(t, err)
	require.Equal(t, strconv.Itoa(first.Port()), at.Port())
}

func TestAStartThatIsGivenUpLeavesNothing(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := devpg.Start(ctx, devpg.Options{})
	require.ErrorIs(t, err, context.Canceled)
}

func TestABadSettingIsExplained(t *testing.T) {
	t.Parallel()
	_, err := devpg.Start(t.Context(), devpg.Options{Settings: map[string]string{"shared_buffers": "tiny"}})
	require.ErrorContains(t, err, "shared_buffers", "the server's own words are in the error")
}

func TestForeignFilesAreNotOverwritten(t *testing.T) {
	t.Parallel()
	dir := openDir(t)
	precious := filepath.Join(dir, "precious")
	require.NoError(t, os.WriteFile(precious, nil, 0o600))
	_, err := devpg.Start(t.Context(), devpg.Options{DataDir: dir})
	require.ErrorContains(t, err, "neither empty nor made by PostgreSQL")
	require.FileExists(t, precious)
}

func TestAnEmptyBinDirIsRefused(t *testing.T) {
	t.Parallel()
	_, err := devpg.Start(t.Context(), devpg.Options{BinDir: t.TempDir()})
	require.ErrorContains(t, err, "does not hold initdb and postgres")
}
