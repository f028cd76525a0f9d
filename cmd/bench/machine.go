package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	_ "github.com/jackc/pgx/v5/stdlib" // the driver that migrations run on

	"github.com/prefsd/prefsd/migrations"
	"github.com/prefsd/prefsd/pkg/auth"
	"github.com/prefsd/prefsd/pkg/devpg"
)

// machine is the PostgreSQL that both sides share, and what they need besides.
type machine struct {
	dir         string
	server      *devpg.Server
	admin       *pgx.Conn
	postgresPID int
	keyFile     string
	tokens      *tokens
}

// durable are the settings of a server that keeps its promises: what devpg
// relaxes for tests counts here.
var durable = map[string]string{
	"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on", "shared_buffers": "512MB", "max_connections": "100",
	"max_wal_size": "4GB", "checkpoint_timeout": "30min",
}

func newMachine(ctx context.Context, f flags) (*machine, error) {
	dir, err := os.MkdirTemp("", "prefsd-bench-")
	if err != nil {
		return nil, err
	}
	key, err := auth.NewDevKey()
	if err != nil {
		return nil, err
	}
	m := &machine{dir: dir, keyFile: filepath.Join(dir, "key.pem"), tokens: &tokens{key: key, byUser: map[int]string{}}}
	if err := key.Save(m.keyFile); err != nil {
		return nil, errors.Join(err, m.close(ctx))
	}
	settings := maps.Clone(durable)
	if f.asked(relayBench) {
		settings["wal_level"] = "logical" // Debezium's condition
	}
	if m.server, err = devpg.Start(ctx, devpg.Options{Settings: settings}); err != nil {
		return nil, errors.Join(err, m.close(ctx))
	}
	if m.admin, err = pgx.Connect(ctx, m.server.URL()); err != nil {
		return nil, errors.Join(err, m.close(ctx))
	}
	m.postgresPID, err = postmaster(m.server.DataDir())
	if err != nil {
		return nil, errors.Join(err, m.close(ctx))
	}
	return m, nil
}

// postmaster reads the server's process id from the first line of its pid file.
func postmaster(dataDir string) (int, error) {
	b, err := os.ReadFile(filepath.Join(dataDir, "postmaster.pid")) //nolint:gosec // our own server's
	if err != nil {
		return 0, err
	}
	first, _, _ := strings.Cut(string(b), "\n")
	return strconv.Atoi(first)
}

func (m *machine) close(ctx context.Context) error {
	var errs []error
	if m.admin != nil {
		errs = append(errs, m.admin.Close(context.WithoutCancel(ctx)))
	}
	if m.server != nil {
		errs = append(errs, m.server.Close())
	}
	return errors.Join(append(errs, os.RemoveAll(m.dir))...)
}

func (m *machine) migrate(ctx context.Context) error {
	db, err := sql.Open("pgx", m.server.URL())
	if err != nil {
		return err
	}
	_, err = migrations.Up(ctx, db)
	return errors.Join(err, db.Close())
}

// seed fills the tables as if every user had saved one list: its items lie
// side by side.
func (m *machine) seed(ctx context.Context, lists, items int) error {
	if items > 63 || items < 8 {
		return errors.New("--items must be from 8 to 63")
	}
	progress("filling %d lists of %d items", lists, items)
	for _, statement := range []string{
		fmt.Sprintf("insert into preference_lists (user_id, domain, version) select 'user-' || g, 'accounts', 1 from generate_series(1, %d) g", lists),
		fmt.Sprintf(`insert into preferences (id, list_id, entity_type, entity_id, position, attributes)
			select ('01990000-0000-7000-8000-' || lpad(to_hex(list_id * 64 + g), 12, '0'))::uuid, list_id, 'account', 'acc-' || g, g, '%s'
			from preference_lists, generate_series(1, %d) g order by list_id, g`, label, items),
		"vacuum analyze", "checkpoint",
	} {
		if _, err := m.admin.Exec(ctx, statement); err != nil {
			return fmt.Errorf("seed: %w", err)
		}
	}
	return nil
}

// itemID is the id of the k-th item of a seeded list.
func itemID(user, k int) string { return fmt.Sprintf("01990000-0000-7000-8000-%012x", user*64+k) }

func entityID(k int) string { return "acc-" + strconv.Itoa(k) }

// tokens signs a token for each user, once.
type tokens struct {
	key    *auth.DevKey
	mu     sync.Mutex
	byUser map[int]string
}

func (t *tokens) of(user int) (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if token, known := t.byUser[user]; known {
		return token, nil
	}
	token, err := t.key.Sign(auth.Grant{Subject: "user-" + strconv.Itoa(user)})
	t.byUser[user] = token
	return token, err
}

func (t *tokens) bearer(user int) (string, error) {
	token, err := t.of(user)
	return "Bearer " + token, err
}

// process is a server that is measured, as it is deployed.
type process struct {
	cmd       *exec.Cmd
	url       string
	answer    int                            // bytes to ask for, of a server that sends so many
	authorize func(user int) (string, error) // where its tokens are not prefsd's
}

// startAPI starts the api; env has the last word.
func (m *machine) startAPI(ctx context.Context, env ...string) (*process, error) {
	addr, admin, err := freeAddrs(ctx)
	if err != nil {
		return nil, err
	}
	return m.start(ctx, "api", "github.com/prefsd/prefsd/cmd/api", "http://"+addr, "http://"+admin+"/readyz", append([]string{
		"PREFS_DATABASE_URL=" + m.server.URL(), "PREFS_KAFKA_BROKERS=127.0.0.1:1", "PREFS_RELAY=off", "PREFS_HTTP_ADDR=" + addr, "PREFS_ADMIN_ADDR=" + admin,
		"PREFS_AUTH_DEV_KEY_FILE=" + m.keyFile, "PREFS_AUTH_ISSUER=" + auth.DevIssuer, "PREFS_AUTH_AUDIENCE=" + auth.DevAudience, "PREFS_LOG_LEVEL=warn",
		"PREFS_RATE_LIMIT=1000000/1s", // what is sent is counted, but nobody is refused
	}, env...)...)
}

// startConsumer starts the consumer.
func (m *machine) startConsumer(ctx context.Context, env ...string) (*process, error) {
	_, admin, err := freeAddrs(ctx)
	if err != nil {
		return nil, err
	}
	return m.start(ctx, "consumer", "github.com/prefsd/prefsd/cmd/consumer", "", "http://"+admin+"/readyz", append([]string{
		"PREFS_DATABASE_URL=" + m.server.URL(), "PREFS_ADMIN_ADDR=" + admin, "PREFS_LOG_LEVEL=warn",
	}, env...)...)
}

// startCeiling starts the server that does nothing but HTTP, and a statement of
// SQL where a client names one.
func (m *machine) startCeiling(ctx context.Context) (*process, error) {
	addr, _, err := freeAddrs(ctx)
	if err != nil {
		return nil, err
	}
	return m.start(ctx, "ceiling", "github.com/prefsd/prefsd/cmd/bench/ceiling", "http://"+addr, "http://"+addr+"/", "HTTP_ADDR="+addr, "DATABASE_URL="+m.server.URL())
}

// start builds a command and returns once it says that it is ready.
func (m *machine) start(ctx context.Context, name, pkg, url, readyURL string, env ...string) (*process, error) {
	binary := filepath.Join(m.dir, name)
	progress("building %s", name)
	build := exec.CommandContext(ctx, "go", "build", "-o", binary, pkg) //nolint:gosec // a constant but for the directory
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return nil, fmt.Errorf("build %s: %w", name, err)
	}
	p, err := spawn(ctx, env, binary)
	if err != nil {
		return nil, err
	}
	p.url = url
	if err := ready(ctx, readyURL); err != nil {
		return nil, errors.Join(err, p.stop())
	}
	return p, nil
}

// spawn starts a program.
func spawn(ctx context.Context, env []string, name string, args ...string) (*process, error) {
	cmd := exec.CommandContext(ctx, name, args...) //nolint:gosec // what is measured, built or found by the bench itself
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	return &process{cmd: cmd}, cmd.Start()
}

func freeAddrs(ctx context.Context) (string, string, error) {
	var listen net.ListenConfig
	one, err := listen.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", "", err
	}
	two, err := listen.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", "", errors.Join(err, one.Close())
	}
	return one.Addr().String(), two.Addr().String(), errors.Join(one.Close(), two.Close())
}

// ready waits until the service says that it is.
func ready(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
		if err != nil {
			return err
		}
		if res, err := http.DefaultClient.Do(req); err == nil {
			_ = res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%s does not get ready: %w", url, ctx.Err())
		}
	}
}

// stop ends the server; there may be none.
func (p *process) stop() error {
	if p == nil {
		return nil
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	err := p.cmd.Wait()
	const terminated = 128 + int(syscall.SIGTERM) // how Java says that it did as it was told
	if p.cmd.ProcessState.ExitCode() == terminated {
		return nil
	}
	return err
}
