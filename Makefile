# Weir: `make demo` shows a release, `make test` proves it, `make help` lists the rest.
# What is built for tests goes to $(BIN), outside the checkout, so that clones share it.
# Builds have the flags of the tests, so that both share what is compiled.
SHELL    := /bin/bash
CACHE    ?= $(or $(WEIR_CACHE),$(HOME)/.cache/weir)
BIN      := $(CACHE)/bin
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS  := -X github.com/weir-dev/weir/cmd/weir/cli.version=$(VERSION)
LINT     := $(BIN)/golangci-lint-$(LINT_VERSION)
LINT_VERSION := v2.15.0
# Schedules that the simulation of the decision core runs in `make sim`.
SCHEDULES ?= 1000000

# What the release suite repeats on a cluster without MutatingAdmissionPolicy.
PAUSED_TESTS := ^Test(Promote|RollbackByMetric|Abort|NewTemplateMidRelease|RevertToStable|FirstDeployment|Deletion|GitOpsWriters|Native|ControllerKilled)$$

export WEIR_CACHE := $(CACHE)

.DEFAULT_GOAL := help
.PHONY: help
help: ## Show this list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

.PHONY: build
build: ## Build weir (also as kubectl-weir) into the cache
	go build -ldflags '$(LDFLAGS)' -o $(BIN)/weir ./cmd/weir
	ln -sf weir $(BIN)/kubectl-weir

.PHONY: sandbox
sandbox: ## Build the sandbox: a real control plane, Prometheus, a gateway
	@.tools/build-sandbox.sh

.PHONY: demo
demo: sandbox build ## Show a bad release rolled back and a good one promoted (KEEP=1 stays up)
	@go build -C e2e -o $(BIN)/weir-demo ./demo
	@mkdir -p .out
	@$(BIN)/weir-demo --out .out/demo.json $(if $(KEEP),--keep)

.PHONY: test
test: unit sim e2e ## Run all tests: unit, simulation, end to end on the sandbox

.PHONY: unit
unit: ## Run the unit tests of all modules
	go test ./...
	cd e2e/sandbox && go test ./...

.PHONY: sim
sim: ## Run SCHEDULES simulated schedules of the decision core, all invariants checked
	WEIR_SIM_SCHEDULES=$(SCHEDULES) go test -count=1 -timeout 30m -run 'TestSimulation' -v ./rollout/sim

.PHONY: e2e
e2e: sandbox build ## Run the end-to-end suites on the sandbox
	$(MAKE) -C e2e/sandbox BIN=$(BIN) test
	cd e2e && go test -count=1 -p 1 -parallel 4 -timeout 60m ./...
	cd e2e && WEIR_E2E_HOLD=Paused go test -count=1 -parallel 4 -timeout 20m -run '$(PAUSED_TESTS)' ./suites/release

.PHONY: bench
bench: sandbox build ## Measure 200 releases at once and 5,000 idle Rollouts
	@go build -C e2e -o $(BIN)/weir-bench ./bench
	@mkdir -p .out
	@$(BIN)/weir-bench --out .out/bench.json

.PHONY: generate
generate: ## Write generated code, CRDs and docs anew
	go generate ./...

.PHONY: verify
verify: ## Fail when generated files are not up to date, or go.mod is not tidy
	@.tools/verify.sh

.PHONY: lint
lint: $(LINT) ## Run the linters, the import rule among them
	$(LINT) run ./...
	cd e2e && $(LINT) run --config ../.golangci.yml ./...
	cd e2e/sandbox && $(LINT) run --config ../../.golangci.yml ./...

$(LINT):
	GOBIN=$(CACHE)/lint go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINT_VERSION)
	@mkdir -p $(BIN) && mv $(CACHE)/lint/golangci-lint $@
