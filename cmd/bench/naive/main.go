// Command naive is the API of prefsd as the tutorials of Echo and gorm would
// write it: models that migrate themselves, a handler for each verb, a
// transaction round what belongs together, an ETag that is a hash of the body.
// It is decent code with indexes, prepared statements and a pool as large as
// prefsd's, and it is what cmd/bench measures prefsd against. It keeps no
// history, sends no events, knows nothing of deleted accounts, and two writers
// of one list may overwrite each other unless both send If-Match.
package main

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/prefsd/prefsd/pkg/command"
)

// maxConns is prefsd's default.
const maxConns = 16

func main() {
	ctx, stop := command.Context()
	err := run(ctx)
	stop()
	os.Exit(command.Exit("naive", err, command.Failed))
}

func run(ctx context.Context) error {
	db, err := open(os.Getenv("DATABASE_URL"))
	if err != nil {
		return err
	}
	key, err := publicKey(os.Getenv("JWT_KEY_FILE"))
	if err != nil {
		return err
	}
	e := routes(&server{db: db}, authenticate(key, os.Getenv("JWT_ISSUER"), os.Getenv("JWT_AUDIENCE")))
	failed := make(chan error, 1)
	go func() { failed <- e.Start(os.Getenv("HTTP_ADDR")) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	err = e.Shutdown(drain)
	if ended := <-failed; !errors.Is(ended, http.ErrServerClosed) {
		err = errors.Join(err, ended)
	}
	return err
}

func open(url string) (*gorm.DB, error) {
	db, err := gorm.Open(postgres.Open(url), &gorm.Config{PrepareStmt: true, TranslateError: true, Logger: logger.Default.LogMode(logger.Silent)})
	if err != nil {
		return nil, fmt.Errorf("open the database: %w", err)
	}
	pool, err := db.DB()
	if err != nil {
		return nil, err
	}
	pool.SetMaxOpenConns(maxConns)
	pool.SetMaxIdleConns(maxConns)
	return db, db.AutoMigrate(&Preference{}) //nolint:forbidigo // the schema is gorm's here, as in the tutorials
}

// publicKey returns the public half of a development key.
func publicKey(file string) (crypto.PublicKey, error) {
	pem, err := os.ReadFile(file) //nolint:gosec // the bench names it
	if err != nil {
		return nil, err
	}
	key, err := jwt.ParseEdPrivateKeyFromPEM(pem)
	if err != nil {
		return nil, err
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, errors.New("the key does not sign")
	}
	return signer.Public(), nil
}
