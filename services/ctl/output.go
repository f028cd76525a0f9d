package ctl

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// output is where a command shows its result: for people or for programs.
type output struct {
	w      io.Writer
	errors io.Writer // for people, whoever reads the result
	json   bool
}

// line prints value as JSON on one line, or else a line.
func (o *output) line(value any, line string) error {
	if o.json {
		text, err := json.Marshal(value)
		if err != nil {
			return fmt.Errorf("print: %w", err)
		}
		line = string(text)
	}
	if _, err := fmt.Fprintln(o.w, line); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return nil
}

// show prints value as JSON, or else the table that says the same.
func (o *output) show(value any, header []string, rows [][]string) error {
	if o.json {
		return o.encode(value)
	}
	t := tabwriter.NewWriter(o.w, 0, 0, 2, ' ', 0)
	for _, row := range append([][]string{header}, rows...) {
		if _, err := fmt.Fprintln(t, strings.Join(row, "\t")); err != nil {
			return fmt.Errorf("print: %w", err)
		}
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return nil
}

// say prints value as JSON, or else a line.
func (o *output) say(value any, line string) error {
	if o.json {
		return o.encode(value)
	}
	if _, err := fmt.Fprintln(o.w, line); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return nil
}

func (o *output) encode(value any) error {
	encoder := json.NewEncoder(o.w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(value); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return nil
}

// remark tells a person what is no result.
func (o *output) remark(line string) {
	_, _ = fmt.Fprintln(o.errors, line) // there is nowhere left to report to
}
