package dev

import (
	"context"
	"log/slog"
	"os"
	"os/exec"
	"runtime"

	"github.com/mattn/go-isatty"
)

// openPages shows the pages to whoever has started this by hand. That it cannot is
// no failure: the tour names the address.
func (e *environment) openPages(ctx context.Context) {
	screen, is := e.out.(*os.File)
	if !e.cfg.Open || !is || !isatty.IsTerminal(screen.Fd()) {
		return
	}
	opener, found := e.opener()
	if !found {
		return
	}
	// It may hand the address to a browser that is open, or become one: that one is
	// not ours to end.
	browser := exec.CommandContext(context.WithoutCancel(ctx), opener, e.url(placeWeb)) //nolint:gosec // one of the names below, with our own address
	if err := browser.Start(); err != nil {
		e.log.DebugContext(ctx, "no browser opened", slog.Any("error", err))
		return
	}
	go func() { _ = browser.Wait() }()
}

// opener is the program that opens an address with what the user likes best.
func (e *environment) opener() (string, bool) {
	name := "xdg-open"
	if runtime.GOOS == "darwin" {
		name = "open"
	} else if !e.set("DISPLAY") && !e.set("WAYLAND_DISPLAY") {
		return "", false // xdg-open would take a browser for terminals, over our own lines
	}
	path, err := exec.LookPath(name)
	return path, err == nil
}

func (e *environment) set(variable string) bool {
	value, _ := e.cfg.Lookup(variable)
	return value != ""
}
