// Package deploytest holds deploy/docker and docker-compose.yml to what the binaries really accept.
// It is a module of its own, so that the parser of compose files is no dependency of the product.
package deploytest
