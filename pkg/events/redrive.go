package events

import (
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/prefsd/prefsd/pkg/fault"
)

// HeaderReplay counts how often a record was taken from the dead letters and
// sent to its topic again.
const HeaderReplay = "dlt.replay"

// ErrNoLetter says that a record of the dead-letter topic does not say where it
// comes from: somebody else put it there.
var ErrNoLetter = errors.New("record does not say where it comes from")

// ReadDeadLetter reads a letter out of its record: what Message made of it.
func ReadDeadLetter(r Record) (DeadLetter, error) {
	own := map[string]string{}
	var original []Header
	for _, h := range r.Headers {
		if slices.Contains(ownHeaders, h.Name) {
			own[h.Name] = string(h.Value)
			continue
		}
		original = append(original, h)
	}
	d := DeadLetter{
		Topic: r.Topic, Group: own[HeaderConsumerGroup], Class: ErrorClass(own[HeaderErrorClass]), Code: fault.Reason(own[HeaderErrorCode]),
		Why: own[HeaderErrorMessage], Truncated: own[HeaderTruncated] == "true",
		Version: own[HeaderServiceVersion], KeyHash: own[HeaderOriginalKeyHash],
		Record: Record{Topic: own[HeaderOriginalTopic], Key: r.Key, Value: r.Value, Headers: original},
	}
	var errs [5]error
	d.Record.Partition, errs[0] = strconv.Atoi(own[HeaderOriginalPartition])
	d.Record.Offset, errs[1] = strconv.ParseInt(own[HeaderOriginalOffset], 10, 64)
	d.Record.Time, errs[2] = time.Parse(time.RFC3339Nano, own[HeaderOriginalTimestamp])
	d.Attempts, errs[3] = strconv.Atoi(own[HeaderAttempts])
	// Letters of earlier releases do not have it.
	d.FirstFailedAt, _ = time.Parse(time.RFC3339Nano, own[HeaderFirstFailedAt])
	d.FailedAt, errs[4] = time.Parse(time.RFC3339Nano, own[HeaderFailedAt])
	if d.Record.Topic == "" || errors.Join(errs[:]...) != nil {
		return d, ErrNoLetter
	}
	return d, nil
}

// Replays is how often the record of the letter was sent again before.
func (d DeadLetter) Replays() int {
	for _, h := range d.Record.Headers {
		if h.Name == HeaderReplay {
			n, err := strconv.Atoi(string(h.Value))
			if err == nil && n > 0 {
				return n
			}
		}
	}
	return 0
}

// Redriven is the record of the letter on its way to its topic once more: as it
// was, and counted.
func (d DeadLetter) Redriven() Record {
	r := d.Record
	r.Headers = slices.DeleteFunc(slices.Clone(r.Headers), func(h Header) bool { return h.Name == HeaderReplay })
	r.Headers = append(r.Headers, Header{HeaderReplay, []byte(strconv.Itoa(d.Replays() + 1))})
	return r
}
