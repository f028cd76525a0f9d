package deploytest

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// alert is one rule of Prometheus.
type alert struct {
	Alert       string            `yaml:"alert"`
	Expr        string            `yaml:"expr"`
	For         string            `yaml:"for"`
	Labels      map[string]string `yaml:"labels"`
	Annotations map[string]string `yaml:"annotations"`
}

func alerts(t *testing.T) []alert {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "deploy/prometheus/alerts.yaml"))
	require.NoError(t, err)
	var file struct {
		Groups []struct {
			Name  string  `yaml:"name"`
			Rules []alert `yaml:"rules"`
		} `yaml:"groups"`
	}
	decoder := yaml.NewDecoder(strings.NewReader(string(text)))
	decoder.KnownFields(true)
	require.NoError(t, decoder.Decode(&file))
	require.Len(t, file.Groups, 1)
	return file.Groups[0].Rules
}

// TestEveryAlertHasItsPage: who is woken up finds out what to do.
func TestEveryAlertHasItsPage(t *testing.T) {
	t.Parallel()
	overview, err := os.ReadFile(filepath.Join(root, "docs/operations.md"))
	require.NoError(t, err)
	known := map[string]bool{}
	for _, a := range alerts(t) {
		known[a.Alert+".md"] = true
		require.Contains(t, []string{"page", "ticket"}, a.Labels["severity"], a.Alert)
		require.NotEmpty(t, a.For, a.Alert)
		require.Equal(t, "docs/runbooks/"+a.Alert+".md", a.Annotations["runbook"])
		page, err := os.ReadFile(filepath.Join(root, a.Annotations["runbook"]))
		require.NoError(t, err)
		require.Contains(t, string(page), a.Annotations["summary"])
		require.Contains(t, string(overview), "["+a.Alert+"](runbooks/"+a.Alert+".md)")
	}
	pages, err := os.ReadDir(filepath.Join(root, "docs/runbooks"))
	require.NoError(t, err)
	for _, page := range pages {
		require.True(t, known[page.Name()], "no alert leads to %s", page.Name())
	}
}

var (
	metricPattern = regexp.MustCompile(`prefs_[a-z_]+`)
	suffixPattern = regexp.MustCompile(`_(count|bucket|sum)$`)
)

// TestAlertsAskForMetricsThatExist: a rule on a misspelled name never fires.
func TestAlertsAskForMetricsThatExist(t *testing.T) {
	t.Parallel()
	made := map[string]bool{}
	for _, dir := range []string{"pkg", "services"} {
		require.NoError(t, filepath.WalkDir(filepath.Join(root, dir), func(path string, _ os.DirEntry, err error) error {
			if err != nil || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
				return err
			}
			source, err := os.ReadFile(path)
			for _, name := range metricPattern.FindAllString(string(source), -1) {
				made[name] = true
			}
			return err
		}))
	}
	docs, err := filepath.Glob(filepath.Join(root, "docs/runbooks/*.md"))
	require.NoError(t, err)
	texts := map[string]string{}
	for _, path := range docs {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		texts[path] = string(text)
	}
	for _, a := range alerts(t) {
		texts[a.Alert] = a.Expr
		require.NotEmpty(t, metricPattern.FindString(a.Expr), a.Alert)
	}
	for where, text := range texts {
		for _, name := range metricPattern.FindAllString(text, -1) {
			require.True(t, made[suffixPattern.ReplaceAllString(name, "")], "%s asks for %s, which nothing makes", where, name)
		}
	}
}
