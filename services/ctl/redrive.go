package ctl

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/prefsd/prefsd/pkg/kafka"
	"github.com/prefsd/prefsd/pkg/outbox"
	"github.com/prefsd/prefsd/pkg/postgres"
	"github.com/prefsd/prefsd/pkg/preferences"
	"github.com/prefsd/prefsd/pkg/retry"
)

// selection is which open letters a command works on.
type selection struct {
	dlq
	choice
	Places []place `arg:"" optional:"" name:"place" help:"Which letters: PARTITION/OFFSET, as dlq ls shows them."`
	All    bool    `name:"all" env:"-" help:"All open letters."`
	DryRun bool    `name:"dry-run" env:"-" help:"Count the letters by reason, and do nothing."`

	met map[place]bool // those of Places where a letter stands
}

// Validate asks for something to work on.
func (s *selection) Validate() error {
	if !s.All && len(s.Places) == 0 && !s.any() {
		return errors.New("say which letters: their places, a filter such as --code, or --all")
	}
	return nil
}

func (s *selection) wanted(l *deadLetter) bool {
	if len(s.Places) == 0 {
		return s.picks(l)
	}
	if !slices.Contains(s.Places, l.at) {
		return false
	}
	if s.met == nil {
		s.met = map[place]bool{}
	}
	s.met[l.at] = true
	return s.picks(l)
}

// missed fails if a place was named where no letter stands.
func (s *selection) missed() error {
	var errs []error
	for _, at := range s.Places {
		if !s.met[at] {
			errs = append(errs, noLetter(at))
		}
	}
	return errors.Join(errs...)
}

// leave counts a letter that nothing is left to do about, if somebody named it.
func (s *selection) leave(counts tally, l *deadLetter) {
	if len(s.Places) > 0 {
		counts.add(l, fateSettled)
	}
}

// tally counts letters by what they have in common.
type tally map[tallyKey]int

type tallyKey struct {
	Topic, Type, Class, Code, Fate string
}

type tallyJSON struct {
	Topic   string `json:"topic"`
	Type    string `json:"type"`
	Class   string `json:"class"`
	Code    string `json:"code"`
	Fate    string `json:"fate"`
	Letters int    `json:"letters"`
}

func (t tally) add(l *deadLetter, fate string) {
	t[tallyKey{l.Record.Topic, typeOf(l), string(l.Class), string(l.Code), fate}]++
}

// show prints the counts, the most frequent first.
func (t tally) show(out *output, value map[string]any) error {
	keys := slices.SortedFunc(maps.Keys(t), func(a, b tallyKey) int {
		return cmp.Or(cmp.Compare(t[b], t[a]), cmp.Compare(fmt.Sprint(a), fmt.Sprint(b)))
	})
	list, rows := make([]tallyJSON, len(keys)), make([][]string, len(keys))
	for i, k := range keys {
		list[i] = tallyJSON{k.Topic, k.Type, k.Class, k.Code, k.Fate, t[k]}
		rows[i] = []string{strconv.Itoa(t[k]), k.Topic, k.Type, k.Class, k.Code, k.Fate}
	}
	value["letters"] = list
	return out.show(value, []string{"LETTERS", "TOPIC", "TYPE", "CLASS", "CODE", "FATE"}, rows)
}

// What becomes of a letter.
const (
	fateRedriven  = "redriven"
	fateCapped    = "left: it was sent again too often"
	fateTruncated = "left: its value was not kept"
	fateSettled   = "left: it is settled"
	fateDiscarded = "discarded"
)

type dlqRedrive struct {
	selection
	Rate       int `name:"rate" env:"-" default:"100" help:"At most so many records a second; 0 is as fast as it goes."`
	MaxReplays int `name:"max-replays" env:"-" default:"3" help:"Leave letters whose record was sent again so often already: it fails every time."`
}

// Validate refuses a rate that cannot be.
func (c *dlqRedrive) Validate() error {
	if c.Rate < 0 || c.MaxReplays < 1 {
		return errors.New("--rate must not be negative, and --max-replays at least 1")
	}
	return c.selection.Validate()
}

// Run sends records one after the other, so that those of a key keep their
// order, and says behind which place it goes on if it ends early.
func (c *dlqRedrive) Run(ctx context.Context, out *output) error {
	return c.open(ctx, func(db *sql.DB, client *kafka.Client) error {
		r := &redrive{
			dlqRedrive: c, publisher: kafka.NewPublisher(client, kafka.PublisherConfig{}), counts: tally{}, began: time.Now(),
			bar: out.progress("redrive", 0),
		}
		_, err := c.letters(ctx, db, client, c.wanted, func(letters []deadLetter) error {
			for i := range letters {
				if err := r.settle(ctx, &letters[i]); err != nil {
					return err
				}
			}
			return nil
		})
		r.bar.end(r.sent)
		shown := r.counts.show(out, map[string]any{"dryRun": c.DryRun, "redriven": r.sent})
		if err != nil && r.last != nil {
			err = fmt.Errorf("%w (--after=%s goes on)", err, r.last)
		}
		if err == nil {
			err = c.missed()
		}
		return errors.Join(err, shown)
	})
}

// redrive is one on its way.
type redrive struct {
	*dlqRedrive
	publisher outbox.Publisher
	counts    tally
	bar       *progress
	began     time.Time
	sent      int
	last      *place
}

func (r *redrive) settle(ctx context.Context, l *deadLetter) error {
	switch {
	case !l.open():
		r.leave(r.counts, l)
		return nil
	case l.Truncated:
		r.counts.add(l, fateTruncated)
		return nil
	case l.Replays() >= r.MaxReplays:
		r.counts.add(l, fateCapped)
		return nil
	case r.DryRun:
		r.counts.add(l, "would be redriven")
		return nil
	}
	if err := r.pace(ctx); err != nil {
		return err
	}
	if err := r.send(ctx, l); err != nil {
		return fmt.Errorf("redrive %s: %w", l.at, err)
	}
	r.sent, r.last = r.sent+1, &l.at
	r.counts.add(l, fateRedriven)
	r.bar.at(r.sent)
	return nil
}

// send publishes until the broker has the record, or takes no more questions.
func (r *redrive) send(ctx context.Context, l *deadLetter) error {
	record := l.Redriven()
	m := outbox.Message{ID: l.at.offset, EventID: uuid.New(), Topic: record.Topic, Key: record.Key, Value: record.Value}
	for _, h := range record.Headers {
		m.Headers = append(m.Headers, outbox.Header{Name: h.Name, Value: h.Value})
	}
	return r.publisher.Publish(ctx, []outbox.Message{m})[0]
}

func (r *redrive) pace(ctx context.Context) error {
	if r.Rate == 0 {
		return nil
	}
	return retry.Wait(ctx, time.Until(r.began.Add(time.Duration(r.sent)*time.Second/time.Duration(r.Rate))))
}

type dlqDiscard struct{ selection }

// Run gives letters up.
func (c *dlqDiscard) Run(ctx context.Context, out *output) error {
	return c.open(ctx, func(db *sql.DB, client *kafka.Client) error {
		counts, discarded := tally{}, 0
		_, err := c.letters(ctx, db, client, c.wanted, func(letters []deadLetter) error {
			letters = slices.DeleteFunc(letters, func(l deadLetter) bool {
				if !l.open() {
					c.leave(counts, &l)
				}
				return !l.open()
			})
			deliveries := make([]preferences.Delivery, len(letters))
			for i := range letters {
				deliveries[i] = letters[i].delivery()
				fate := fateDiscarded
				if c.DryRun {
					fate = "would be discarded"
				}
				counts.add(&letters[i], fate)
			}
			if c.DryRun || len(letters) == 0 {
				return nil
			}
			n, err := postgres.DiscardLetters(ctx, db, deliveries)
			discarded += n
			return err
		})
		if err == nil {
			err = c.missed()
		}
		return errors.Join(err, counts.show(out, map[string]any{"dryRun": c.DryRun, "discarded": discarded}))
	})
}
