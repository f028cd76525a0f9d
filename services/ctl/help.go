package ctl

import (
	"strings"

	"github.com/alecthomas/kong"
)

// examples teach: one for each command, as a person types it.
var examples = map[string]string{ //nolint:gosec // none of these is a credential
	"migrate up":                "prefsctl migrate up --dir .dev",
	"migrate down":              "prefsctl migrate down --database-url postgres://owner@db/prefs",
	"migrate status":            "prefsctl migrate status --json",
	"migrate validate":          "prefsctl migrate validate",
	"token":                     "curl -H \"Authorization: Bearer $(prefsctl token --subject alice --scope preferences.admin)\" http://localhost:8080/status",
	"topics create":             "prefsctl topics create --partitions 12 --replication-factor 3 --retention 336h",
	"topics check":              "prefsctl topics check --replication-factor 3",
	"topics tail":               "prefsctl topics tail preferences.cleaned --count 10 --json",
	"outbox status":             "prefsctl outbox status --watch",
	"outbox pause":              "prefsctl outbox pause",
	"outbox resume":             "prefsctl outbox resume",
	"outbox replay":             "prefsctl outbox replay --since 90m --topic preferences.events --key alice --dry-run",
	"outbox quarantine ls":      "prefsctl outbox quarantine ls --all",
	"outbox quarantine release": "prefsctl outbox quarantine release 0192679c-5a00-7000-8000-0123456789ab",
	"outbox quarantine drop":    "prefsctl outbox quarantine drop 0192679c-5a00-7000-8000-0123456789ab",
	"outbox reanchor":           "prefsctl outbox reanchor --dry-run",
	"reconcile":                 "prefsctl reconcile --dry-run",
	"dlq ls":                    "prefsctl dlq ls --since 24h --class exhausted",
	"dlq show":                  "prefsctl dlq show 0/17",
	"dlq redrive":               "prefsctl dlq redrive --code INTERNAL --since 24h --rate 50 --dry-run",
	"dlq discard":               "prefsctl dlq discard 0/17 0/18",
	"verify":                    "prefsctl verify --patience 1m --json",
	"doctor":                    "prefsctl doctor --directory-url https://accounts.example.com/accounts",
	"completion":                "eval \"$(prefsctl completion bash)\"",
	"operations ls":             "prefsctl operations ls --state failed",
	"operations show":           "prefsctl operations show operations/0192679c-5a00-7000-8000-0123456789ab",
	"operations watch":          "prefsctl operations watch 0192679c-5a00-7000-8000-0123456789ab",
	"operations cancel":         "prefsctl operations cancel 0192679c-5a00-7000-8000-0123456789ab --undo --watch",
	"operations undo":           "prefsctl operations undo 0192679c-5a00-7000-8000-0123456789ab --watch",
}

// teach puts the example of each command below its help.
func teach(k *kong.Kong) error {
	return kong.Visit(k.Model, func(node kong.Visitable, next kong.Next) error {
		if n, ok := node.(*kong.Node); ok && n.Type == kong.CommandNode {
			if example := examples[strings.TrimPrefix(n.FullPath(), "prefsctl ")]; example != "" {
				n.Detail = "Example:\n\n    " + example
			}
		}
		return next(nil)
	})
}
