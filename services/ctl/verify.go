package ctl

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/prefsd/prefsd/pkg/config"
	"github.com/prefsd/prefsd/pkg/kafka"
	"github.com/prefsd/prefsd/pkg/postgres"
	"github.com/prefsd/prefsd/pkg/verify"
)

// anyCluster is a cluster that a command can do without.
type anyCluster struct {
	Brokers []string         `name:"kafka-brokers" placeholder:"HOST:PORT" help:"Brokers to start from, separated by commas; without any, only the database is looked at."`
	TLS     config.KafkaTLS  `embed:"" prefix:"kafka-tls-"`
	SASL    config.KafkaSASL `embed:"" prefix:"kafka-sasl-"`
}

func (c anyCluster) given() bool { return len(c.Brokers) > 0 }

func (c anyCluster) cluster() cluster {
	return cluster{config.Kafka{Brokers: c.Brokers, TLS: c.TLS, SASL: c.SASL}}
}

type verifyCommand struct {
	database
	anyCluster
	consumption

	Retention time.Duration `name:"outbox-retention" default:"24h" help:"How long the relay keeps published events, as the services have it: what is older may be missing."`
	Patience  time.Duration `name:"patience" env:"-" default:"30s" help:"What waits no longer than that is under way, and no violation."`
	Samples   int           `name:"samples" env:"-" default:"5" help:"Violations of each invariant to show."`
}

// Validate refuses what would make work under way a violation.
func (c *verifyCommand) Validate() error {
	if c.Patience <= 0 || c.Retention <= 0 || c.Samples < 0 {
		return errors.New("--patience and --outbox-retention must be positive, and --samples not negative")
	}
	return nil
}

// margin is how much older than by our clock an event may be to be expected.
const margin = 10 * time.Minute

// Run looks at everything as of one moment. It changes nothing.
func (c *verifyCommand) Run(ctx context.Context, out *output) (err error) {
	if err := c.with(func(db *sql.DB) error { return migrated(ctx, db) }); err != nil {
		return err
	}
	store, err := postgres.Open(postgres.Config{URL: c.URL.Reveal(), MaxConns: 1})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	var report verify.Report
	look := func(topics verify.Topics) error {
		return store.Snapshot(ctx, func(src verify.Source) (err error) {
			report, err = c.verify(ctx, &watched{src, out, time.Now().Add(margin - c.Retention)}, topics)
			return err
		})
	}
	if !c.given() {
		err = look(nil)
	} else {
		err = c.cluster().with(func(client *kafka.Client) error { return c.withTopics(ctx, out, client, look, &report) })
	}
	if err != nil {
		return err
	}
	return c.show(out, report)
}

// withTopics notes where the topics end before anything else is looked at: what
// comes after may be younger than the snapshot.
func (c *verifyCommand) withTopics(ctx context.Context, out *output, client *kafka.Client, look func(verify.Topics) error, report *verify.Report) error {
	t := &topics{client: client, out: out, names: []string{c.Topics.PreferencesEvents, c.Topics.PreferencesCleaned}, ends: map[string]kafka.Offsets{}}
	for _, name := range t.names {
		_, end, err := client.Bounds(ctx, name)
		if err != nil && !errors.Is(err, kafka.ErrNoTopic) {
			return err
		}
		t.ends[name] = end
	}
	behind, err := c.behind(ctx, client, time.Now().Add(-c.Patience))
	if err != nil {
		return err
	}
	if err := look(t); err != nil {
		return err
	}
	report.Add(verify.Consumed(behind))
	return nil
}

func (c *verifyCommand) verify(ctx context.Context, src verify.Source, topics verify.Topics) (verify.Report, error) {
	checks := []func() (verify.Report, error){
		func() (verify.Report, error) { return verify.Database(ctx, src) },
		func() (verify.Report, error) { return verify.Quiet(ctx, src, c.Patience) },
		func() (verify.Report, error) { return verify.Contract(ctx, src) },
		func() (verify.Report, error) { return verify.Delivery(ctx, src, topics, verify.AtOnce) },
	}
	if topics == nil {
		checks = checks[:3]
	}
	var all verify.Report
	for _, check := range checks {
		report, err := check()
		if err != nil {
			return all, err
		}
		all.Add(report)
	}
	return all, nil
}

// watched is a source whose reading is shown, and that knows how much the relay
// keeps.
type watched struct {
	verify.Source
	out  *output
	kept time.Time
}

// Kept implements verify.Source.
func (w *watched) Kept(ctx context.Context) (time.Time, error) {
	kept, err := w.Source.Kept(ctx)
	if kept.IsZero() {
		kept = w.kept
	}
	return kept, err
}

// Lists implements verify.Source.
func (w *watched) Lists(ctx context.Context) iter.Seq2[verify.History, error] {
	return shown(w.out.progress("lists", 0), w.Source.Lists(ctx))
}

// Outbox implements verify.Source.
func (w *watched) Outbox(ctx context.Context) iter.Seq2[verify.OutboxRow, error] {
	return shown(w.out.progress("events of the outbox", 0), w.Source.Outbox(ctx))
}

// shown moves a bar as the rows are read.
func shown[T any](bar *progress, rows iter.Seq2[T, error]) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		done := 0
		defer func() { bar.end(done) }()
		for row, err := range rows {
			if done++; !yield(row, err) {
				return
			}
			bar.at(done)
		}
	}
}

// topics implements verify.Topics on a cluster, without a group.
type topics struct {
	client *kafka.Client
	out    *output
	names  []string
	ends   map[string]kafka.Offsets
}

var errLeft = errors.New("nobody reads on")

// Records implements verify.Topics.
func (t *topics) Records(ctx context.Context, since time.Time) iter.Seq2[verify.Delivered, error] {
	return shown(t.out.progress("records of the topics", 0), func(yield func(verify.Delivered, error) bool) {
		for _, name := range t.names {
			from, err := t.client.Since(ctx, name, since)
			if err == nil {
				err = t.client.Scan(ctx, name, from, func(r kafka.Record) error {
					if yield(t.delivered(r), nil) {
						return nil
					}
					return errLeft
				})
			}
			switch {
			case errors.Is(err, kafka.ErrNoTopic): // then nothing has arrived
			case errors.Is(err, errLeft):
				return
			case err != nil:
				yield(verify.Delivered{}, err)
				return
			}
		}
	})
}

func (t *topics) delivered(r kafka.Record) verify.Delivered {
	d := verify.Delivered{
		Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Key: string(r.Key), Value: r.Value, Time: r.Time,
		Late: r.Offset >= t.ends[r.Topic][r.Partition],
	}
	for _, h := range r.Headers {
		switch h.Name {
		case "ce_id":
			d.EventID, _ = uuid.Parse(string(h.Value)) // none of ours has another form
		case "ce_time":
			if at, err := time.Parse(time.RFC3339Nano, string(h.Value)); err == nil {
				d.Time = at
			}
		}
	}
	return d
}

// invariants are what is checked, as a person reads it.
var invariants = []struct {
	name, says string
	topics     bool // nothing of it shows in a database alone
}{
	{"I1", "orders are dense, and no entity stands in a list twice", false},
	{"I2", "what was deleted and cleaned stands in no list", false},
	{"I3", "the history holds every version once", false},
	{"I4", "every version has its event, every event arrives, and nothing else does", false},
	{"I5", "events of a list arrive in the order of its versions", true},
	{"I6", "cleans name every list that they changed, and end once", false},
	{"I7", "consumed events are done whole", false},
	{"I8", "histories lead to the lists, and back", false},
	{"I9", "nothing waits or is stuck", false},
	{"I10", "no two lists or items share a tag", false},
	{"I11", "what was created and not deleted is there", false},
	{"contract", "events are as their schemas say", false},
}

type verifyJSON struct {
	Violations int             `json:"violations"`
	Topics     bool            `json:"topicsRead"`
	Checked    checkedJSON     `json:"checked"`
	Invariants []invariantJSON `json:"invariants"`
	Findings   []findingJSON   `json:"findings"`
}

type checkedJSON struct {
	Lists   int `json:"lists"`
	Items   int `json:"items"`
	Changes int `json:"changes"`
	Events  int `json:"events"`
	Cleans  int `json:"cleans"`
	Records int `json:"records"`
}

type invariantJSON struct {
	Name       string `json:"name"`
	Says       string `json:"says"`
	State      string `json:"state"` // holds, broken, skipped
	Violations int    `json:"violations"`
}

type findingJSON struct {
	Invariant string `json:"invariant"`
	Subject   string `json:"subject"`
	Problem   string `json:"problem"`
}

func (c *verifyCommand) show(out *output, r verify.Report) error {
	shown := verifyJSON{
		Topics: c.given(), Checked: checkedJSON{r.Lists, r.Items, r.Changes, r.Events, r.Cleans, r.Delivered},
		Invariants: make([]invariantJSON, len(invariants)), Findings: []findingJSON{},
	}
	rows := make([][]string, 0, len(invariants))
	for i, inv := range invariants {
		state := "holds"
		switch {
		case r.Broken[inv.name] > 0:
			state = "broken"
		case inv.topics && !c.given():
			state = "skipped"
		}
		shown.Violations += r.Broken[inv.name]
		shown.Invariants[i] = invariantJSON{inv.name, inv.says, state, r.Broken[inv.name]}
		rows = append(rows, []string{inv.name, state, strconv.Itoa(r.Broken[inv.name]), inv.says})
	}
	kept := map[string]int{}
	slices.SortStableFunc(r.Findings, func(a, b verify.Finding) int { return cmp.Compare(position(a.Invariant), position(b.Invariant)) })
	for _, f := range r.Findings {
		if kept[f.Invariant]++; kept[f.Invariant] <= c.Samples {
			shown.Findings = append(shown.Findings, findingJSON{f.Invariant, f.Subject, f.Problem})
			rows = append(rows, []string{f.Invariant, "sample", "", f.Subject + " " + f.Problem})
		}
	}
	if err := out.show(shown, []string{"INVARIANT", "STATE", "VIOLATIONS", "WHAT"}, rows); err != nil {
		return err
	}
	n := shown.Checked
	out.remark(fmt.Sprintf("looked at %d lists with %d items and %d versions, %d events, %d cleans, %d records of topics",
		n.Lists, n.Items, n.Changes, n.Events, n.Cleans, n.Records))
	if !c.given() {
		out.remark("the topics were not read, so I5 and half of I4 and I9 were skipped: --kafka-brokers names the brokers")
	}
	if shown.Violations > 0 {
		return errAmiss
	}
	return nil
}

func position(invariant string) int {
	for i, inv := range invariants {
		if inv.name == invariant {
			return i
		}
	}
	return len(invariants)
}
