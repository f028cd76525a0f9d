package outbox

import "time"

const (
	paceWindow = 100 * time.Millisecond
	busyRate   = 200 // rows a second
)

// pace notices when rows come so steadily that waiting to be woken for each of
// them costs more than looking every few milliseconds.
type pace struct {
	busy  bool
	began time.Time
	rows  int
}

// add counts the rows of a read.
func (p *pace) add(now time.Time, rows int) {
	if passed := now.Sub(p.began); passed >= paceWindow {
		p.busy = float64(p.rows) >= busyRate*passed.Seconds()
		p.began, p.rows = now, 0
	}
	p.rows += rows
}
