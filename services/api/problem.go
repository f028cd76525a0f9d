package api

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/prefsd/prefsd/pkg/fault"
	"github.com/prefsd/prefsd/pkg/httpd"
	"github.com/prefsd/prefsd/services/api/middleware"
)

// class is how HTTP spells a class of faults: the status, and the name of the
// google.rpc.Code.
type class struct {
	status int
	name   string
}

// classes is the whole translation from fault to HTTP.
var classes = map[fault.Code]class{
	fault.Invalid:              {http.StatusBadRequest, "INVALID_ARGUMENT"},
	fault.Unprocessable:        {http.StatusUnprocessableEntity, "INVALID_ARGUMENT"},
	fault.Unauthenticated:      {http.StatusUnauthorized, "UNAUTHENTICATED"},
	fault.Denied:               {http.StatusForbidden, "PERMISSION_DENIED"},
	fault.NotFound:             {http.StatusNotFound, "NOT_FOUND"},
	fault.Exists:               {http.StatusConflict, "ALREADY_EXISTS"},
	fault.Conflict:             {http.StatusConflict, "FAILED_PRECONDITION"},
	fault.Aborted:              {http.StatusConflict, "ABORTED"},
	fault.Precondition:         {http.StatusPreconditionFailed, "FAILED_PRECONDITION"},
	fault.PreconditionRequired: {http.StatusPreconditionRequired, "FAILED_PRECONDITION"},
	fault.Expired:              {http.StatusGone, "OUT_OF_RANGE"},
	fault.Unavailable:          {http.StatusServiceUnavailable, "UNAVAILABLE"},
	fault.Deadline:             {http.StatusGatewayTimeout, "DEADLINE_EXCEEDED"},
	fault.Internal:             {http.StatusInternalServerError, "INTERNAL"},
}

// protocol names the errors that only HTTP knows: no fault of the domain, but
// of the way in which it was asked.
var protocol = map[int]struct {
	name string
	code fault.Reason
	text string // where whoever refused said nothing that is meant for callers
}{
	http.StatusNotFound:                    {"NOT_FOUND", fault.ReasonNotFound, "There is nothing at this address."},
	http.StatusMethodNotAllowed:            {"UNIMPLEMENTED", "METHOD_NOT_ALLOWED", "This address does not take the method; Allow names those that it takes."},
	http.StatusRequestEntityTooLarge:       {"INVALID_ARGUMENT", "BODY_TOO_LARGE", ""},
	http.StatusRequestURITooLong:           {"INVALID_ARGUMENT", "URL_TOO_LONG", ""},
	http.StatusUnsupportedMediaType:        {"INVALID_ARGUMENT", "UNSUPPORTED_MEDIA_TYPE", ""},
	http.StatusRequestHeaderFieldsTooLarge: {"INVALID_ARGUMENT", "HEADERS_TOO_LARGE", ""},
	http.StatusTooManyRequests:             {"RESOURCE_EXHAUSTED", "RATE_LIMITED", ""},
	http.StatusServiceUnavailable:          {"UNAVAILABLE", fault.ReasonUnavailable, ""},
}

// statusGone is for callers who left before there was an answer: nobody reads
// it, but the log does, and it is no failure of ours (google.rpc.Code CANCELLED).
const statusGone = 499

// problem is an error on its way out.
type problem struct {
	status     int
	name       string
	code       fault.Reason
	text       string
	details    map[string]any
	violations []fault.Violation
}

// problemOf is the one place that decides what an error looks like outside.
// What is not meant for callers does not get past it.
func problemOf(err error, gone bool) problem {
	if f, ok := errors.AsType[*fault.Error](err); ok && f.Code != fault.Internal {
		c := classes[f.Code]
		return problem{c.status, c.name, f.Reason, f.Message, f.Details, f.Violations}
	}
	if h, ok := errors.AsType[*echo.HTTPError](err); ok {
		if p, known := protocol[h.Code]; known {
			text, said := h.Message.(string)
			if p.text != "" || !said {
				text = p.text
			}
			return problem{status: h.Code, name: p.name, code: p.code, text: text}
		}
	}
	switch {
	case gone && errors.Is(err, context.Canceled), errors.Is(err, errUnread):
		return problem{status: statusGone, name: "CANCELLED", code: "CANCELLED", text: "The caller left."}
	case errors.Is(err, context.DeadlineExceeded):
		c := classes[fault.Deadline]
		return problem{status: c.status, name: c.name, code: fault.ReasonDeadlineExceeded, text: "The request took too long. Try again."}
	default:
		c := classes[fault.Internal]
		return problem{status: c.status, name: c.name, code: fault.ReasonInternal, text: "Something went wrong on our side. Quote details.requestId when you ask about it."}
	}
}

// mediaProblem is the type of errors after RFC 9457.
const mediaProblem = "application/problem+json"

var typeProblem = []string{mediaProblem}

// retryAfter is what callers are asked to wait while something is away. It is
// short: a restart takes seconds, and clients add jitter of their own.
const retryAfter = 2 * time.Second

// handleError answers every error and logs those that are ours.
func handleError(log *slog.Logger) echo.HTTPErrorHandler {
	return func(err error, c echo.Context) {
		p := problemOf(err, c.Request().Context().Err() != nil)
		if _, refused := errors.AsType[*echo.HTTPError](err); p.status >= http.StatusInternalServerError && !refused {
			log.ErrorContext(c.Request().Context(), "request failed", slog.String("method", c.Request().Method),
				slog.String("route", middleware.Route(c)), slog.String("code", string(p.code)),
				slog.String("request_id", middleware.Of(c).ID), slog.Any("error", err))
		}
		middleware.Of(c).Reason = p.code
		if c.Response().Committed {
			return // the connection broke while the answer was on its way
		}
		// An answer that cannot be written has nobody to read it either.
		_ = p.write(c)
	}
}

func (p problem) write(c echo.Context) error {
	h := c.Response().Header()
	switch p.status {
	case http.StatusUnauthorized:
		h.Set(echo.HeaderWWWAuthenticate, challenge(c.Request()))
	case http.StatusServiceUnavailable:
		h.Set(echo.HeaderRetryAfter, strconv.Itoa(int(retryAfter.Seconds())))
	case http.StatusPreconditionFailed:
		if tag, ok := p.details["currentEtag"].(string); ok {
			h[headerETag] = []string{quoted(tag)}
		}
	}
	details := map[string]any{"requestId": middleware.Of(c).ID}
	for name, value := range p.details {
		details[name] = value
	}
	if len(p.violations) > 0 {
		fields := make([]violationJSON, len(p.violations))
		for i, v := range p.violations {
			fields[i] = violationJSON(v)
		}
		details["fieldViolations"] = fields
	}
	body := errorJSON{problemJSON{Code: p.code, Message: p.text, Status: p.name, Details: details}}
	if !wantsProblem(c.Request().Header) {
		return answer(c, p.status, body)
	}
	return answerAs(c, p.status, typeProblem, rfc9457JSON{
		Type: "about:blank", Title: http.StatusText(p.status), Status: p.status, Detail: p.text, errorJSON: body,
	})
}

// wantsProblem says whether a caller asks for errors in the form of RFC 9457, and
// does not like plain JSON better. It must name the type: whoever takes anything
// gets what everybody gets.
func wantsProblem(h http.Header) bool {
	problem, plain := 0.0, 0.0
	for _, line := range h[echo.HeaderAccept] {
		for element := range strings.SplitSeq(line, ",") {
			switch media, weight := httpd.Weighed(element); media {
			case mediaProblem:
				problem = weight
			case middleware.TypeJSON:
				plain = weight
			}
		}
	}
	return problem > 0 && problem >= plain
}

// challenge tells a caller how to prove who it is (RFC 6750 section 3): what is
// wrong with a token is said only to those who sent one.
func challenge(r *http.Request) string {
	if len(r.Header[echo.HeaderAuthorization]) == 0 {
		return `Bearer realm="prefsd"`
	}
	return `Bearer realm="prefsd", error="invalid_token"`
}
