package main

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
)

type row struct {
	Operation string     `json:"operation"`
	Service   figures    `json:"service"`
	Floor     figures    `json:"floor"` // the SQL alone
	HTTP      figures    `json:"http"`  // a constant answer of the same size
	Rivals    []compared `json:"rivals,omitempty"`
}

// calmer takes each side from the round that cost it the least CPU: whatever else
// a machine does only adds to that, and not to all sides alike.
func (r row) calmer(o row) row {
	if r.Service.Count == 0 {
		return o
	}
	r.Service, r.Floor, r.HTTP = r.Service.calmer(o.Service), r.Floor.calmer(o.Floor), r.HTTP.calmer(o.HTTP)
	for i := range r.Rivals {
		r.Rivals[i].figures = r.Rivals[i].calmer(o.Rivals[i].figures)
	}
	return r
}

func (f figures) calmer(o figures) figures {
	if o.CPU < f.CPU {
		return o
	}
	return f
}

type report struct {
	Machine   string     `json:"machine"`
	Lists     int        `json:"lists"`
	Items     int        `json:"items"`
	Clients   int        `json:"clients"`
	Rows      []row      `json:"rows"`
	Deletions []deletion `json:"deletions,omitempty"`
	Reader    *beside    `json:"reader,omitempty"` // beside a deletion
	Drain     *drain     `json:"drain,omitempty"`

	Relays     []relaying  `json:"relays,omitempty"`
	Deliveries *deliveries `json:"deliveries,omitempty"`
}

// print writes the figures of the service over HTTP, those of the least SQL
// that does the same (by pgbench, without history and outbox), those of an
// answer that is constant, and the ratios. CPU is that of servers, the clients'
// is not in it.
func (r report) print(w io.Writer) error {
	if _, err := fmt.Fprintf(w, "%s\n%d lists of %d items, %d clients\n\n", r.Machine, r.Lists, r.Items, r.Clients); err != nil {
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	var lines []string
	if len(r.Rows) > 0 {
		lines = append(lines, "operation\treq/s\tp50 ms\tp99 ms\tCPU µs\tof it service\tSQL tx/s\tp50 ms\tp99 ms\tCPU µs\tHTTP req/s\tCPU µs\tCPU: SQL\tCPU: SQL + HTTP\t")
	}
	for _, x := range r.Rows {
		s, f, h := x.Service, x.Floor, x.HTTP
		lines = append(lines, fmt.Sprintf("%s\t%.0f\t%.2f\t%.2f\t%.0f\t%.0f\t%.0f\t%.2f\t%.2f\t%.0f\t%.0f\t%.0f\t%.1f\t%.1f\t",
			x.Operation, s.PerSecond, s.P50, s.P99, s.CPU, s.ServiceCPU, f.PerSecond, f.P50, f.P99, f.CPU,
			h.PerSecond, h.CPU, s.CPU/f.CPU, s.CPU/(f.CPU+h.CPU)))
	}
	lines = slices.Concat(lines, r.besideRivals(), r.sweeps(), r.events())
	for _, line := range lines {
		if _, err := fmt.Fprintln(t, line); err != nil {
			return err
		}
	}
	return t.Flush()
}

// sweeps are the lines about deletions.
func (r report) sweeps() (lines []string) {
	for _, d := range r.Deletions {
		lines = append(lines, "", "one account deleted, "+d.State+"\tlists\tseconds\tWAL MB\tPostgreSQL CPU µs a list\t",
			d.Service.line("prefsd: rows, heads, history, events"), d.Floor.line("chunked DELETE of the rows alone"),
			fmt.Sprintf("ratio\t\t%.1f\t%.1f\t%.1f\t", d.Service.Seconds/d.Floor.Seconds, float64(d.Service.WAL)/float64(d.Floor.WAL), d.Service.CPU/d.Floor.CPU))
	}
	if b := r.Reader; b != nil {
		lines = append(lines, "", "one reader of lists\treads\tp50 ms\tp99 ms\tp99 to idle\t")
		for _, x := range []struct {
			name string
			figures
		}{{"idle", b.Idle}, {"beside a deletion", b.Service}, {"beside the chunked DELETE", b.Floor}} {
			lines = append(lines, fmt.Sprintf("%s\t%d\t%.2f\t%.2f\t%.1f\t", x.name, x.Count, x.P50, x.P99, x.P99/b.Idle.P99))
		}
	}
	return lines
}

// events are the lines about the outbox, relays and the consumer.
func (r report) events() (lines []string) {
	if d := r.Drain; d != nil {
		lines = append(lines, "", "a backlog of the outbox\trows\trows/s\tCPU µs a row: reader\tPostgreSQL\t",
			d.Relay.line("relay, to a broker that costs nothing"), d.Floor.line("the same pages read"),
			fmt.Sprintf("ratio\t\t%.2f\t%.1f\t%.1f\t", d.Relay.PerSecond/d.Floor.PerSecond, d.Relay.ReaderCPU/d.Floor.ReaderCPU, d.Relay.PostgresCPU/d.Floor.PostgresCPU))
	}
	if len(r.Relays) > 0 {
		lines = append(lines, "", "commit to a consumer of Apache Kafka\tcommits/s\tp50 ms\tp99 ms\tCPU µs: relay\tPostgreSQL\t")
	}
	for _, x := range r.Relays {
		for _, s := range x.Streams {
			lines = append(lines, fmt.Sprintf("%s, %d/s\t%.0f\t%.1f\t%.1f\t%.0f\t%.0f\t", x.Name, s.Rate, s.Written, s.P50, s.P99, s.CPU, s.Postgres))
		}
	}
	for _, x := range r.Relays {
		if x.Drained == 0 {
			continue // there is nothing that could have one
		}
		lines = append(lines, fmt.Sprintf("%s, a backlog: events/s\t%.0f\t\t\t%.0f\t\t", x.Name, x.Drained, x.CPU))
	}
	if d := r.Deliveries; d != nil {
		lines = append(lines, "", "the consumer\tper second\tp50 ms\tp99 ms\tCPU µs: consumer\tPostgreSQL\t",
			fmt.Sprintf("deleted to preferences.cleaned, one user\t%d\t%.1f\t%.1f\t\t\t", d.Rate, d.P50, d.P99),
			fmt.Sprintf("a backlog of deletions, no user\t%.0f\t\t\t%.0f\t%.0f\t", d.PerSecond, d.CPU, d.Postgres))
	}
	return lines
}

func (s side) line(name string) string {
	const mega = 1e6
	return fmt.Sprintf("%s\t%d\t%.2f\t%.1f\t%.1f\t", name, s.Lists, s.Seconds, float64(s.WAL)/mega, s.CPU)
}

func (f flow) line(name string) string {
	return fmt.Sprintf("%s\t%d\t%.0f\t%.1f\t%.1f\t", name, f.Rows, f.PerSecond, f.ReaderCPU, f.PostgresCPU)
}
