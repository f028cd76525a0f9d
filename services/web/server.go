package web

import (
	"encoding/json"
	"net"
	"net/http"
	"net/url"
	"strings"
)

// deploymentJSON is what the pages ask for first: where to turn to, and who may
// sign in by name.
type deploymentJSON struct {
	APIURL      string   `json:"apiUrl"`
	AccountsURL string   `json:"accountsUrl"`
	People      []Person `json:"people"`
}

// Handler answers for the pages and all that they load from here.
func Handler(cfg Config) http.Handler {
	mux := http.NewServeMux()
	for at, f := range newFiles() {
		pattern := at
		if strings.HasSuffix(at, "/") {
			pattern += "{$}"
		}
		mux.HandleFunc("GET "+pattern, f.serve)
	}
	mux.HandleFunc("GET /deployment.json", deployment(cfg))
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	return secured(policy(cfg), known(cfg, mux))
}

// deployment hands out tokens where everything is a demo. Pages of other sites
// cannot read it: it allows no origin, and known refuses their names for this
// machine.
func deployment(cfg Config) http.HandlerFunc {
	people := cfg.People
	if people == nil {
		people = []Person{}
	}
	body, err := json.Marshal(deploymentJSON{cfg.APIURL, cfg.AccountsURL, people})
	if err != nil {
		panic(err) // strings and booleans
	}
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(body) // whoever has left does not read it
	}
}

// policy lets the pages run and show what comes from here, and talk to the two
// services that they are for. No text becomes script or markup.
func policy(cfg Config) string {
	connect := []string{"connect-src 'self'"}
	for _, address := range []string{cfg.APIURL, cfg.AccountsURL} {
		if origin := originOf(address); origin != "" {
			connect = append(connect, origin)
		}
	}
	return strings.Join([]string{
		"default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self'", strings.Join(connect, " "),
		"base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'",
		"require-trusted-types-for 'script'", "trusted-types 'none'",
	}, "; ")
}

func originOf(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return ""
	}
	return u.Scheme + "://" + u.Host
}

// secured sets what every answer has.
func secured(policy string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
		h.Set("Cache-Control", never)
		h.Set("Vary", "Accept-Encoding")
		next.ServeHTTP(w, r)
	})
}

// known refuses requests under a name that is not this server's, where there are
// tokens to take. A page of another site could give this machine's address to a
// name of its own and be of the same origin then.
func known(cfg Config, next http.Handler) http.Handler {
	if len(cfg.People) == 0 {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !local(r.Host) {
			http.Error(w, "The demo answers at http://localhost and http://127.0.0.1 alone.", http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func local(host string) bool {
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		name = host
	}
	ip := net.ParseIP(strings.Trim(name, "[]"))
	return name == "localhost" || ip != nil && ip.IsLoopback()
}
