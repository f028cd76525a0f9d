//go:build docker

package docker

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/modules/postgres"
	"github.com/testcontainers/testcontainers-go/wait"
)

// needDocker skips where there is no Docker, unless it is required.
func needDocker(t *testing.T) {
	t.Helper()
	if os.Getenv("REQUIRE_DOCKER") == "" {
		testcontainers.SkipIfProviderIsNotHealthy(t)
	}
}

// rerun runs the suite of a package with a variable that says where its server
// is.
func rerun(t *testing.T, pkg, variable, address string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "test", "-race", "-count=1", "./"+pkg)
	cmd.Dir = "../../.."
	cmd.Env = append(os.Environ(), variable+"="+address)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
}

func TestDockerPostgreSQL(t *testing.T) {
	t.Parallel()
	needDocker(t)
	for _, image := range []string{"postgres:15-alpine", "postgres:18-alpine"} {
		t.Run(image, func(t *testing.T) {
			t.Parallel()
			c, err := postgres.Run(t.Context(), image, postgres.BasicWaitStrategies(), postgres.WithDatabase("prefs"),
				testcontainers.WithCmd("postgres", "-c", "max_connections=300", "-c", "fsync=off"))
			testcontainers.CleanupContainer(t, c)
			require.NoError(t, err)
			url, err := c.ConnectionString(t.Context(), "sslmode=disable")
			require.NoError(t, err)
			rerun(t, "pkg/postgres", "PREFS_TEST_DATABASE_URL", url)
			rerun(t, "migrations", "PREFS_TEST_DATABASE_URL", url)
		})
	}
}

// kafkaPort is the listener for clients outside of the container. The broker
// has to advertise it, and it is known only once the container runs, so the
// start waits for a script that carries it.
const kafkaPort = "9094/tcp"

func TestDockerApacheKafka(t *testing.T) {
	t.Parallel()
	needDocker(t)
	c, err := testcontainers.GenericContainer(t.Context(), testcontainers.GenericContainerRequest{
		Started: true,
		ContainerRequest: testcontainers.ContainerRequest{
			Image: "apache/kafka:4.4.0", ExposedPorts: []string{kafkaPort},
			Entrypoint: []string{"sh", "-c", "while [ ! -f /tmp/start.sh ]; do sleep 0.1; done; exec sh /tmp/start.sh"},
			LifecycleHooks: []testcontainers.ContainerLifecycleHooks{{
				PostStarts: []testcontainers.ContainerHook{writeStart},
			}},
			WaitingFor: wait.ForLog("Kafka Server started").WithStartupTimeout(2 * time.Minute),
		},
	})
	testcontainers.CleanupContainer(t, c)
	require.NoError(t, err)
	address, err := c.PortEndpoint(t.Context(), kafkaPort, "")
	require.NoError(t, err)
	rerun(t, "pkg/kafka", "PREFS_TEST_KAFKA", address)
}

func writeStart(ctx context.Context, c testcontainers.Container) error {
	address, err := c.PortEndpoint(ctx, kafkaPort, "")
	if err != nil {
		return err
	}
	settings := []string{
		"KAFKA_NODE_ID=1", "KAFKA_PROCESS_ROLES=broker,controller", "KAFKA_CONTROLLER_QUORUM_VOTERS=1@localhost:9093",
		"KAFKA_LISTENERS=OUTSIDE://:9094,CONTROLLER://:9093,INSIDE://:9092",
		"KAFKA_ADVERTISED_LISTENERS=OUTSIDE://" + address + ",INSIDE://localhost:9092",
		"KAFKA_LISTENER_SECURITY_PROTOCOL_MAP=OUTSIDE:PLAINTEXT,INSIDE:PLAINTEXT,CONTROLLER:PLAINTEXT",
		"KAFKA_CONTROLLER_LISTENER_NAMES=CONTROLLER", "KAFKA_INTER_BROKER_LISTENER_NAME=INSIDE",
		"KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR=1", "KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR=1", "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR=1",
		"KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS=0", "KAFKA_AUTO_CREATE_TOPICS_ENABLE=false",
	}
	script := "export " + strings.Join(settings, " ") + "\nexec /etc/kafka/docker/run\n"
	return c.CopyToContainer(ctx, []byte(script), "/tmp/start.sh", 0o755)
}
