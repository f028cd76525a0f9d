package middleware

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/prefsd/prefsd/pkg/fault"
	"github.com/prefsd/prefsd/pkg/ijson"
)

// Media types of bodies.
const (
	TypeJSON       = "application/json"
	TypeMergePatch = "application/merge-patch+json"
)

// Size refuses a request that announces a body that is too large, before
// anything is done for it.
func Size(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if c.Request().ContentLength > MaxBody {
			return tooLarge(c)
		}
		return next(c)
	}
}

// tooLarge also closes the connection: nobody wants to read the rest.
func tooLarge(c echo.Context) error {
	c.Response().Header().Set(echo.HeaderConnection, "close")
	return echo.NewHTTPError(http.StatusRequestEntityTooLarge, "The body is larger than "+strconv.Itoa(MaxBody)+" bytes.")
}

// Body reads the whole body of a route that takes one of these media types.
// Where a route takes none, a POST with one is refused unless it says nothing;
// that of other methods means nothing (RFC 9110 sections 9.3.1 and 9.3.5), and is
// left to net/http.
func Body(takes []string, memory *Memory, next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if len(takes) > 0 {
			if err := acceptable(c, takes); err != nil {
				return err
			}
		} else if r := c.Request(); r.Method != http.MethodPost || r.ContentLength == 0 {
			return next(c)
		}
		lent := loan{of: memory}
		defer lent.repay()
		if err := read(c, &lent); err != nil {
			return err
		}
		if len(takes) == 0 && !saysNothing(Of(c).Body) {
			return fault.New(fault.Invalid, fault.ReasonInvalidField, "This call takes no body: what it can be told goes into the query.")
		}
		return next(c)
	}
}

// saysNothing knows what clients send that cannot leave a body out.
func saysNothing(body []byte) bool {
	text := bytes.TrimSpace(body)
	return len(text) == 0 || string(text) == "{}"
}

func read(c echo.Context, lent *loan) error {
	// The reader tells net/http's own writer to close the connection.
	body, err := readAll(http.MaxBytesReader(c.Response().Writer, c.Request().Body, MaxBody), c.Request().ContentLength, lent)
	_, large := errors.AsType[*http.MaxBytesError](err)
	switch {
	case err == nil:
		Of(c).Body = body
		return nil
	case large:
		return tooLarge(c)
	case errors.Is(err, errNoMemory):
		c.Response().Header().Set(echo.HeaderConnection, "close")
		return busy()
	default:
		c.Response().Header().Set(echo.HeaderConnection, "close")
		return fault.New(fault.Invalid, ijson.ReasonInvalidJSON, "The body did not arrive in full.").Because(err)
	}
}

// readAll makes room for what has arrived, not for what was announced: a caller
// who sends nothing must not hold more than a connection.
func readAll(r io.Reader, length int64, lent *loan) ([]byte, error) {
	room := int64(firstRoom)
	if length >= 0 {
		room = min(room, length)
	}
	body := make([]byte, 0, room)
	for {
		if len(body) == cap(body) && int64(len(body)) != length {
			if room = min(room*growth, MaxBody+1); length >= 0 {
				room = min(room, length)
			}
			if !lent.borrow(room) {
				return nil, errNoMemory
			}
			body = append(make([]byte, 0, room), body...)
		}
		n, err := r.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		switch {
		case err == nil && int64(len(body)) == length, errors.Is(err, io.EOF) && int64(len(body)) >= length:
			return body, nil
		case errors.Is(err, io.EOF):
			return nil, io.ErrUnexpectedEOF
		case err != nil:
			return nil, err
		}
	}
}

// acceptable refuses bodies in a form that the route does not read, and says
// which it does. That forms are refused also keeps other sites' pages from
// posting here in a user's name.
func acceptable(c echo.Context, takes []string) error {
	given, answer := c.Request().Header, c.Response().Header()
	if codings := given[echo.HeaderContentEncoding]; len(codings) > 0 && !slices.Equal(codings, []string{"identity"}) {
		answer.Set(echo.HeaderAcceptEncoding, "identity")
		return echo.NewHTTPError(http.StatusUnsupportedMediaType, "The body must be sent without a content coding.")
	}
	types := given[echo.HeaderContentType]
	if len(types) == 1 && slices.Contains(takes, mediaType(types[0])) {
		return nil
	}
	name := echo.HeaderAccept
	if c.Request().Method == http.MethodPatch {
		name = "Accept-Patch"
	}
	known := strings.Join(takes, ", ")
	answer.Set(name, known)
	return echo.NewHTTPError(http.StatusUnsupportedMediaType, "The body must be in UTF-8 and have one of these types: "+known+".")
}

// mediaType returns the type without its parameters, or nothing if it promises
// another charset than UTF-8.
func mediaType(contentType string) string {
	if contentType == TypeJSON {
		return contentType // what nearly everybody sends
	}
	parsed, params, err := mime.ParseMediaType(contentType)
	if charset, given := params["charset"]; err != nil || given && !strings.EqualFold(charset, "utf-8") {
		return ""
	}
	return parsed
}
