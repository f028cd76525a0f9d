package api

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/prefsd/prefsd/pkg/preferences"
	"github.com/prefsd/prefsd/pkg/status"
)

// status answers GET /status.
func (s *server) status(c echo.Context) error {
	now, err := s.stand(c.Request().Context())
	if err != nil {
		return err
	}
	return answer(c, http.StatusOK, statusOf(now))
}

// statusJSON is how the deployment stands.
type statusJSON struct {
	Time           time.Time          `json:"time"`
	Outbox         outboxJSON         `json:"outbox"`
	Relay          relayJSON          `json:"relay"`
	Operations     openWorkJSON       `json:"operations"`
	DeadLetters    deadLettersJSON    `json:"deadLetters"`
	Consumption    status.Consumption `json:"consumption"`
	Consumers      []consumerJSON     `json:"consumers"`
	Reconciliation runsJSON           `json:"reconciliation"`
	Verification   runsJSON           `json:"verification"`
}

type outboxJSON struct {
	OldestUnpublishedAge float64 `json:"oldestUnpublishedAgeSeconds"`
	Unpublished          int64   `json:"unpublished"`
	UnpublishedCapped    bool    `json:"unpublishedCapped"`
	Quarantined          int64   `json:"quarantined"`
	Leader               *string `json:"leader"`
	Paused               bool    `json:"paused"`
}

type relayJSON struct {
	Name            string `json:"name"`
	HasRun          bool   `json:"hasRun"`
	Epoch           int64  `json:"epoch"`
	Backlog         bool   `json:"backlog"`
	NeedsReanchor   bool   `json:"needsReanchor"`
	LastPublishedID int64  `json:"lastPublishedId"`
}

type openWorkJSON struct {
	Open   int64 `json:"open"`
	Failed int64 `json:"failed"`
}

type deadLettersJSON struct {
	Count  int64            `json:"count"`
	Recent []deadLetterJSON `json:"recent"`
}

type deadLetterJSON struct {
	Group     string    `json:"group"`
	Topic     string    `json:"topic"`
	Partition int       `json:"partition"`
	Offset    int64     `json:"offset"`
	EventID   string    `json:"eventId"`
	Time      time.Time `json:"time"`
}

type consumerJSON struct {
	Group     string    `json:"group"`
	Topic     string    `json:"topic"`
	Partition int       `json:"partition"`
	Lag       int64     `json:"lag"`
	Owner     string    `json:"owner"`
	Time      time.Time `json:"updateTime"`
	Age       float64   `json:"ageSeconds"`
	Stale     bool      `json:"stale"`
}

// runsJSON is work that looks at everything, again and again.
type runsJSON struct {
	LastReport *lastRunJSON `json:"lastReport"`
}

// lastRunJSON is an operation that has ended, with its report in outline.
type lastRunJSON struct {
	Operation string                     `json:"operation"`
	State     preferences.OperationState `json:"state"`
	EndTime   time.Time                  `json:"endTime"`
	Summary   json.RawMessage            `json:"summary"`
}

func statusOf(s status.Status) statusJSON {
	out := statusJSON{
		Time: s.Time,
		Outbox: outboxJSON{
			OldestUnpublishedAge: s.Outbox.OldestAge.Seconds(), Unpublished: s.Outbox.Unpublished, UnpublishedCapped: s.Outbox.Capped,
			Quarantined: s.Outbox.Quarantined, Leader: nullable(s.Outbox.Leader), Paused: s.Outbox.Paused,
		},
		Relay: relayJSON{s.Outbox.Relay, s.Outbox.Known, s.Outbox.Epoch, s.Outbox.Backlog, s.Outbox.NeedsReanchor, s.Outbox.LastID},

		Operations:     openWorkJSON{s.Open(), s.Operations[preferences.Failed]},
		DeadLetters:    deadLettersJSON{s.DeadLetters.Count, make([]deadLetterJSON, len(s.DeadLetters.Recent))},
		Consumption:    s.Consumption(),
		Consumers:      make([]consumerJSON, len(s.Partitions)),
		Reconciliation: runsJSON{lastRunOf(s.Reconciliation)},
		Verification:   runsJSON{lastRunOf(s.Verification)},
	}
	for i, l := range s.DeadLetters.Recent {
		out.DeadLetters.Recent[i] = deadLetterJSON(l)
	}
	for i, p := range s.Partitions {
		out.Consumers[i] = consumerJSON{p.Group, p.Topic, p.Partition, p.Records, p.Owner, p.Time, p.Age.Seconds(), p.Stale()}
	}
	return out
}

func lastRunOf(r *status.Run) *lastRunJSON {
	if r == nil {
		return nil
	}
	return &lastRunJSON{operationName(r.ID), r.State, r.End, r.Report}
}
