package accountdemo

import (
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"

	"github.com/prefsd/prefsd/pkg/fault"
	"github.com/prefsd/prefsd/pkg/ijson"
)

const (
	// patience is how long an answer waits for the broker's acknowledgement
	// before it says that the event follows.
	patience = 2 * time.Second
	maxBody  = 16 << 10
	maxIDs   = 1000
	maxText  = 128
)

type server struct {
	book *book
	log  *slog.Logger
}

type accountJSON struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"`
	Type      string    `json:"type"`
	CreatedAt time.Time `json:"createdAt"`
}

type accountsJSON struct {
	Accounts []accountJSON `json:"accounts"`
}

type lookupJSON struct {
	Accounts []accountJSON `json:"accounts"`
	NotFound []string      `json:"notFound"`
}

type createJSON struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	Type string `json:"type"`
}

// acceptedJSON answers a change whose event still waits for the broker.
type acceptedJSON struct {
	Account accountJSON `json:"account"`
	EventID string      `json:"eventId"`
	Message string      `json:"message"`
}

type errorJSON struct {
	Error struct {
		Code    fault.Reason `json:"code"`
		Message string       `json:"message"`
	} `json:"error"`
}

// routes returns the whole surface.
func (s *server) routes() *echo.Echo {
	e := echo.New()
	e.HideBanner, e.HidePort = true, true
	e.HTTPErrorHandler = s.fail
	e.Use(middleware.CORSWithConfig(middleware.CORSConfig{
		AllowOrigins: []string{"*"}, // a demo on a developer's machine: any page may try it
		AllowHeaders: []string{echo.HeaderAuthorization, echo.HeaderContentType},
		AllowMethods: []string{http.MethodGet, http.MethodPost, http.MethodDelete},
	}))
	alive := func(c echo.Context) error { return c.NoContent(http.StatusOK) }
	e.GET("/livez", alive)
	e.GET("/readyz", alive) // it keeps changes also while the broker is away
	e.GET("/accounts", s.list)
	e.POST("/accounts", s.create)
	e.DELETE("/accounts/:id", s.remove)
	e.POST("/accounts/:id/restore", s.restore)
	return e
}

func (s *server) list(c echo.Context) error {
	asked, given := c.QueryParams()["ids"]
	if !given {
		return c.JSON(http.StatusOK, accountsJSON{Accounts: wire(s.book.all())})
	}
	ids, err := idList(asked)
	if err != nil {
		return err
	}
	found, missing := s.book.pick(ids)
	return c.JSON(http.StatusOK, lookupJSON{Accounts: wire(found), NotFound: missing})
}

// idList reads ids=a,b and ids=a&ids=b, each id once.
func idList(asked []string) ([]string, error) {
	seen := map[string]bool{}
	ids := []string{}
	for id := range strings.SplitSeq(strings.Join(asked, ","), ",") {
		if id != "" && !seen[id] {
			seen[id] = true
			ids = append(ids, id)
		}
	}
	if len(ids) > maxIDs {
		return nil, fault.New(fault.Invalid, fault.ReasonTooManyItems, "at most %d ids a request, not %d", maxIDs, len(ids))
	}
	return ids, nil
}

func (s *server) create(c echo.Context) error {
	body, err := io.ReadAll(http.MaxBytesReader(c.Response(), c.Request().Body, maxBody))
	if err != nil {
		return fault.New(fault.Invalid, fault.ReasonInvalidField, "the body cannot be read, or is larger than %d bytes", maxBody).Because(err)
	}
	var in createJSON
	if err := ijson.Decode(body, &in); err != nil {
		return err
	}
	if err := in.check(); err != nil {
		return err
	}
	made, err := s.book.create(in.ID, in.Name, in.Type)
	if err != nil {
		return err
	}
	c.Response().Header().Set(echo.HeaderLocation, "/accounts?ids="+made.account.ID)
	if !announced(c, made) {
		return accepted(c, made)
	}
	return c.JSON(http.StatusCreated, made.account.wire())
}

func (in *createJSON) check() error {
	problem := fault.New(fault.Invalid, fault.ReasonInvalidField, "the account is not valid")
	if in.Name == "" || len(in.Name) > maxText {
		problem = problem.Violating(fault.Violation{Field: "name", Description: "send 1 to 128 bytes"})
	}
	if len(in.Type) > maxText {
		problem = problem.Violating(fault.Violation{Field: "type", Description: "send at most 128 bytes"})
	}
	if !validID(in.ID) {
		problem = problem.Violating(fault.Violation{Field: "id", Description: "send up to 128 of A-Z a-z 0-9 . _ : -, or leave it out"})
	}
	if len(problem.Violations) > 0 {
		return problem
	}
	return nil
}

func validID(id string) bool {
	const more = "._:-"
	for _, r := range id {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		if !letter && !strings.ContainsRune(more, r) {
			return false
		}
	}
	return len(id) <= maxText
}

func (s *server) remove(c echo.Context) error {
	made, err := s.book.remove(c.Param("id"))
	if err != nil {
		return err
	}
	if !announced(c, made) {
		return accepted(c, made)
	}
	return c.NoContent(http.StatusNoContent)
}

func (s *server) restore(c echo.Context) error {
	made, err := s.book.restore(c.Param("id"))
	if err != nil {
		return err
	}
	if !announced(c, made) {
		return accepted(c, made)
	}
	return c.JSON(http.StatusOK, made.account.wire())
}

// announced waits a moment for the broker to acknowledge the event of a change.
func announced(c echo.Context, made change) bool {
	limit := time.NewTimer(patience)
	defer limit.Stop()
	select {
	case <-made.sent:
		return true
	case <-limit.C:
	case <-c.Request().Context().Done():
	}
	return false
}

// accepted says what holds while the broker is away: the change is made and
// kept, its event follows.
func accepted(c echo.Context, made change) error {
	return c.JSON(http.StatusAccepted, acceptedJSON{
		Account: made.account.wire(), EventID: made.event.String(),
		Message: "The change is stored. Its event is published as soon as the broker takes it.",
	})
}

func (a account) wire() accountJSON {
	return accountJSON{ID: a.ID, Name: a.Name, Type: a.Type, CreatedAt: a.CreatedAt}
}

func wire(accounts []account) []accountJSON {
	out := make([]accountJSON, len(accounts))
	for i, a := range accounts {
		out[i] = a.wire()
	}
	return out
}

// fail translates an error into an answer; what nobody classified is logged.
func (s *server) fail(err error, c echo.Context) {
	if c.Response().Committed {
		return
	}
	status, body := http.StatusInternalServerError, errorJSON{}
	body.Error.Code, body.Error.Message = fault.ReasonInternal, "something went wrong here; the log says what"
	if f, ok := errors.AsType[*fault.Error](err); ok {
		status, body.Error.Code, body.Error.Message = statusOf(f.Code), f.Reason, messageOf(f)
	} else if h, ok := errors.AsType[*echo.HTTPError](err); ok {
		status, body.Error.Code, body.Error.Message = h.Code, codeOf(h.Code), http.StatusText(h.Code)
	}
	ctx := c.Request().Context()
	if status == http.StatusInternalServerError {
		s.log.ErrorContext(ctx, "request failed", slog.String("route", c.Path()), slog.Any("error", err))
	}
	if err := c.JSON(status, body); err != nil {
		s.log.DebugContext(ctx, "nobody took the answer", slog.Any("error", err))
	}
}

func statusOf(code fault.Code) int {
	switch code {
	case fault.Invalid:
		return http.StatusBadRequest
	case fault.NotFound:
		return http.StatusNotFound
	case fault.Exists:
		return http.StatusConflict
	default:
		return http.StatusInternalServerError
	}
}

func codeOf(status int) fault.Reason {
	return fault.Reason(strings.ToUpper(strings.ReplaceAll(http.StatusText(status), " ", "_")))
}

func messageOf(f *fault.Error) string {
	text := f.Message
	for _, v := range f.Violations {
		text += "; " + v.Field + ": " + v.Description
	}
	return text
}
