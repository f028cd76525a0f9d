package main

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// figures are what one side of a comparison came to.
type figures struct {
	PerSecond  float64 `json:"perSecond"`
	P50        float64 `json:"p50Millis"`
	P99        float64 `json:"p99Millis"`
	CPU        float64 `json:"cpuMicros"`        // a request, service and PostgreSQL together
	ServiceCPU float64 `json:"serviceCpuMicros"` // of it, the service's
	Bytes      int     `json:"answerBytes"`      // of an answer's body
	Count      int     `json:"count"`
}

// load runs an operation with so many clients for so long and measures it.
func (m *machine) load(ctx context.Context, api *process, op operation, f flags) (figures, error) {
	clients, next := make([]*client, f.Clients), make([]func() error, f.Clients)
	for i := range clients {
		clients[i] = m.newClient(api, i, f)
		defer clients[i].close()
		var err error
		if next[i], err = op.prepare(ctx, clients[i]); err != nil {
			return figures{}, err
		}
	}
	if err := warmUp(next); err != nil {
		return figures{}, err
	}
	before, err := m.reading(api)
	if err != nil {
		return figures{}, err
	}
	over, cancel := context.WithTimeout(ctx, f.Time)
	defer cancel()
	begin := time.Now()
	took, errs := make([][]time.Duration, f.Clients), make([]error, f.Clients)
	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() {
			for over.Err() == nil && errs[i] == nil {
				t := time.Now()
				errs[i] = next[i]()
				took[i] = append(took[i], time.Since(t))
			}
		})
	}
	wg.Wait()
	elapsed := time.Since(begin)
	after, err := m.reading(api)
	if err := errors.Join(errors.Join(errs...), err); err != nil {
		return figures{}, err
	}
	fig := summarize(slices.Concat(took...), elapsed, after.service-before.service, after.postgres-before.postgres)
	fig.Bytes = answerSize(clients)
	return fig, nil
}

// warmUp has all clients send at the same time what does not count, because one
// after the other they would share a connection to PostgreSQL, and find the rest
// of the pool without its connections, prepared statements and caches.
func warmUp(next []func() error) error {
	const requests = 50
	var all errgroup.Group
	for _, send := range next {
		all.Go(func() error {
			for range requests {
				if err := send(); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return all.Wait()
}

// answerSize is the mean size of the answers that clients got.
func answerSize(clients []*client) int {
	var bytes, count int64
	for _, c := range clients {
		bytes, count = bytes+c.bytes, count+c.count
	}
	return int(bytes / max(count, 1))
}

// greet lets every active user be seen once, so that no operation pays for
// what the first request of a token costs.
func (m *machine) greet(ctx context.Context, api *process, f flags) error {
	c := m.newClient(api, 0, f)
	defer c.close()
	for user := 1; user <= f.Active; user++ {
		if _, err := c.tag(ctx, listPath, user); err != nil {
			return err
		}
	}
	return nil
}

type reading struct{ service, postgres time.Duration }

// reading is the CPU time so far of a process, if there is one, and of PostgreSQL.
func (m *machine) reading(p *process) (r reading, err error) {
	if p != nil {
		if r.service, err = tree(p.cmd.Process.Pid); err != nil {
			return r, err
		}
	}
	r.postgres, err = tree(m.postgresPID)
	return r, err
}

func summarize(took []time.Duration, elapsed, service, postgres time.Duration) figures {
	slices.Sort(took)
	n := float64(len(took))
	at := func(q float64) float64 { return float64(took[int(q*float64(len(took)-1))].Microseconds()) / 1000 }
	const median, tail = 0.5, 0.99
	return figures{
		Count: len(took), PerSecond: n / elapsed.Seconds(), P50: at(median), P99: at(tail),
		CPU: float64((service + postgres).Microseconds()) / n, ServiceCPU: float64(service.Microseconds()) / n,
	}
}
