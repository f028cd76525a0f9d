package deploytest

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/stretchr/testify/require"
)

var settingPattern = regexp.MustCompile(`PREFS_[A-Z0-9_]+`)

// settings are the variables that a command itself says it reads.
func settings(t *testing.T, command ...string) map[string]bool {
	t.Helper()
	run := exec.CommandContext(t.Context(), "go", append([]string{"run"}, append(command, "--help")...)...)
	run.Dir = root
	help, err := run.CombinedOutput()
	require.NoError(t, err, "%s", help)
	known := make(map[string]bool)
	for _, name := range settingPattern.FindAllString(string(help), -1) {
		known[name] = true
	}
	require.NotEmpty(t, known, "%v names its settings", command)
	return known
}

// commands are those that a service of ours runs, as one gives them to go run. One that waits to be told may run them all.
func commands(s types.ServiceConfig) [][]string {
	binary := "./cmd/" + s.Build.Target
	if s.Build.Target == "prefsctl" && len(s.Command) == 0 {
		return [][]string{{binary, "migrate", "status"}, {binary, "token"}, {binary, "topics", "check"}, {binary, "outbox", "status"}}
	}
	return [][]string{append([]string{binary}, s.Command...)}
}

func TestEverySettingExists(t *testing.T) {
	t.Parallel()
	for name, service := range project(t).Services {
		if !isOurs(service) {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			known := make(map[string]bool)
			for _, command := range commands(service) {
				maps.Copy(known, settings(t, command...))
			}
			for variable := range service.Environment {
				if strings.HasPrefix(variable, "PREFS_") {
					require.Contains(t, known, variable, "%v do not read it", commands(service))
				}
			}
		})
	}
}

func TestImageSettingsExist(t *testing.T) {
	t.Parallel()
	stages := dockerfile(t)
	for _, target := range []string{"api", "consumer"} {
		known := settings(t, "./cmd/"+target)
		assigned := settingPattern.FindAllString(stages[target], -1)
		require.Contains(t, assigned, "PREFS_ADMIN_ADDR", "the admin port of %s is reachable in its container", target)
		for _, variable := range assigned {
			require.Contains(t, known, variable, target)
		}
	}
}

func TestImagesAreMinimal(t *testing.T) {
	t.Parallel()
	stages := dockerfile(t)
	require.Regexp(t, `(?m)^FROM gcr\.io/distroless/static-debian12:nonroot AS base$`, stages["base"])
	require.Contains(t, stages["base"], "USER nonroot:nonroot")
	require.Regexp(t, `(?m)^FROM .*golang:\d+\.\d+\.\d+-\S+ AS build$`, stages["build"], "the compiler is pinned")
	for _, target := range []string{"api", "consumer", "prefsctl"} {
		require.Contains(t, stages[target], "FROM base AS "+target)
		require.Contains(t, stages[target], `ENTRYPOINT ["/`+target+`"]`)
		require.Contains(t, stages["build"], "./cmd/"+target)
		require.DirExists(t, filepath.Join(root, "cmd", target))
	}
}

func TestTargetsOfComposeExist(t *testing.T) {
	t.Parallel()
	stages := dockerfile(t)
	for name, service := range project(t).Services {
		if isOurs(service) {
			require.Contains(t, stages, service.Build.Target, name)
			require.FileExists(t, filepath.Join(service.Build.Context, service.Build.Dockerfile))
		}
	}
}

// TestBrokerIsTheTestedOne keeps the broker that is deployed the one that the suites run on.
func TestBrokerIsTheTestedOne(t *testing.T) {
	t.Parallel()
	pom, err := os.ReadFile(root + "/deploy/testkafka/pom.xml")
	require.NoError(t, err)
	_, version, ok := strings.Cut(project(t).Services["kafka"].Image, ":")
	require.True(t, ok)
	require.Contains(t, string(pom), version)
}

// dockerfile is the text of every build stage, by its name.
func dockerfile(t *testing.T) map[string]string {
	t.Helper()
	content, err := os.ReadFile(root + "/deploy/docker/Dockerfile")
	require.NoError(t, err)
	stages := make(map[string]string)
	for _, part := range strings.Split(string(content), "\nFROM ")[1:] {
		first, _, _ := strings.Cut(part, "\n")
		_, name, named := strings.Cut(first, " AS ")
		require.True(t, named, "stage %q has a name", first)
		stages[name] = "FROM " + part
	}
	return stages
}
