package api

import (
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/prefsd/prefsd/services/api/middleware"
)

// Browsers are settings that only browsers look at.
type Browsers struct {
	Origins []string      `name:"cors-origins" placeholder:"ORIGIN" help:"Origins whose pages may call, separated by commas, such as https://app.example.com; * means all."`
	HSTS    time.Duration `name:"hsts-max-age" default:"0s" help:"How long browsers shall use nothing but TLS, where there is TLS before the API; 0s leaves it open."`
}

// Validate refuses origins that no browser would send.
func (b Browsers) Validate() error {
	for _, origin := range b.Origins {
		if origin == middleware.AnyOrigin {
			continue
		}
		u, err := url.Parse(origin)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" ||
			origin != strings.ToLower(u.Scheme+"://"+u.Host) || strings.ContainsAny(u.Host, "*?") {
			return fmt.Errorf("--cors-origins must be origins such as https://app.example.com, or *, not %q", origin)
		}
	}
	if b.HSTS < 0 {
		return fmt.Errorf("--hsts-max-age must not be negative, not %s", b.HSTS)
	}
	return nil
}
