package model

import "testing"

func TestRelay(t *testing.T) {
	t.Parallel()
	verify(
		t, "relay, with a crash and a lease that runs out", relay(1, 1, true),
		variant{"the cursor is an id", outOfOrder, 14},
		variant{"a snapshot without those under way", neverSent, 14},
		variant{"the cursor is the oldest transaction", outOfOrder, 10},
		variant{"sorted by transaction", outOfOrder, 10},
		variant{"emit before the lock", outOfOrder, 10},
		variant{"two in flight on a partition", outOfOrder, 11},
		variant{"published before it is acknowledged", outOfOrder, 14},
		variant{"save without the epoch", wentBackEnd, 8},
	)
	verify(t, "relay, anchored anew", relay(0, 0, false), variant{"save without the epoch, anchored anew", neverAgain, 18})
}
