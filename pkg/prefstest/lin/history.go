package lin

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"math"
	"os"
	"path/filepath"
	"time"

	"github.com/anishathalye/porcupine"
)

// History is everything that happened to one list, and what was told of it.
type History struct {
	Name       string          `json:"name"` // of the file that it is kept in
	Seed       uint64          `json:"seed"` // of the run
	Owned      map[string]int  `json:"owned,omitempty"`
	Operations []Operation     `json:"operations"`
	Events     map[int64]Event `json:"events"` // by version; null: nobody has listened
}

// ErrRefused says that a history is that of no list.
var ErrRefused = errors.New("the history is not linearizable")

// checkWithin bounds the search for one history. It takes milliseconds, unless
// there is nothing to be found among very many unknown outcomes.
const checkWithin = time.Minute

// Check looks for an order in which the operations can have taken hold. A
// history that has none is ErrRefused.
func (h History) Check() error {
	result, _ := porcupine.CheckOperationsVerbose(h.model(), h.operations(), checkWithin)
	return h.verdict(result)
}

func (h History) verdict(result porcupine.CheckResult) error {
	switch result {
	case porcupine.Ok:
		return nil
	case porcupine.Illegal:
		return fmt.Errorf("%s: %w", h.Name, ErrRefused)
	case porcupine.Unknown:
	}
	return fmt.Errorf("%s: %s were not enough to judge the history", h.Name, checkWithin)
}

func (h History) model() porcupine.Model {
	m := model{h.Events}
	seed := maphash.MakeSeed()
	return porcupine.Model{
		Init: func() any { return state{owned: h.Owned} },
		Step: func(s, input, output any) (bool, any) {
			next, can := m.step(as[state](s), as[Request](input), as[Answer](output))
			return can, next
		},
		Equal: func(a, b any) bool { return as[state](a).equal(as[state](b)) },
		Hash: func(s any) uint64 {
			of := as[state](s)
			return maphash.Comparable(seed, [2]int64{of.version, int64(len(of.items))})
		},
		DescribeOperation: func(input, output any) string {
			return as[Request](input).String() + " -> " + as[Answer](output).String()
		},
		DescribeState: func(s any) string { return as[state](s).String() },
	}
}

// as is a value of the model, which Porcupine hands back as it was given.
func as[T any](v any) T {
	t, ok := v.(T)
	if !ok {
		panic(fmt.Sprintf("lin: a %T is no %T", v, t))
	}
	return t
}

// operations are those of the history in Porcupine's words. What is not known
// to have happened may happen until the end, and after it has not.
func (h History) operations() []porcupine.Operation {
	const never = math.MaxInt64
	last := int64(0)
	out := make([]porcupine.Operation, 0, len(h.Operations)+1)
	for _, o := range h.Operations {
		last = max(last, o.Call, o.Return)
		end := o.Return
		if o.Answer.Unknown {
			end = never
		}
		out = append(out, porcupine.Operation{ClientId: o.Client, Input: o.Request, Output: o.Answer, Call: o.Call, Return: end})
	}
	return append(out, porcupine.Operation{Input: Request{Kind: over}, Output: Answer{}, Call: last + 1, Return: last + 1})
}

// Keep writes the history into a directory, with a picture of how far it can be
// explained.
func (h History) Keep(dir string) error {
	text, err := json.MarshalIndent(h, "", " ")
	if err == nil {
		err = os.MkdirAll(dir, 0o750)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, h.Name+".json"), text, 0o600)
	}
	if err != nil {
		return fmt.Errorf("keep history: %w", err)
	}
	return h.Draw(dir)
}

// Draw writes the picture alone.
func (h History) Draw(dir string) error {
	_, info := porcupine.CheckOperationsVerbose(h.model(), h.operations(), checkWithin)
	if err := porcupine.VisualizePath(h.model(), info, filepath.Join(dir, h.Name+".html")); err != nil {
		return fmt.Errorf("draw history: %w", err)
	}
	return nil
}

// Kept reads the histories of a directory.
func Kept(dir string) ([]History, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return nil, fmt.Errorf("read histories: %w", err)
	}
	out := make([]History, len(files))
	for i, file := range files {
		text, err := os.ReadFile(file)
		if err == nil {
			err = json.Unmarshal(text, &out[i])
		}
		if err != nil {
			return nil, fmt.Errorf("read history: %w", err)
		}
	}
	return out, nil
}
