package kafka

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	kafkago "github.com/segmentio/kafka-go"

	"github.com/prefsd/prefsd/pkg/mutant"
)

// worker reads one partition and handles its records one after the other.
type worker struct {
	g         *Group
	at        topicPartition
	offsets   *offsets
	next      int64     // to fetch; negative until the first offset is known
	mark      *mark     // of the log, by which it is known again; nil until a record was read
	remembers bool      // the record before the first was looked for, as a mark
	missed    bool      // the broker did not know the topic, or said nothing of it for long: it may be another one now
	heard     time.Time // when the log was read last

	done    atomic.Int64 // everything below is handled
	visible atomic.Int64 // everything below may be read; -1 until it is known
	busy    atomic.Int64 // when the handler was called, in Unix nanoseconds; 0 between calls
	since   atomic.Int64 // when the records at hand were fetched, in Unix nanoseconds; 0 while it fetches
	blind   atomic.Bool  // the broker did not say how much there is when it was asked last
}

func newWorker(g *Group, at topicPartition, start int64, o *offsets) *worker {
	w := &worker{g: g, at: at, offsets: o, next: start}
	w.visible.Store(-1)
	if start >= 0 {
		o.start(at, start)
	}
	return w
}

// run works until ended. The record at hand then has RevokeGrace to finish.
func (w *worker) run(values, ended context.Context) {
	ctx, cancel := outlive(values, ended, w.g.cfg.RevokeGrace)
	defer cancel()
	for retry := 0; ended.Err() == nil; {
		got, err := w.read(ended)
		w.blind.Store(err != nil)
		if err != nil {
			if w.next >= 0 {
				w.suspect(err)
			}
			if ended.Err() == nil {
				w.fetchFailed(ended, err)
			}
			retry++
			fetchBackoff.wait(ended, retry)
			continue
		}
		retry = 0
		w.heard = time.Now()
		w.since.Store(w.heard.UnixNano())
		if !w.settleAll(ctx, ended, got) {
			return
		}
		w.since.Store(0)
	}
}

// suspect has all workers of a topic look whether it is the one that it was, if
// a partition of it is unknown. One that is in doubt already does not ask them
// again and again.
func (w *worker) suspect(err error) {
	if isUnknown(err) && !w.offsets.inDoubt(w.at) {
		w.offsets.doubt(w.at.topic)
	}
}

// read returns the next records, after finding out where they are if need be.
func (w *worker) read(ctx context.Context) (fetched, error) {
	if w.next < 0 {
		first, _, err := w.g.cfg.Client.bounds(ctx, w.at)
		if err != nil {
			return fetched{}, err
		}
		w.next = first
		w.offsets.start(w.at, first)
	}
	if !w.remembers {
		if err := w.remember(ctx); err != nil {
			return fetched{}, err
		}
	}
	w.missed = w.missed || w.offsets.inDoubt(w.at) || time.Since(w.heard) > lookEvery
	if w.missed {
		if err := w.recognise(ctx); err != nil {
			return fetched{}, err
		}
	}
	got, err := w.g.cfg.Client.fetch(ctx, w.at, w.next)
	switch {
	case errors.Is(err, kafkago.OffsetOutOfRange):
		err = w.reset(ctx)
		return fetched{next: w.next, visible: -1}, err
	case err == nil && w.missed:
		return fetched{}, errMovingLog // it has grown past the mark since
	case err == nil && w.offsets.inDoubt(w.at):
		return fetched{next: w.next, visible: -1}, nil // another worker missed the topic: look at the mark first
	case len(got.records) > 0:
		w.mark = markOf(got.records[len(got.records)-1])
	}
	return got, err
}

// settleAll handles records in order and reports false if the generation ended
// first.
func (w *worker) settleAll(ctx, ended context.Context, got fetched) bool {
	if got.visible >= 0 {
		w.done.Store(w.next)
		w.visible.Store(got.visible)
	}
	for _, r := range got.records {
		if mutant.Is("offset-before-effect") {
			w.advance(r.Offset + 1)
		}
		if !w.settle(ctx, ended, r) {
			return false
		}
		w.advance(r.Offset + 1)
		if w.offsets.inDoubt(w.at) {
			// What follows may be gone, and nothing is committed meanwhile. A new log may end before the last record at hand.
			w.mark = markOf(r)
			return true
		}
	}
	w.advance(got.next) // past markers and aborted records: nobody handles them
	return true
}

func (w *worker) advance(next int64) {
	if next <= w.next {
		return
	}
	w.next = next
	w.done.Store(next)
	w.offsets.mark(w.at, next)
}

// settle tries one record until it is done.
func (w *worker) settle(ctx, ended context.Context, r Record) bool {
	again := backoff{low: w.g.cfg.RetryMin, high: w.g.cfg.RetryMax}
	for r.Attempt = 1; ; r.Attempt++ {
		if !w.pass(ended) {
			return false
		}
		err := w.handle(ctx, r)
		if err == nil {
			return true
		}
		w.g.failed(ctx, StageHandle, err, append(w.attrs(),
			slog.Int64("offset", r.Offset), slog.Int("attempt", r.Attempt))...)
		if !again.wait(ended, r.Attempt-1) {
			return false
		}
	}
}

// pass waits for the gate and reports whether the record may be tried.
func (w *worker) pass(ended context.Context) bool {
	for retry := 0; ended.Err() == nil; retry++ {
		if w.g.cfg.Gate == nil {
			return true
		}
		err := w.g.cfg.Gate(ended)
		if err == nil {
			return ended.Err() == nil
		}
		if ended.Err() == nil {
			w.g.failed(ended, StageGate, err, w.attrs()...)
		}
		gateBackoff.wait(ended, retry)
	}
	return false
}

func (w *worker) handle(ctx context.Context, r Record) error {
	ctx, cancel := context.WithTimeout(ctx, w.g.cfg.HandlerTimeout)
	defer cancel()
	start := time.Now()
	w.busy.Store(start.UnixNano())
	defer w.busy.Store(0)
	alarm := time.AfterFunc(w.g.cfg.hang(), func() { w.hung(ctx, r) })
	defer alarm.Stop()
	if err := w.g.handler(ctx, r); err != nil {
		return err
	}
	if hook := w.g.cfg.Hooks.Handled; hook != nil {
		hook(r.Topic, time.Since(start), time.Since(r.Time))
	}
	return nil
}

// hung tells of a handler that ignores its deadline. Nobody can stop it.
func (w *worker) hung(ctx context.Context, r Record) {
	w.g.log.LogAttrs(context.WithoutCancel(ctx), slog.LevelError, "handler hangs, its partition stands still", append(w.attrs(),
		slog.Int64("offset", r.Offset), slog.Duration("after", w.g.cfg.hang()))...)
	if hook := w.g.cfg.Hooks.Hung; hook != nil {
		hook(w.at.topic, w.at.partition)
	}
}

// reset finds another offset when the log does not reach to the current one:
// retention ran past it, or the topic was made anew.
func (w *worker) reset(ctx context.Context) error {
	first, last, err := w.g.cfg.Client.bounds(ctx, w.at)
	if err != nil {
		return err
	}
	if first <= w.next && w.next <= last {
		w.missed = true
		return errMovingLog
	}
	w.restart(ctx, first)
	return nil
}

// restart goes on at another offset, and says so: records may be lost.
func (w *worker) restart(ctx context.Context, first int64) {
	w.g.log.LogAttrs(ctx, slog.LevelError, "offset is not in the log any more", append(w.attrs(),
		slog.Int64("from", w.next), slog.Int64("to", first))...)
	if hook := w.g.cfg.Hooks.Reset; hook != nil {
		hook(w.at.topic, w.at.partition, w.next, first)
	}
	w.next, w.mark = first, nil
	w.resume()
}

// errMovingLog is a log that ends before the group's offset, while another look
// finds the offset there: a leader that is catching up, or a new log that grows.
var errMovingLog = errors.New("the log's bounds are changing")

func (w *worker) fetchFailed(ctx context.Context, err error) {
	stage := StageFetch
	if errors.Is(err, errNoBounds) {
		stage = StageOffsets
	}
	w.g.failed(ctx, stage, err, w.attrs()...)
}

func (w *worker) attrs() []slog.Attr {
	return []slog.Attr{slog.String("topic", w.at.topic), slog.Int("partition", w.at.partition)}
}

// handlingFor is how long the current call of the handler has taken so far.
func (w *worker) handlingFor() time.Duration {
	start := w.busy.Load()
	if start == 0 {
		return 0
	}
	return time.Since(time.Unix(0, start))
}

// look asks how much there is by now where the last fetch was long ago: a record
// that is tried again and again must not hide those behind it.
func (w *worker) look(ctx context.Context) {
	since := w.since.Load()
	if since == 0 || time.Since(time.Unix(0, since)) < lookEvery {
		return
	}
	end, err := w.g.cfg.Client.visible(ctx, w.at)
	w.suspect(err)
	if w.blind.Store(err != nil); err == nil && end > w.visible.Load() {
		w.visible.Store(end)
	}
}

// lag is how many records are visible and not handled.
func (w *worker) lag() (records int64, known bool) {
	visible := w.visible.Load()
	if visible < 0 {
		return 0, false
	}
	return max(0, visible-w.done.Load()), true
}
