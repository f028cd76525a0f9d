package outbox

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// window is a backlog: more rows than one round may hold. Its upper end is
// fixed, and its rows are published page by page in the order of their ids. It
// is never cut by transaction numbers, because those do not follow the order
// within a subject.
//
// The places of all its rows are read ahead, manifest by manifest, beside the
// term: that may take longer than the lease may go without being renewed.
type window struct {
	cursor    Cursor // where it began
	places    []Place
	last      bool // no manifest follows
	manifests chan manifest
	cancel    context.CancelFunc
	wg        sync.WaitGroup
	ahead     chan page // the next page, or on its way; nil if it was not asked for
}

// page is a stretch of rows that was read.
type page struct {
	rows    []Row
	covered int // places
	err     error
}

// manifest is a stretch of a window.
type manifest struct {
	places []Place
	last   bool
}

func (l *leader) openWindow(ctx context.Context, c Cursor) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx)) // it outlives the read that found it
	w := &window{cursor: c, manifests: make(chan manifest), cancel: cancel}
	w.wg.Go(func() { l.r.survey(ctx, c, w.manifests) })
	l.win = w
}

// survey sends the places of a window. One manifest is loaded while the one
// before it is worked off.
func (r *Relay) survey(ctx context.Context, c Cursor, to chan<- manifest) {
	for failures := 0; ; {
		places, err := r.source.Window(ctx, c, r.cfg.manifest)
		if err != nil {
			failures++
			r.log.WarnContext(ctx, "relay cannot list the backlog", slog.Any("error", err), slog.Int("failures", failures))
			if !pause(ctx, backoff(failures)) {
				return
			}
			continue
		}
		failures = 0
		m := manifest{places: places, last: len(places) < r.cfg.manifest}
		select {
		case to <- m:
		case <-ctx.Done():
			return
		}
		if m.last {
			return
		}
		c.WindowID = places[len(places)-1].ID
	}
}

// awaited is where the next manifest comes from, or nil while none is needed.
func (w *window) awaited() <-chan manifest {
	if w == nil || w.ready() {
		return nil
	}
	return w.manifests
}

func (w *window) take(m manifest) { w.places, w.last = m.places, m.last }

// ready says whether a page can be read.
func (w *window) ready() bool { return len(w.places) > 0 || w.last }

// next returns the places of the next page.
func (w *window) next(n int) []Place { return w.places[:min(n, len(w.places))] }

// prefetch asks for the next page, unless that has been done. Its rows are read
// beside the term's leader, who must not use the connection meanwhile: see
// leader.turn.
func (w *window) prefetch(ctx context.Context, t Term, deadline time.Time, limit Limit) {
	places := w.next(limit.Rows)
	if len(places) == 0 || w.ahead != nil {
		return
	}
	to := make(chan page, 1)
	w.ahead = to
	w.wg.Go(func() {
		ctx, cancel := context.WithDeadline(ctx, deadline)
		defer cancel()
		var p page
		p.rows, p.covered, p.err = t.Rows(ctx, places, limit)
		to <- p
	})
}

// land waits until no page is on its way.
func (w *window) land() {
	if w != nil && w.ahead != nil {
		w.ahead <- <-w.ahead
	}
}

// fetched returns the page that was asked for, if any.
func (w *window) fetched() page {
	if w.ahead == nil {
		return page{}
	}
	p := <-w.ahead
	w.ahead = nil
	return p
}

// forget drops a page that has landed: what it knows of the quarantine is out of
// date.
func (w *window) forget() {
	if w != nil {
		w.ahead = nil
	}
}

// after returns the cursor behind the page that was taken.
func (w *window) after(page []Place) Cursor {
	w.places = w.places[len(page):]
	if len(w.places) == 0 && w.last {
		return Cursor{Snapshot: w.cursor.Window}
	}
	return Cursor{Snapshot: w.cursor.Snapshot, Window: w.cursor.Window, WindowID: page[len(page)-1].ID}
}

func (w *window) close() {
	w.cancel()
	w.wg.Wait()
}

// pause waits, and says whether ctx is still alive.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
