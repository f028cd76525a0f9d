# Every task of the project. `make help` lists them; `make run` and `make test` are the two to know.

SHELL         := /bin/bash
.SHELLFLAGS   := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:
MAKEFLAGS     += --no-print-directory

# Where everything that is built or fetched once is kept; .ci/run points it outside the work tree.
export CACHE      ?= $(CURDIR)/.cache
export REPORTS    ?= $(CACHE)/reports
export KAFKA_LIBS ?= $(CACHE)/kafka-4.4.0

# The seed of shuffled and randomised tests; a failed suite prints the one that repeats it.
ifndef SEED
SEED := $(shell od -An -N4 -tu4 /dev/urandom | tr -d ' ')
endif
export SEED

BIN            := $(CACHE)/bin
SUITE          := .ci/suite
GOTESTFLAGS     = -race -shuffle=$(SEED) -timeout=$(TIMEOUT)
GOTEST          = go test $(GOTESTFLAGS)
TIMEOUT        ?= 10m
FUZZTIME       ?= 60s
NESTED_MODULES := deploy/deploytest
VERSION        ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
GO_LDFLAGS     := -s -w -X main.version=$(VERSION)

# Tools that run on Node.
NODE_TOOLS := $(CACHE)/node-tools-$(shell cat deploy/tools/package-lock.json deploy/tools/node.txt .ci/node-tools | cksum | cut -d' ' -f1)
NODE_PATHS := $(NODE_TOOLS)/bin:$(NODE_TOOLS)/node_modules/.bin

# Each package with tests belongs to exactly one suite, so that no package is tested twice. What no list names is a unit.
MODULE          := github.com/prefsd/prefsd
INTEGRATION_PKG := migrations pkg/devpg pkg/pgtest pkg/postgres pkg/reconcile pkg/verify services/consumer services/ctl
CONTRACT_PKG    := pkg/events services/api
KAFKA_PKG       := pkg/devkafka pkg/kafka pkg/kafkatest
E2E_PKG         := pkg/prefstest/e2e pkg/prefstest/readme services/dev
OTHER_PKG       := $(INTEGRATION_PKG) $(CONTRACT_PKG) $(KAFKA_PKG) $(E2E_PKG) pkg/prefstest
under            = $(patsubst %,./%/...,$(1))
empty           :=
space           := $(empty) $(empty)
UNIT_FILTER     := ^$(MODULE)/($(subst $(space),|,$(strip $(OTHER_PKG))))(/|$$)

##@ Run

.PHONY: run
run: ## All of it on this machine: PostgreSQL, a broker, api, consumer, demo accounts (flags: ARGS="--ephemeral")
	@go build -o $(BIN)/dev ./cmd/dev
	@exec $(BIN)/dev $(ARGS)

.PHONY: up
up: secrets ## The containers of docker-compose.yml, built and healthy (needs Docker)
	docker compose up --build --detach --wait

.PHONY: secrets
secrets: ## Make the secrets of the containers, once
	@.ci/secrets deploy/docker/secrets

.PHONY: down
down: ## Stop and remove the containers; their data stays in volumes
	docker compose down

##@ Test

.PHONY: test
test: lint test-unit test-model test-prop test-integration test-contract test-kafka test-e2e test-web-client test-web test-deploy test-docker ## Everything a change must pass

.PHONY: ci
ci: test ci-extra ## test, then the longer suites that CI adds

.PHONY: ci-extra
ci-extra: test-lin test-chaos test-crash test-faults test-failover test-fuzz-api fuzz-smoke mutants

.PHONY: test-unit
test-unit: ## Pure rules, no database and no broker
	@$(SUITE) $@ $(GOTEST) $$(go list ./... | grep -Ev '$(UNIT_FILTER)')

.PHONY: test-model
test-model: ## Every interleaving of the protocols, and of broken ones (ARGS=-traces shows how each breaks)
	@$(SUITE) $@ $(SHELL) -ec '$(GOTEST) -run ^TestWriters ./pkg/prefstest/model; go test -v -shuffle=$(SEED) -timeout=$(TIMEOUT) ./pkg/prefstest/model $(ARGS)'

CHECKS ?= 200

.PHONY: test-prop
test-prop: ## Random sequences, at the API and the consumer and in a model of them (CHECKS=2000 for ten times as many)
	@$(SUITE) $@ $(GOTEST) -v ./pkg/prefstest/prop -rapid.seed=$(SEED) -rapid.checks=$(CHECKS) -rapid.steps=8 -rapid.nofailfile $(ARGS)

.PHONY: test-integration
test-integration: ## Store, migrations and consumer on PostgreSQL, a database for each test
	@$(SUITE) $@ $(GOTEST) $(call under,$(INTEGRATION_PKG))

.PHONY: test-contract
test-contract: ## HTTP against openapi.yaml, events against their schemas
	@$(SUITE) $@ $(GOTEST) $(call under,$(CONTRACT_PKG))

.PHONY: test-kafka
test-kafka: kafka-libs ## The broker suite, in-process and on a real Apache Kafka
	@$(SUITE) $@ $(GOTEST) $(call under,$(KAFKA_PKG))

.PHONY: test-e2e
test-e2e: kafka-libs ## The real binaries as a user starts them
	@$(SUITE) $@ $(GOTEST) $(call under,$(E2E_PKG))

.PHONY: test-web-client
test-web-client: $(NODE_TOOLS)/ready ## The store of the pages, on the real binaries with failures in between
	@go build -o $(BIN)/ ./cmd/dev ./cmd/prefsctl
	@PATH="$(NODE_PATHS):$$PATH" $(SUITE) $@ .ci/web-client $(BIN)

.PHONY: test-web
test-web: $(NODE_TOOLS)/ready ## The pages in a browser (PICTURES=docs/img keeps screenshots)
	@go build -o $(BIN)/ ./cmd/dev
	@PATH="$(NODE_PATHS):$$PATH" $(SUITE) $@ .ci/test-web $(NODE_TOOLS) $(BIN)

.PHONY: test-chaos
test-chaos: ## The real binaries, killed while users save, accounts are deleted and operators clean and undo
	@$(SUITE) $@ $(GOTEST) ./pkg/prefstest/chaos/...

.PHONY: test-lin
test-lin: TIMEOUT := 20m
test-lin: ## Histories of many clients, each of which must be that of one list, whatever is cut, killed or ended meanwhile
	@$(SUITE) $@ $(SHELL) -ec '$(GOTEST) -run "^Test(AHistory|KeptHistories)" ./pkg/prefstest/lin; \
	go test -v -shuffle=$(SEED) -timeout=$(TIMEOUT) -parallel 4 -run ^TestHistories ./pkg/prefstest/lin -runs $(CACHE)/runs $(ARGS)'

.PHONY: replay
replay: ## Check the histories of a failed run again, and draw them: make replay RUN=directory
	@[ -n "$(RUN)" ] || { echo 'usage: make replay RUN=directory'; exit 2; }
	go test -count=1 -v -run '^TestKeptHistories' ./pkg/prefstest/lin -replay $(abspath $(RUN))

.PHONY: test-crash
test-crash: ## Processes that are killed between every two of their steps
	@$(SUITE) $@ $(GOTEST) ./pkg/prefstest/crash/...

.PHONY: test-faults
test-faults: kafka-libs ## The real binaries, while PostgreSQL, Kafka, records and the account service fail
	@$(SUITE) $@ $(GOTEST) ./pkg/prefstest/faults/...

.PHONY: test-failover
test-failover: ## The real binaries, while a standby of PostgreSQL takes over
	@$(SUITE) $@ $(GOTEST) ./pkg/prefstest/failover/...

.PHONY: test-deploy
test-deploy: ## docker-compose.yml and images against the binaries' own settings
	@cd deploy/deploytest && $(CURDIR)/$(SUITE) $@ $(GOTEST) ./...

.PHONY: test-docker
test-docker: ## Store and broker suites on containers (REQUIRE_DOCKER=1 makes a missing Docker a failure)
	@$(SUITE) $@ $(GOTEST) -tags docker ./pkg/prefstest/docker/...

.PHONY: mutants
mutants: ## Defects that are planted one at a time: each must be caught by the suite that .ci/mutants.txt names
	@$(SUITE) $@ .ci/mutants

GREMLINS_VERSION := 0.6.0
GREMLINS         := $(BIN)/gremlins-$(GREMLINS_VERSION)

.PHONY: mutants-random
mutants-random: $(GREMLINS) ## Lines of the rules changed at random, of which their tests must notice 80 % (minutes; ARGS="--dry-run")
	@$(SUITE) $@ .ci/mutants-random $(GREMLINS) $(ARGS)

$(GREMLINS):
	@echo "building gremlins $(GREMLINS_VERSION), once"
	@GOBIN=$(BIN) go install github.com/go-gremlins/gremlins/cmd/gremlins@v$(GREMLINS_VERSION)
	@mv $(BIN)/gremlins $@

.PHONY: chaos
chaos: ## Everything fails at random under a mixed workload for DURATION (10m), looked at every minute; leaves a report (SEED repeats its choices)
	@DURATION=$(or $(DURATION),10m) $(SUITE) $@ go test -race -v -count=1 -timeout=0 -run '^TestRandomFaults$$' ./pkg/prefstest/chaos

.PHONY: soak
soak: ## A steady load with a fault now and then for DURATION (1h): fails if memory, descriptors, goroutines, tables or the outbox grow; leaves a report
	@DURATION=$(or $(DURATION),1h) $(SUITE) $@ go test -v -count=1 -timeout=0 -run '^TestSteadyLoad$$' ./pkg/prefstest/chaos

.PHONY: fuzz-smoke
fuzz-smoke: ## Every fuzz target for 10 seconds
	@$(SUITE) $@ .ci/fuzz 10s

.PHONY: fuzz
fuzz: ## Every fuzz target for FUZZTIME (60s)
	@$(SUITE) $@ .ci/fuzz $(FUZZTIME)

SCHEMATHESIS := $(CACHE)/schemathesis-$(shell cksum <.ci/schemathesis/requirements.txt | cut -d' ' -f1)

.PHONY: test-fuzz-api
test-fuzz-api: $(SCHEMATHESIS)/ready ## Schemathesis against a running server (all that it can do: PHASES=examples,coverage,fuzzing,stateful)
	@go build -o $(BIN)/ ./cmd/dev ./cmd/prefsctl
	@$(SUITE) $@ .ci/fuzz-api $(SCHEMATHESIS)/bin $(BIN)

# As all of its kind it is asked each time: what was installed before may be moved since, or be another machine's.
.PHONY: $(SCHEMATHESIS)/ready
$(SCHEMATHESIS)/ready:
	@.ci/venv $(@D) --requirement .ci/schemathesis/requirements.txt

KINTO_PACKAGES := kinto[postgresql]==26.5.0 gunicorn==27.0.1
KINTO          := $(CACHE)/kinto-$(shell echo '$(KINTO_PACKAGES)' | cksum | cut -d' ' -f1)
DEBEZIUM       := $(CACHE)/debezium-$(shell cksum <cmd/bench/debezium/pom.xml | cut -d' ' -f1)

.PHONY: bench
bench: ## Benchmarks beside the same SQL, bare HTTP, and the usual Echo and gorm code (flags: ARGS="--json")
	go run ./cmd/bench $(ARGS)

.PHONY: bench-clean
bench-clean: ## One account taken out of 100,000 lists of 25, beside the chunked DELETE
	go run ./cmd/bench --only deletion --lists 100000 --items 25 $(ARGS)

.PHONY: bench-peers
bench-peers: $(KINTO)/ready ## The requests beside Kinto and PocketBase as well (downloads both)
	cd cmd/bench/pocketbase && go build -o $(BIN)/pocketbase .
	go run ./cmd/bench --kinto $(KINTO) --pocketbase $(BIN)/pocketbase --active 40 --rounds 1 --time 2s $(ARGS)

.PHONY: bench-relay
bench-relay: kafka-libs $(DEBEZIUM)/ready ## The relay and the consumer on Apache Kafka, beside Debezium (needs Java and Maven)
	DEBEZIUM_LIBS=$(DEBEZIUM) go run ./cmd/bench --only relay --only consumer $(ARGS)

.PHONY: $(KINTO)/ready
$(KINTO)/ready:
	@.ci/venv $(@D) $(KINTO_PACKAGES)

$(DEBEZIUM)/ready:
	@echo "fetching Debezium's jars, once"
	@mvn -B -q -ntp -f cmd/bench/debezium/pom.xml org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies \
	  -DincludeScope=runtime -DoutputDirectory=$(@D)
	@touch $@

##@ Code

GOLANGCI_VERSION := $(shell sed -nE 's,^.*golangci/golangci-lint/v2 v([0-9.]+).*,\1,p' deploy/tools/go.mod)
GOLANGCI         := $(BIN)/golangci-lint-$(GOLANGCI_VERSION)

CODEGEN_VERSION := $(shell sed -nE 's,^.*oapi-codegen/oapi-codegen/v2 v([0-9.]+).*,\1,p' deploy/tools/go.mod)
CODEGEN         := $(BIN)/oapi-codegen-$(CODEGEN_VERSION)

.PHONY: lint
lint: $(GOLANGCI) $(CODEGEN) $(NODE_TOOLS)/ready ## Formatting, linters, vet, tidy modules, the description of the API and what is generated from it
	@PATH="$(NODE_PATHS):$$PATH" $(SUITE) $@ .ci/lint $(GOLANGCI) $(CODEGEN) $(NODE_TOOLS) $(NESTED_MODULES)

.PHONY: generate
generate: $(CODEGEN) $(NODE_TOOLS)/ready ## Write anew what is generated from the description of the API
	@PATH="$(NODE_PATHS):$$PATH" .ci/generate $(CODEGEN)

.PHONY: web
web: $(NODE_TOOLS)/ready ## Build the pages anew, into services/web/dist
	@PATH="$(NODE_PATHS):$$PATH" .ci/web $(NODE_TOOLS)

.PHONY: fmt
fmt: $(GOLANGCI) ## Format the Go code and order its imports
	$(GOLANGCI) fmt ./...
	for module in $(NESTED_MODULES); do (cd $$module && $(GOLANGCI) fmt --config $(CURDIR)/.golangci.yml ./...); done

.PHONY: build
build: ## The binaries, in bin/
	CGO_ENABLED=0 go build -trimpath -ldflags '$(GO_LDFLAGS)' -o bin/ ./cmd/...

.PHONY: tools
tools: $(GOLANGCI) $(CODEGEN) $(NODE_TOOLS)/ready $(SCHEMATHESIS)/ready ## Build the pinned tools into the cache

$(GOLANGCI):
	@mkdir -p $(BIN)
	@found=$$(command -v golangci-lint || echo "$$(go env GOPATH)/bin/golangci-lint"); \
	if [ "$$("$$found" version --short 2>/dev/null)" = "$(GOLANGCI_VERSION)" ]; then \
		cp "$$found" $@; \
	else \
		echo "building golangci-lint $(GOLANGCI_VERSION), once (1 to 5 minutes)"; \
		go build -C deploy/tools -o $@ github.com/golangci/golangci-lint/v2/cmd/golangci-lint; \
	fi

$(CODEGEN):
	@echo "building oapi-codegen $(CODEGEN_VERSION), once"
	@go build -C deploy/tools -o $@ github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen

.PHONY: $(NODE_TOOLS)/ready
$(NODE_TOOLS)/ready:
	@.ci/node-tools $(@D)

.PHONY: kafka-libs
kafka-libs: ## Fetch Apache Kafka's jars for the tests, where Java and Maven are
	@if command -v java >/dev/null && command -v mvn >/dev/null; then deploy/testkafka/fetch.sh "$(KAFKA_LIBS)"; \
	else echo "kafka-libs: no Java or no Maven here, the in-process broker stands in"; fi

.PHONY: clean
clean: ## Remove built files and the development data (stop make run first)
	rm -rf bin .dev .cache

##@ Database

.PHONY: migrate-up migrate-down migrate-status
migrate-up: ## Apply the pending migrations (the database of make run, or ARGS="--database-url ...")
migrate-down: ## Take back the last migration
migrate-status: ## List migrations and when each was applied
migrate-up migrate-down migrate-status: migrate-%:
	go run ./cmd/prefsctl migrate $* $(or $(ARGS),--dir .dev)

.PHONY: migration
migration: ## Begin a new migration: make migration NAME=add_something
	@[[ "$(NAME)" =~ ^[a-z0-9_]+$$ ]] || { echo 'usage: make migration NAME=add_something'; exit 2; }
	@last=$$(ls migrations/*.sql | sed -E 's,.*/0*([0-9]+)_.*,\1,' | sort -n | tail -1); \
	file=$$(printf 'migrations/%05d_%s.sql' $$((last + 1)) "$(NAME)"); \
	printf -- '-- +goose Up\n\n-- +goose Down\n' >"$$file" && echo "$$file"

##@ Help

.PHONY: help
help: ## This list
	@awk 'BEGIN { FS = ":.*## " } /^##@/ { printf "\n%s\n", substr($$0, 5) } /^[a-z-]+:.*## / { printf "  %-18s %s\n", $$1, $$2 }' Makefile
