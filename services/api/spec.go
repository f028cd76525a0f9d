package api

import (
	"crypto/sha256"
	_ "embed" // the description of the API
	"encoding/base64"
	"net/http"
	"sync"

	"github.com/labstack/echo/v4"
)

// OpenAPI is the description of exactly the routes that are served.
//
//go:embed openapi.yaml
var OpenAPI []byte

var typeYAML = []string{"application/yaml"}

// openAPITag changes with the description.
var openAPITag = sync.OnceValue(func() string {
	sum := sha256.Sum256(OpenAPI)
	return base64.RawURLEncoding.EncodeToString(sum[:12])
})

// spec answers GET /openapi.yaml.
func (s *server) spec(c echo.Context) error {
	conditions, err := conditionsOf(c)
	if err != nil {
		return err
	}
	tag := openAPITag()
	if done, err := judged(c, conditions, state{tag: tag, exists: true, name: "openapi.yaml"}); done || err != nil {
		return err
	}
	readHeaders(c, tag)
	return send(c, http.StatusOK, typeYAML, OpenAPI)
}
