package client

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// What errors.Is tells refusals apart by; Error has the rest.
var (
	ErrInvalid         = errors.New("the request is not valid")
	ErrUnauthenticated = errors.New("the token is not valid")
	ErrDenied          = errors.New("the token does not allow it")
	ErrNotFound        = errors.New("not found")
	ErrConflict        = errors.New("in conflict with what is there")
	ErrGone            = errors.New("not kept any more")
	ErrChanged         = errors.New("changed since it was read")
	ErrLimited         = errors.New("too many requests")
	ErrUnavailable     = errors.New("not available now")
)

var classes = map[int]error{
	http.StatusBadRequest: ErrInvalid, http.StatusUnprocessableEntity: ErrInvalid, http.StatusRequestEntityTooLarge: ErrInvalid,
	http.StatusUnauthorized: ErrUnauthenticated, http.StatusForbidden: ErrDenied,
	http.StatusNotFound: ErrNotFound, http.StatusConflict: ErrConflict, http.StatusGone: ErrGone, http.StatusPreconditionFailed: ErrChanged,
	http.StatusTooManyRequests: ErrLimited, http.StatusBadGateway: ErrUnavailable, http.StatusServiceUnavailable: ErrUnavailable, http.StatusGatewayTimeout: ErrUnavailable,
}

// Error is an answer that is none that was asked for.
type Error struct {
	Status     int    // of HTTP
	Code       string // of the API, such as ORDER_CONFLICT; empty if something before it answered
	Message    string
	RequestID  string // what the logs of the service know the request by
	Violations []Violation
	ExistingID string // of the item that has the entity already
	ETag       string // of what is stored now, if a condition failed
	RetryAfter time.Duration
}

// Violation is one thing that is wrong with a request.
type Violation struct {
	Field       string `json:"field"` // a path such as preferences[3].order
	Description string `json:"description"`
}

// Error says what was wrong and how to find it in the logs.
func (e *Error) Error() string {
	text := fmt.Sprintf("prefsd answered %d", e.Status)
	if e.Code != "" {
		text += " " + e.Code
	}
	if e.Message != "" {
		text += ": " + e.Message
	}
	for _, v := range e.Violations {
		text += fmt.Sprintf(" [%s: %s]", v.Field, v.Description)
	}
	if e.RequestID != "" {
		text += " (request " + e.RequestID + ")"
	}
	return text
}

// Is makes an error one of its class, such as ErrNotFound.
func (e *Error) Is(target error) bool { return target == classes[e.Status] }

// errorJSON is the body of a refusal.
type errorJSON struct {
	Error struct {
		Code    string `json:"code"`
		Message string `json:"message"`
		Details struct {
			FieldViolations []Violation `json:"fieldViolations"`
			RequestID       string      `json:"requestId"`
			ID              string      `json:"id"`
			CurrentETag     string      `json:"currentEtag"`
		} `json:"details"`
	} `json:"error"`
}

// ErrorOf returns what an answer complains about, or nil. It reads the body of
// one that does.
func ErrorOf(res *http.Response) error {
	if res.StatusCode < http.StatusBadRequest {
		return nil
	}
	e := &Error{Status: res.StatusCode, RequestID: res.Header.Get("X-Request-Id"), RetryAfter: RetryAfter(res)}
	text, err := io.ReadAll(io.LimitReader(res.Body, maxBody))
	var body errorJSON
	if err != nil || json.Unmarshal(text, &body) != nil || body.Error.Code == "" {
		e.Message = http.StatusText(res.StatusCode)
		return e
	}
	d := body.Error.Details
	e.Code, e.Message, e.RequestID = body.Error.Code, body.Error.Message, cmp.Or(d.RequestID, e.RequestID)
	e.Violations, e.ExistingID, e.ETag = d.FieldViolations, d.ID, d.CurrentETag
	return e
}
