package ctl

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prefsd/prefsd/pkg/config"
	"github.com/prefsd/prefsd/pkg/events"
	"github.com/prefsd/prefsd/pkg/kafka"
	"github.com/prefsd/prefsd/pkg/postgres"
	"github.com/prefsd/prefsd/pkg/preferences"
)

type dlqCommands struct {
	Ls      dlqLs      `cmd:"" help:"List dead letters, oldest first in each partition; exit code 3 if any is open."`
	Show    dlqShow    `cmd:"" help:"Show one dead letter whole."`
	Redrive dlqRedrive `cmd:"" help:"Send records of dead letters to their topics again, once the cause is mended."`
	Discard dlqDiscard `cmd:"" help:"Give dead letters up: they are no longer open. The topic keeps them."`
}

// place is where a letter stands in the dead-letter topic: PARTITION/OFFSET.
type place struct {
	partition int
	offset    int64
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (p *place) UnmarshalText(text []byte) error {
	partition, offset, ok := strings.Cut(string(text), "/")
	var errs [2]error
	p.partition, errs[0] = strconv.Atoi(partition)
	p.offset, errs[1] = strconv.ParseInt(offset, 10, 64)
	if !ok || errors.Join(errs[:]...) != nil || p.partition < 0 || p.offset < 0 {
		return fmt.Errorf("%q is not PARTITION/OFFSET, like 0/17", text)
	}
	return nil
}

// String returns what UnmarshalText takes.
func (p place) String() string { return fmt.Sprintf("%d/%d", p.partition, p.offset) }

// dlq is what every command about dead letters needs.
type dlq struct {
	database
	cluster

	Topics config.Topics `embed:""`
}

// open connects to both and runs fn.
func (d *dlq) open(ctx context.Context, fn func(*sql.DB, *kafka.Client) error) error {
	return d.database.with(func(db *sql.DB) error {
		if err := migrated(ctx, db); err != nil {
			return err
		}
		return d.cluster.with(func(client *kafka.Client) error { return fn(db, client) })
	})
}

// deadLetter is a letter where it stands.
type deadLetter struct {
	events.DeadLetter

	at    place
	event events.Event // as far as it can be read
	state postgres.LetterState
}

// delivery names the delivery that became this letter, as the inbox does.
func (l *deadLetter) delivery() preferences.Delivery {
	return preferences.Delivery{
		Consumer: l.Group, Topic: l.Record.Topic, EventID: l.event.ID, Partition: l.Record.Partition, Offset: l.Record.Offset,
	}
}

// open says whether somebody has to decide on the letter.
func (l *deadLetter) open() bool {
	return l.state == postgres.LetterOpen || l.state == postgres.LetterUnknown
}

// choice picks dead letters.
type choice struct {
	Class []string `name:"class" env:"-" help:"Only of these classes: poison, exhausted."`
	Code  []string `name:"code" env:"-" help:"Only with these reasons, such as INVALID_EVENT."`
	Type  []string `name:"type" env:"-" help:"Only of these event types, such as account.deleted."`
	From  []string `name:"topic" env:"-" help:"Only from these topics."`
	Key   string   `name:"key" env:"-" help:"Only with this key."`
	Since moment   `name:"since" env:"-" placeholder:"TIME" help:"Only those that failed from then on: a time in RFC 3339, or how long ago, such as 90m."`
	Until moment   `name:"until" env:"-" placeholder:"TIME" help:"Only those that failed before then."`
	After *place   `name:"after" env:"-" placeholder:"PARTITION/OFFSET" help:"Only what stands behind that place: where an earlier run ended."`
}

// any says whether anything narrows the choice.
func (c *choice) any() bool {
	return len(c.Class)+len(c.Code)+len(c.Type)+len(c.From) > 0 || c.Key != "" || !c.Since.IsZero() || !c.Until.IsZero() || c.After != nil
}

// picks says whether a letter is wanted.
func (c *choice) picks(l *deadLetter) bool {
	among := func(wanted []string, is string) bool { return len(wanted) == 0 || slices.Contains(wanted, is) }
	return among(c.Class, string(l.Class)) && among(c.Code, string(l.Code)) && among(c.Type, string(l.event.Type)) && among(c.From, l.Record.Topic) &&
		(c.Key == "" || c.Key == string(l.Record.Key)) &&
		(c.Since.IsZero() || !l.FailedAt.Before(c.Since.Time)) && (c.Until.IsZero() || l.FailedAt.Before(c.Until.Time)) &&
		(c.After == nil || l.at.partition > c.After.partition || l.at.partition == c.After.partition && l.at.offset > c.After.offset)
}

// stateBatch is how many letters the inbox is asked about at once.
const stateBatch = 500

var errEnough = errors.New("there are enough")

// letters calls fn with the letters that are picked, in the order of the topic,
// and returns how many records are no letters.
func (d *dlq) letters(ctx context.Context, db *sql.DB, client *kafka.Client, pick func(*deadLetter) bool, fn func([]deadLetter) error) (strangers int, err error) {
	var batch []deadLetter
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		deliveries := make([]preferences.Delivery, len(batch))
		for i := range batch {
			deliveries[i] = batch[i].delivery()
		}
		states, err := postgres.LetterStates(ctx, db, deliveries)
		if err != nil {
			return err
		}
		for i := range batch {
			batch[i].state = states[i]
		}
		full := batch
		batch = nil
		return fn(full)
	}
	err = client.Scan(ctx, d.Topics.DeadLetters, nil, func(r kafka.Record) error {
		l, ok := letterOf(r)
		if !ok {
			strangers++
			return nil
		}
		if !pick(&l) {
			return nil
		}
		if batch = append(batch, l); len(batch) < stateBatch {
			return nil
		}
		return flush()
	})
	if err == nil {
		err = flush()
	}
	if errors.Is(err, errEnough) {
		err = nil
	}
	return strangers, err
}

// letterOf reads a letter. What it is about may be unreadable: that may be why
// it is one.
func letterOf(r kafka.Record) (deadLetter, bool) {
	headers := make([]events.Header, len(r.Headers))
	for i, h := range r.Headers {
		headers[i] = events.Header(h)
	}
	letter, err := events.ReadDeadLetter(events.Record{
		Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Time: r.Time, Key: r.Key, Value: r.Value, Headers: headers,
	})
	l := deadLetter{DeadLetter: letter, at: place{r.Partition, r.Offset}}
	if err == nil {
		l.event, _ = events.Decode(letter.Record.Headers, letter.Record.Key, letter.Record.Value)
	}
	return l, err == nil
}

type dlqLs struct {
	dlq
	choice
	All   bool `name:"all" env:"-" help:"Also those that are settled: applied since, superseded or discarded."`
	Limit int  `name:"limit" env:"-" default:"100" help:"At most so many."`
}

type letterJSON struct {
	Place     string               `json:"place"`
	State     postgres.LetterState `json:"state"`
	FailedAt  time.Time            `json:"failedAt"`
	Class     events.ErrorClass    `json:"class"`
	Code      string               `json:"code"`
	Message   string               `json:"message"`
	Type      events.Type          `json:"type"`
	EventID   string               `json:"eventId"`
	Key       string               `json:"key"`
	Original  string               `json:"original"`
	Attempts  int                  `json:"attempts"`
	Replays   int                  `json:"replays"`
	Truncated bool                 `json:"truncated"`

	FirstFailedAt time.Time `json:"firstFailedAt"`
	KeyHash       string    `json:"keyHash"`
	Version       string    `json:"serviceVersion"`
}

func jsonOf(l *deadLetter) letterJSON {
	return letterJSON{
		Place: l.at.String(), State: l.state, FailedAt: l.FailedAt.UTC(), Class: l.Class, Code: string(l.Code), Message: l.Why,
		Type: l.event.Type, EventID: l.event.ID, Key: string(l.Record.Key), Attempts: l.Attempts, Replays: l.Replays(), Truncated: l.Truncated,
		Original:      fmt.Sprintf("%s/%d/%d", l.Record.Topic, l.Record.Partition, l.Record.Offset),
		FirstFailedAt: cmp.Or(l.FirstFailedAt, l.FailedAt).UTC(), KeyHash: l.KeyHash, Version: l.Version,
	}
}

// Run lists them.
func (c *dlqLs) Run(ctx context.Context, out *output) error {
	return c.open(ctx, func(db *sql.DB, client *kafka.Client) error {
		list, rows, open := []letterJSON{}, [][]string{}, false
		strangers, err := c.letters(ctx, db, client, c.picks, func(letters []deadLetter) error {
			for i := range letters {
				l := &letters[i]
				if !c.All && !l.open() {
					continue
				}
				if len(list) == c.Limit {
					return errEnough
				}
				open = open || l.open()
				list = append(list, jsonOf(l))
				rows = append(rows, []string{
					l.at.String(), string(l.state), l.FailedAt.UTC().Format(time.DateTime), string(l.Class), string(l.Code),
					typeOf(l), printable(l.Record.Key), fmt.Sprintf("%s/%d/%d", l.Record.Topic, l.Record.Partition, l.Record.Offset),
					strconv.Itoa(l.Attempts), strconv.Itoa(l.Replays()),
				})
			}
			return nil
		})
		if err != nil {
			return err
		}
		err = out.show(map[string]any{"letters": list, "strangers": strangers},
			[]string{"PLACE", "STATE", "FAILED", "CLASS", "CODE", "TYPE", "KEY", "ORIGINAL", "ATTEMPTS", "REPLAYS"}, rows)
		if err == nil && open {
			return errAmiss
		}
		return err
	})
}

func typeOf(l *deadLetter) string {
	if l.event.Type == "" {
		return "unreadable"
	}
	return printable([]byte(l.event.Type))
}

// printable is a text that does no harm to a terminal, whoever wrote it.
func printable(text []byte) string {
	quoted := strconv.Quote(string(text))
	if len(quoted) == len(text)+2 {
		return string(text)
	}
	return quoted
}

type dlqShow struct {
	dlq
	Place place `arg:"" help:"Which: PARTITION/OFFSET, as dlq ls shows it."`
}

// Run shows a letter with all its headers and its value.
func (c *dlqShow) Run(ctx context.Context, out *output) error {
	return c.open(ctx, func(db *sql.DB, client *kafka.Client) error {
		found := false
		_, err := c.letters(ctx, db, client, func(l *deadLetter) bool { return l.at == c.Place }, func(letters []deadLetter) error {
			found = true
			return showLetter(out, &letters[0])
		})
		if err == nil && !found {
			err = noLetter(c.Place)
		}
		return err
	})
}

func noLetter(at place) error { return fmt.Errorf("no dead letter stands at %s", at) }

func showLetter(out *output, l *deadLetter) error {
	value, err := valueOf(l.Record.Value)
	if err != nil {
		return err
	}
	j := jsonOf(l)
	headers := make([]map[string]string, len(l.Record.Headers))
	rows := [][]string{
		{"place", j.Place},
		{"state", string(j.State)},
		{"failed", j.FailedAt.Format(time.RFC3339)},
		{"failed first", j.FirstFailedAt.Format(time.RFC3339)},
		{"given up by", printable([]byte(j.Version))},
		{"class", string(j.Class)},
		{"code", j.Code},
		{"message", j.Message},
		{"type", typeOf(l)},
		{"event", printable([]byte(j.EventID))},
		{"original", j.Original},
		{"attempts", strconv.Itoa(j.Attempts)},
		{"replays", strconv.Itoa(j.Replays)},
		{"truncated", strconv.FormatBool(j.Truncated)},
		{"key", printable(l.Record.Key)},
		{"key hash", printable([]byte(j.KeyHash))},
	}
	for i, h := range l.Record.Headers {
		headers[i] = map[string]string{"name": h.Name, "value": string(h.Value)}
		rows = append(rows, []string{"header " + printable([]byte(h.Name)), printable(h.Value)})
	}
	rows = append(rows, []string{"value", printable(l.Record.Value)})
	return out.show(map[string]any{"letter": j, "headers": headers, "value": value}, []string{"LETTER", "WHAT IT SAYS"}, rows)
}
