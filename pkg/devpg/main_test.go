package devpg_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/prefsd/prefsd/pkg/devpg"
)

// hold makes the test binary a program that serves the named data directory
// until it is ended: some tests need another process, or another user.
var hold = flag.String("hold", "", "serve this data directory, print its URL, and wait")

func TestMain(m *testing.M) {
	flag.Parse()
	if *hold != "" {
		serve(*hold)
		return
	}
	goleak.VerifyTestMain(m)
}

func serve(dir string) {
	s, err := devpg.Start(context.Background(), devpg.Options{DataDir: dir})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	_, _ = fmt.Fprintln(os.Stdout, s.URL())
	<-s.Done()
}
