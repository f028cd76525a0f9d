package ctl

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Names of the files in a development directory.
const (
	EnvironmentFile = "dev.json"
	KeyFile         = "dev.key"
)

// Environment is what a running development environment tells about itself in
// its directory: where its parts are, and tokens to use them with.
type Environment struct {
	APIURL           string   `json:"apiUrl"`
	AdminURL         string   `json:"adminUrl"`
	ConsumerAdminURL string   `json:"consumerAdminUrl"`
	AccountsURL      string   `json:"accountsUrl"`
	WebURL           string   `json:"webUrl,omitempty"`
	ControlURL       string   `json:"controlUrl,omitempty"`
	Brokers          []string `json:"brokers"`
	DatabaseURL      string   `json:"databaseUrl"`
	Tokens           Tokens   `json:"tokens"`
}

// Tokens are ready-made bearer tokens: two users and the two privileged scopes.
type Tokens struct {
	Alice  string `json:"alice"`
	Bob    string `json:"bob"`
	System string `json:"system"`
	Admin  string `json:"admin"`
}

// ReadEnvironment reads what the environment of the directory says. It says
// nothing while it does not run.
func ReadEnvironment(dir string) (Environment, error) {
	path := filepath.Join(dir, EnvironmentFile)
	text, err := os.ReadFile(path) //nolint:gosec // the directory is the user's choice
	if errors.Is(err, fs.ErrNotExist) {
		return Environment{}, fmt.Errorf("nothing runs in %s: start it with `make run`, or leave --dir out and use the PREFS_* variables", dir)
	}
	if err != nil {
		return Environment{}, fmt.Errorf("read the development environment: %w", err)
	}
	var e Environment
	if err := json.Unmarshal(text, &e); err != nil {
		return Environment{}, fmt.Errorf("read the development environment: %s: %w", path, err)
	}
	return e, nil
}

// Write replaces the file in the directory at once: who reads it finds all of it
// or nothing. It holds tokens, so it is the user's alone.
func (e Environment) Write(dir string) (err error) {
	text, err := json.MarshalIndent(e, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the development environment: %w", err)
	}
	f, err := os.CreateTemp(dir, "."+EnvironmentFile+"-*") // which makes it 0600
	if err != nil {
		return fmt.Errorf("write the development environment: %w", err)
	}
	_, err = f.Write(append(text, '\n'))
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), filepath.Join(dir, EnvironmentFile))
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write the development environment: %w", err), os.Remove(f.Name()))
	}
	return nil
}

// RemoveEnvironment withdraws what a directory says, so that nobody is sent to
// parts that have stopped.
func RemoveEnvironment(dir string) error {
	err := os.Remove(filepath.Join(dir, EnvironmentFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("withdraw the development environment: %w", err)
	}
	return nil
}
