package api

import (
	"github.com/labstack/echo/v4"

	"github.com/prefsd/prefsd/pkg/precondition"
	"github.com/prefsd/prefsd/pkg/preferences"
)

// list answers GET /preferences. A caller with a tag is answered from the head
// of the list alone as long as nothing has changed, which is the usual case.
func (s *server) list(c echo.Context) error {
	q, err := readListQuery(c)
	if err != nil {
		return err
	}
	conditions, err := conditionsOf(c)
	if err != nil {
		return err
	}
	if !conditions.Empty() && q.page.Token == "" && !q.sync {
		if done, err := s.spared(c, conditions, q); done || err != nil {
			return err
		}
	}
	if q.sync {
		return s.changes(c, conditions, q)
	}
	l, err := s.prefs.ListAtLeast(c.Request().Context(), q.userID, q.domain, q.least)
	if err != nil {
		return err
	}
	l, page, err := s.prefs.Page(c.Request().Context(), l, q.page)
	if err != nil {
		return err
	}
	return answerList(c, conditions, l, page, q)
}

// spared answers from the head if the conditions allow it.
func (s *server) spared(c echo.Context, conditions precondition.Conditions, q listQuery) (done bool, err error) {
	head, err := s.prefs.HeadAtLeast(c.Request().Context(), q.userID, q.domain, q.least)
	if err != nil {
		return false, err
	}
	return judged(c, conditions, stateOf(head))
}

// answerList judges once more: the list may have moved on since its head was
// read.
func answerList(c echo.Context, conditions precondition.Conditions, l preferences.List, page preferences.Page, q listQuery) error {
	now := stateOf(l)
	if done, err := judged(c, conditions, now); done || err != nil {
		return err
	}
	return answerRead(c, now.tag, listJSON{l, page, now.tag, q.fields})
}

func stateOf(l preferences.List) state {
	return state{tag: l.ETag(), exists: l.Version > 0, name: "preferences?domain=" + l.Domain, modified: l.UpdateTime}
}

// batchReplace answers PUT and POST /preferences:batchReplace.
func (s *server) batchReplace(c echo.Context) error {
	terms, err := termsOf(c)
	if err != nil {
		return err
	}
	in, form := decode[replaceInput](c)
	wanted, wrong := in.inputs()
	if form != nil || wrong != nil {
		return refusal(form, wrong, s.prefs.CheckReplace(in.Domain, wanted))
	}
	return change(c, func(by preferences.By) (preferences.Result, error) {
		return s.prefs.Replace(c.Request().Context(), userOf(c), in.Domain, by, terms, wanted)
	}, listReply)
}

// batchUpdate answers PATCH and POST /preferences:batchUpdate.
func (s *server) batchUpdate(c echo.Context) error {
	terms, err := termsOf(c)
	if err != nil {
		return err
	}
	in, form := decode[batchInput](c)
	patches := in.patches()
	if form != nil {
		return refusal(form, s.prefs.CheckBatch(in.Domain, patches))
	}
	return change(c, func(by preferences.By) (preferences.Result, error) {
		return s.prefs.UpdateBatch(c.Request().Context(), userOf(c), in.Domain, by, terms, patches)
	}, listReply)
}

// restore answers POST /preferences:restore.
func (s *server) restore(c echo.Context) error {
	terms, err := termsOf(c)
	if err != nil {
		return err
	}
	in, form := decode[restoreInput](c)
	if form != nil {
		return refusal(form, s.prefs.CheckRestore(in.Domain, in.Version))
	}
	return change(c, func(by preferences.By) (preferences.Result, error) {
		return s.prefs.Restore(c.Request().Context(), userOf(c), in.Domain, in.Version, by, terms)
	}, listReply)
}
