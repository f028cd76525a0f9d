package api

import (
	_ "embed" // the description of the API
	"sync"

	"github.com/labstack/echo/v4"
)

// OpenAPI is the description of exactly the routes that are served.
//
//go:embed openapi.yaml
var OpenAPI []byte

var openAPI = sync.OnceValue(func() *document { return newDocument("openapi.yaml", "application/yaml", OpenAPI) })

// spec answers GET /openapi.yaml.
func (s *server) spec(c echo.Context) error { return openAPI().answer(c) }
