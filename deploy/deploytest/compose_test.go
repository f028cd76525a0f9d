package deploytest

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/stretchr/testify/require"
)

// root is the top of the repository.
const root = "../.."

// ours are the images that this repository builds; the others come from elsewhere.
const ours = "prefsd/"

func project(t *testing.T) *types.Project {
	t.Helper()
	options, err := cli.NewProjectOptions([]string{root + "/docker-compose.yml"}, cli.WithWorkingDirectory(root), cli.WithProfiles([]string{"*"}))
	require.NoError(t, err)
	loaded, err := options.LoadProject(t.Context())
	require.NoError(t, err)
	require.NotEmpty(t, loaded.Services)
	return loaded
}

// isJob tells a service that ends by itself from one that stays.
func isJob(s types.ServiceConfig) bool {
	return s.Restart == types.RestartPolicyNo
}

func isOurs(s types.ServiceConfig) bool {
	return strings.HasPrefix(s.Image, ours)
}

func TestComposeHasEveryPart(t *testing.T) {
	t.Parallel()
	require.ElementsMatch(t, []string{"postgres", "kafka", "migrate", "topics", "api", "consumer", "prefsctl"}, project(t).ServiceNames())
}

func TestImagesArePinned(t *testing.T) {
	t.Parallel()
	versioned := regexp.MustCompile(`:v?\d+(\.\d+)+(-[a-z]+)?$`)
	for name, service := range project(t).Services {
		if isOurs(service) {
			require.NotNil(t, service.Build, "%s is built here", name)
			continue
		}
		require.Regexp(t, versioned, service.Image, "image of %s", name)
	}
}

func TestServicesStayHealthyAndJobsEnd(t *testing.T) {
	t.Parallel()
	for name, service := range project(t).Services {
		if isJob(service) {
			require.Nil(t, service.HealthCheck, "%s is a job", name)
			continue
		}
		require.Equal(t, types.RestartPolicyUnlessStopped, service.Restart, name)
		require.NotNil(t, service.HealthCheck, name)
		require.NotEmpty(t, service.HealthCheck.Test, name)
		require.NotNil(t, service.StopGracePeriod, name)
	}
}

func TestDependenciesAreWaitedFor(t *testing.T) {
	t.Parallel()
	p := project(t)
	for name, service := range p.Services {
		for dependency, how := range service.DependsOn {
			want := types.ServiceConditionHealthy
			if isJob(p.Services[dependency]) {
				want = types.ServiceConditionCompletedSuccessfully
			}
			require.Equal(t, want, how.Condition, "%s waits for %s", name, dependency)
		}
	}
	// A user can save while Kafka is away, so the api must not wait for it either.
	require.Equal(t, []string{"migrate"}, p.Services["api"].GetDependencies())
}

func TestContainersAreConfined(t *testing.T) {
	t.Parallel()
	for name, service := range project(t).Services {
		for _, port := range service.Ports {
			require.Equal(t, "127.0.0.1", port.HostIP, "%s is published to this machine only", name)
			require.NotContains(t, []uint32{9090, 9091}, port.Target, "the admin port of %s stays inside", name)
		}
		if !isOurs(service) {
			continue
		}
		require.True(t, service.ReadOnly, name)
		require.Equal(t, []string{"ALL"}, service.CapDrop, name)
		require.Contains(t, service.SecurityOpt, "no-new-privileges:true", name)
	}
}

func TestSecretsComeFromFiles(t *testing.T) {
	t.Parallel()
	p := project(t)
	secret := regexp.MustCompile(`(?i)(password|token|key|database_url|secret)`)
	for name, service := range p.Services {
		mounted := make([]string, 0, len(service.Secrets))
		for _, s := range service.Secrets {
			mounted = append(mounted, "/run/secrets/"+s.Source)
		}
		for variable, value := range service.Environment {
			if !secret.MatchString(variable) {
				continue
			}
			require.True(t, strings.HasSuffix(variable, "_FILE"), "%s of %s must come from a file", variable, name)
			require.NotNil(t, value)
			require.True(t, slices.Contains(mounted, *value), "%s of %s names a secret that is mounted: %s", variable, name, *value)
		}
	}
	for name, s := range p.Secrets {
		require.Contains(t, s.File, "/deploy/docker/secrets/", "%s is never committed", name)
	}
}
