package verify

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"iter"
	"math"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/prefsd/prefsd/pkg/events"
)

// Delivered is a record that a consumer of an outgoing topic sees.
type Delivered struct {
	Topic     string
	Partition int
	Offset    int64
	Key       string
	EventID   uuid.UUID // zero if it has none
	Value     []byte
	Time      time.Time // of the event, or else of the record
	Late      bool      // it may be younger than what the source shows
}

// Topics are the outgoing ones.
type Topics interface {
	// Records are those that were published from then on, the others if that is
	// easier; those of a partition in the order of its log.
	Records(ctx context.Context, since time.Time) iter.Seq2[Delivered, error]
}

// Records are those of the topics, in memory.
type Records []Delivered

// Records implements Topics.
func (all Records) Records(context.Context, time.Time) iter.Seq2[Delivered, error] {
	return func(yield func(Delivered, error) bool) {
		for _, d := range all {
			if !yield(d, nil) {
				return
			}
		}
	}
}

// AtOnce is how many events fit into about 100 MB.
const AtOnce = 500_000

// Delivery checks the topics against the outbox: I4 (every event arrives, and
// nothing else) and I5 (of a list or a clean, first deliveries are in the order
// of their commits; duplicates only repeat). It holds so many events at a time,
// and reads the topics once for each time.
func Delivery(ctx context.Context, src Source, topics Topics, atOnce int) (Report, error) {
	var r Report
	kept, err := src.Kept(ctx)
	if err != nil {
		return r, fmt.Errorf("verify outbox: %w", err)
	}
	const all = uint64(math.MaxUint32) + 1
	for from, to := uint64(0), all; from < all; {
		s := &slice{from: from, to: to, rows: map[uuid.UUID]*sent{}, kept: kept}
		if err := s.load(ctx, src, atOnce); err != nil {
			return r, fmt.Errorf("verify outbox: %w", err)
		}
		from, to = s.to, min(all, s.to+2*(s.to-s.from)) // what comes next may be less dense
		r.Events += len(s.rows)
		if err := s.deliver(ctx, topics, &r); err != nil {
			return r, fmt.Errorf("verify topics: %w", err)
		}
		s.missing(&r)
		s.sequence(&r)
	}
	return r, nil
}

// slice is the events of some of the keys: those whose hashes lie between from
// and to. All that is in order with an event is in its slice.
type slice struct {
	from, to uint64
	rows     map[uuid.UUID]*sent
	kept     time.Time // from then on nothing was pruned
	oldest   time.Time // of the rows
}

// sent is what has to be known of an event to recognise it.
type sent struct {
	id, sequence int64
	digest       [sha256.Size]byte
	order        string // what it is in order with; empty if nobody can read it
	kind         events.Type
	excused      bool // it need not have arrived
	arrived      bool
	partition    int
}

func (s *slice) holds(key string) bool {
	h := fnv.New32a()
	_, _ = h.Write([]byte(key)) // never fails
	at := uint64(h.Sum32())
	return s.from <= at && at < s.to
}

// load reads the rows of the slice. It makes the slice smaller when they become
// too many, which begins again.
func (s *slice) load(ctx context.Context, src Source, atOnce int) error {
	for row, err := range src.Outbox(ctx) {
		if err != nil {
			return err
		}
		if !s.holds(row.Key) {
			continue
		}
		if len(s.rows) == atOnce && s.to-s.from > 1 {
			s.to = s.from + (s.to-s.from)/2
			clear(s.rows)
			return s.load(ctx, src, atOnce)
		}
		order, _ := ordered(row)
		s.rows[row.EventID] = &sent{
			id: row.ID, sequence: row.Sequence, digest: digest(row.Topic, row.Key, row.Payload), order: order, kind: row.Type,
			excused: row.Quarantined || row.Waiting,
		}
		if s.oldest.IsZero() || row.Time.Before(s.oldest) {
			s.oldest = row.Time
		}
	}
	return nil
}

// drift is how much earlier than its row a record may seem to be.
const drift = time.Hour

// deliver holds the records of the topics against the rows.
func (s *slice) deliver(ctx context.Context, topics Topics, r *Report) error {
	if s.kept.IsZero() && s.oldest.IsZero() {
		return nil // there is nothing to compare with
	}
	since := s.kept
	if since.IsZero() || !s.oldest.IsZero() && s.oldest.Before(since) {
		since = s.oldest
	}
	last := map[string]*sent{} // of what is in one order, the newest first delivery so far
	for d, err := range topics.Records(ctx, since.Add(-drift)) {
		if err != nil {
			return err
		}
		if !s.holds(d.Key) {
			continue
		}
		r.Delivered++
		s.delivered(d, last, r)
	}
	return nil
}

func (s *slice) delivered(d Delivered, last map[string]*sent, r *Report) {
	name := fmt.Sprintf("event %s at %s/%d@%d", d.EventID, d.Topic, d.Partition, d.Offset)
	row := s.rows[d.EventID]
	switch {
	case row == nil && (d.Late || !unpruned(d.Time, s.kept)):
		return // the source may be older, or have forgotten it
	case row == nil:
		r.add("I4", name, "is in no row: the database does not know what it tells")
		return
	case row.digest != digest(d.Topic, d.Key, d.Value):
		r.add("I4", name, "is not what the outbox holds")
		return
	case row.arrived && row.partition != d.Partition:
		r.add("I5", name, "was delivered to partition %d before", row.partition)
		return
	case row.arrived:
		return // it only repeats
	}
	row.arrived, row.partition = true, d.Partition
	if row.order == "" {
		r.add("I4", name, "cannot be read")
		return
	}
	if newest := last[row.order]; newest != nil && row.id < newest.id {
		r.add("I5", name, "comes after row %d of %s, which was committed later", newest.id, row.order)
		return
	}
	last[row.order] = row
}

// missing names the rows that never arrived.
func (s *slice) missing(r *Report) {
	for _, row := range s.sorted() {
		if !row.arrived && !row.excused {
			r.add("I4", fmt.Sprintf("outbox row %d", row.id), "never arrived: %s of %s", row.kind, cmp.Or(row.order, "nobody knows what"))
		}
	}
}

// sequence is the other half of I3 and I5: the updates of a list that the
// outbox holds are its versions, in the order of their ids.
func (s *slice) sequence(r *Report) {
	last := map[string]int64{}
	for _, row := range s.sorted() {
		if row.kind != events.PreferencesUpdated || row.order == "" {
			continue
		}
		if row.sequence <= last[row.order] {
			r.add("I5", row.order, "has version %d in the outbox after version %d", row.sequence, last[row.order])
		}
		last[row.order] = row.sequence
	}
}

func (s *slice) sorted() []*sent {
	all := make([]*sent, 0, len(s.rows))
	for _, row := range s.rows {
		all = append(all, row)
	}
	slices.SortFunc(all, func(a, b *sent) int { return cmp.Compare(a.id, b.id) })
	return all
}

// digest tells whether a record is what the outbox holds.
func digest(topic, key string, value []byte) (sum [sha256.Size]byte) {
	h := sha256.New()
	_, _ = fmt.Fprintf(h, "%q %q ", topic, key) // never fails
	_, _ = h.Write(value)
	h.Sum(sum[:0])
	return sum
}

// ordered names what an event is in order with: its list, or the clean whose
// part it is. A Kafka key may carry several of them.
func ordered(row OutboxRow) (string, error) {
	var envelope struct {
		Data struct {
			ListID int64  `json:"listId"`
			Cause  string `json:"cause"`
		} `json:"data"`
	}
	if err := json.Unmarshal(row.Payload, &envelope); err != nil {
		return "", err
	}
	if row.Type == events.PreferencesUpdated {
		return subject(envelope.Data.ListID), nil
	}
	return string(row.Type) + " of " + row.Key + " by " + envelope.Data.Cause, nil
}
