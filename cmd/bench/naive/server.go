package main

import (
	"errors"
	"fmt"
	"maps"
	"net/http"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"
)

const (
	defaultType = "account"
	maxItems    = 1000
)

type server struct{ db *gorm.DB }

func routes(s *server, authenticate echo.MiddlewareFunc) *echo.Echo {
	e := echo.New()
	e.HideBanner, e.HidePort = true, true
	e.Use(middleware.Recover(), middleware.RequestID(), middleware.BodyLimit("1M"))
	e.GET("/readyz", func(c echo.Context) error { return c.NoContent(http.StatusOK) })
	g := e.Group("", authenticate)
	g.GET("/preferences", s.list)
	g.POST("/preferences", s.create)
	g.PUT(`/preferences\:batchReplace`, s.replace)
	g.GET("/preferences/:id", s.get)
	g.PATCH("/preferences/:id", s.update)
	g.DELETE("/preferences/:id", s.remove)
	return e
}

func read(db *gorm.DB, user, domain string) (List, error) {
	l := List{Preferences: []Preference{}}
	err := db.Where("user_id = ? AND domain = ?", user, domain).Order("sort_order").Find(&l.Preferences).Error
	l.TotalSize = len(l.Preferences)
	return l, err
}

// find reads an item of the user's.
func find(db *gorm.DB, user, id string) (Preference, error) {
	var p Preference
	err := db.Where("id = ? AND user_id = ?", id, user).First(&p).Error
	if errors.Is(err, gorm.ErrRecordNotFound) {
		return p, echo.NewHTTPError(http.StatusNotFound, "no such preference")
	}
	return p, err
}

func (s *server) list(c echo.Context) error {
	l, err := read(s.db.WithContext(c.Request().Context()), userOf(c), c.QueryParam("domain"))
	if err != nil {
		return err
	}
	return answer(c, http.StatusOK, l)
}

func (s *server) get(c echo.Context) error {
	p, err := find(s.db.WithContext(c.Request().Context()), userOf(c), c.Param("id"))
	if err != nil {
		return err
	}
	return answer(c, http.StatusOK, p)
}

// answer sends a body with its tag, or 304 if the caller has it.
func answer(c echo.Context, status int, body any) error {
	text, etag, err := tagged(body)
	if err != nil {
		return err
	}
	c.Response().Header().Set("ETag", etag)
	if c.Request().Method == http.MethodGet && c.Request().Header.Get("If-None-Match") == etag {
		return c.NoContent(http.StatusNotModified)
	}
	return c.JSONBlob(status, text)
}

// unchanged fails unless the caller's If-Match, if any, is the tag of what is
// stored.
func unchanged(c echo.Context, stored any) error {
	expected := c.Request().Header.Get("If-Match")
	if expected == "" {
		return nil
	}
	_, etag, err := tagged(stored)
	if err == nil && etag != expected {
		err = echo.NewHTTPError(http.StatusPreconditionFailed, "it has been modified since you read it")
	}
	return err
}

func (s *server) create(c echo.Context) error {
	var in CreateRequest
	if err := c.Bind(&in); err != nil {
		return err
	}
	if in.Domain == "" || in.EntityID == "" {
		return echo.NewHTTPError(http.StatusBadRequest, "domain and entityId are required")
	}
	p := Preference{UserID: userOf(c), Domain: in.Domain, EntityType: orDefault(in.EntityType), EntityID: in.EntityID, Attributes: orEmpty(in.Attributes), Version: 1}
	err := s.db.WithContext(c.Request().Context()).Transaction(func(tx *gorm.DB) error {
		var n int64
		if err := tx.Model(&Preference{}).Where("user_id = ? AND domain = ?", p.UserID, p.Domain).Count(&n).Error; err != nil {
			return err
		}
		p.Order = int(n) + 1
		return tx.Create(&p).Error
	})
	if errors.Is(err, gorm.ErrDuplicatedKey) {
		return echo.NewHTTPError(http.StatusConflict, "it is in the list already")
	}
	if err != nil {
		return err
	}
	return answer(c, http.StatusCreated, p)
}

func (s *server) update(c echo.Context) error {
	var in UpdateRequest
	if err := c.Bind(&in); err != nil {
		return err
	}
	var p Preference
	err := s.db.WithContext(c.Request().Context()).Transaction(func(tx *gorm.DB) (err error) {
		if p, err = find(tx.Clauses(clause.Locking{Strength: "UPDATE"}), userOf(c), c.Param("id")); err != nil {
			return err
		}
		if err := unchanged(c, p); err != nil {
			return err
		}
		if in.Order != nil {
			p.Order = *in.Order
		}
		p.Attributes = merged(p.Attributes, in.Attributes)
		p.Version++
		return tx.Save(&p).Error
	})
	if err != nil {
		return err
	}
	return answer(c, http.StatusOK, p)
}

// merged is a merge patch of one level.
func merged(stored, patch map[string]any) map[string]any {
	out := maps.Clone(stored)
	for name, value := range patch {
		if value == nil {
			delete(out, name)
			continue
		}
		out[name] = value
	}
	return out
}

func (s *server) remove(c echo.Context) error {
	err := s.db.WithContext(c.Request().Context()).Transaction(func(tx *gorm.DB) error {
		p, err := find(tx.Clauses(clause.Locking{Strength: "UPDATE"}), userOf(c), c.Param("id"))
		if err != nil {
			return err
		}
		if err := unchanged(c, p); err != nil {
			return err
		}
		if err := tx.Delete(&p).Error; err != nil {
			return err
		}
		return tx.Model(&Preference{}).Where("user_id = ? AND domain = ? AND sort_order > ?", p.UserID, p.Domain, p.Order).
			Update("sort_order", gorm.Expr("sort_order - 1")).Error
	})
	if err != nil {
		return err
	}
	return c.NoContent(http.StatusNoContent)
}

// replace makes the list equal to the body: what is not in it goes, the rest is
// upserted in one statement.
func (s *server) replace(c echo.Context) error {
	var in SaveRequest
	if err := c.Bind(&in); err != nil {
		return err
	}
	wanted, err := in.wanted(userOf(c))
	if err != nil {
		return err
	}
	var saved List
	err = s.db.WithContext(c.Request().Context()).Transaction(func(tx *gorm.DB) error {
		if c.Request().Header.Get("If-Match") != "" {
			stored, err := read(tx.Clauses(clause.Locking{Strength: "UPDATE"}), userOf(c), in.Domain)
			if err != nil {
				return err
			}
			if err := unchanged(c, stored); err != nil {
				return err
			}
		}
		if err := save(tx, userOf(c), in.Domain, wanted); err != nil {
			return err
		}
		saved, err = read(tx, userOf(c), in.Domain)
		return err
	})
	if err != nil {
		return err
	}
	return answer(c, http.StatusOK, saved)
}

func save(tx *gorm.DB, user, domain string, wanted []Preference) error {
	gone := tx.Where("user_id = ? AND domain = ?", user, domain)
	if len(wanted) > 0 {
		ids := make([]string, len(wanted))
		for i, p := range wanted {
			ids[i] = p.EntityID
		}
		gone = gone.Where("entity_id NOT IN ?", ids)
	}
	if err := gone.Delete(&Preference{}).Error; err != nil || len(wanted) == 0 {
		return err
	}
	return tx.Clauses(clause.OnConflict{
		Columns: []clause.Column{{Name: "user_id"}, {Name: "domain"}, {Name: "entity_type"}, {Name: "entity_id"}},
		DoUpdates: append(clause.AssignmentColumns([]string{"sort_order", "attributes", "updated_at"}),
			clause.Assignment{Column: clause.Column{Name: "version"}, Value: gorm.Expr("preferences.version + 1")}),
	}).Create(&wanted).Error
}

// wanted checks the body and returns its rows.
func (in SaveRequest) wanted(user string) ([]Preference, error) {
	if in.Domain == "" || len(in.Preferences) > maxItems {
		return nil, echo.NewHTTPError(http.StatusBadRequest, "domain is required, and a list has at most 1000 items")
	}
	orders, out := make(map[int]bool, len(in.Preferences)), make([]Preference, len(in.Preferences))
	for i, p := range in.Preferences {
		if p.EntityID == "" || p.Order < 1 || orders[p.Order] {
			return nil, echo.NewHTTPError(http.StatusBadRequest, fmt.Sprintf("preferences[%d] needs an entityId and an order of its own", i))
		}
		orders[p.Order] = true
		out[i] = Preference{
			UserID: user, Domain: in.Domain, EntityType: orDefault(p.EntityType), EntityID: p.EntityID,
			Order: p.Order, Attributes: orEmpty(p.Attributes), Version: 1,
		}
	}
	return out, nil
}

func orDefault(entityType string) string {
	if entityType == "" {
		return defaultType
	}
	return entityType
}

func orEmpty(attributes map[string]any) map[string]any {
	if attributes == nil {
		return map[string]any{}
	}
	return attributes
}
