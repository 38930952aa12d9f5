# Weir: `make demo` shows a release, `make test` proves it, `make help` lists the rest.
# What is built for tests goes to $(BIN), outside the checkout, so that clones share
# it. All builds and tests have the same compiler flags, so that they share what is
# compiled: a first build takes minutes, and only once.
SHELL    := /bin/bash
CACHE    ?= $(or $(WEIR_CACHE),$(HOME)/.cache/weir)
BIN      := $(CACHE)/bin
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS  := -X github.com/weir-dev/weir/cmd/weir/cli.version=$(VERSION)

LINT_VERSION := v2.15.0
LINT         := $(BIN)/golangci-lint-$(LINT_VERSION)

# The linters vet all code; tests need not do it again, for every dependency.
GOTEST := go test -vet=off

# The container image, and what builds it.
IMAGE  ?= weir:$(VERSION)
DOCKER ?= docker

# Schedules that the simulation of the decision core runs in `make sim`.
SCHEDULES ?= 1000000
SIM_TEST  := ^TestSchedules$$

# What the release suite repeats on a cluster without MutatingAdmissionPolicy.
PAUSED_TESTS := ^Test(Promote|RollbackByMetric|Abort|NewTemplateMidRelease|RevertToStable|FirstDeployment|Deletion|GitOpsWriters|ExtrasUnderGitOps|Native|ControllerKilled|BreakGlass)$$

# The suites that send requests and measure have the machine for themselves.
MEASURING_SUITES := /(conformance|metrics|release)$$

export WEIR_CACHE := $(CACHE)
# As in the image: no C compiler needed, and the same code whether one is there or not.
export CGO_ENABLED := 0
# VERSION says which commit it is, also where git does not answer to the compiler.
export GOFLAGS := $(GOFLAGS) -buildvcs=false
MAKEFLAGS += --no-print-directory

.DEFAULT_GOAL := help
.PHONY: help
help: ## Show this list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

.PHONY: build
build: ## Build weir (also as kubectl-weir) into the cache
	@.tools/build.sh $(BIN)/weir "2 minutes" . ./cmd/weir go build -ldflags '$(LDFLAGS)' -o $(BIN)/weir ./cmd/weir
	@ln -sf weir $(BIN)/kubectl-weir

.PHONY: image
image: ## Build the container image $IMAGE with $DOCKER (docker, podman, ...)
	@mkdir -p .out/image
	GOOS=linux go build -trimpath -ldflags '-s -w $(LDFLAGS)' -o .out/image/weir ./cmd/weir
	$(DOCKER) build -t $(IMAGE) -f .tools/Dockerfile .out/image

.PHONY: sandbox
sandbox: ## Build the sandbox: a real control plane, Prometheus, a gateway
	@.tools/build.sh $(BIN)/sandbox-controlplane "8 minutes" e2e/sandbox/controlplane . $(MAKE) -s -C e2e/sandbox BIN=$(BIN) controlplane
	@.tools/build.sh $(BIN)/sandbox-prometheus "3 minutes" e2e/sandbox/prometheus github.com/prometheus/prometheus/cmd/prometheus $(MAKE) -s -C e2e/sandbox BIN=$(BIN) prometheus
	@.tools/build.sh $(BIN)/sandbox "1 minute" e2e/sandbox ./cmd/sandbox $(MAKE) -s -C e2e/sandbox BIN=$(BIN) sandbox

# The meshes are parts that a sandbox may have: their real control planes, built from
# their modules, and Envoy, which comes out of a Python package.
.PHONY: meshes mesh-istio mesh-linkerd
meshes: mesh-istio mesh-linkerd

mesh-istio: sandbox
	@.tools/build.sh $(BIN)/sandbox-istiod "4 minutes" e2e/sandbox/istiod istio.io/istio/pilot/cmd/pilot-discovery $(MAKE) -s -C e2e/sandbox BIN=$(BIN) istiod
	@$(MAKE) -s -C e2e/sandbox BIN=$(BIN) envoy

mesh-linkerd: sandbox
	@.tools/build.sh $(BIN)/sandbox-linkerd "1 minute" e2e/sandbox/linkerd . $(MAKE) -s -C e2e/sandbox BIN=$(BIN) linkerd

.PHONY: demo
demo: sandbox $(if $(MESH),mesh-$(MESH)) build ## Show a bad release rolled back and a good one promoted (KEEP=1 stays up; MESH=istio by istiod and Envoy)
	@.tools/build.sh $(BIN)/weir-demo "1 minute" e2e ./demo go build -C e2e -o $(BIN)/weir-demo ./demo
	@mkdir -p .out
	@$(BIN)/weir-demo --out .out/demo.json $(if $(KEEP),--keep) $(if $(MESH),--mesh=$(MESH))
	@$(if $(MESH),:,echo "Through Istio's control plane and an Envoy: make demo MESH=istio, which needs Python 3 with pip.")

.PHONY: test
test: unit sim e2e ## Run all tests: unit, simulation, end to end on the sandbox

.PHONY: unit
unit: ## Run the unit tests of all modules
	$(GOTEST) ./...
	cd e2e && $(GOTEST) $$(go list ./... | grep -v /suites/)
	cd e2e/sandbox && $(GOTEST) ./...

.PHONY: sim
sim: ## Run SCHEDULES simulated schedules of the decision core, all invariants checked
	WEIR_SIM_SCHEDULES=$(SCHEDULES) $(GOTEST) -count=1 -timeout 60m -run '$(SIM_TEST)' -v ./rollout/sim

.PHONY: e2e
e2e: sandbox build ## Run the end-to-end suites on the sandbox
	$(MAKE) -C e2e/sandbox BIN=$(BIN) test
	cd e2e && $(GOTEST) -count=1 -p 2 -parallel 3 -timeout 60m $$(go list ./suites/... | grep -vE '$(MEASURING_SUITES)|/mesh/')
	cd e2e && $(GOTEST) -count=1 -p 1 -parallel 4 -timeout 60m $$(go list ./suites/... | grep -E '$(MEASURING_SUITES)')
	cd e2e && WEIR_E2E_HOLD=Paused $(GOTEST) -count=1 -parallel 4 -timeout 20m -run '$(PAUSED_TESTS)' ./suites/release
	@echo "Left out: the suites on Istio's and Linkerd's control planes. Run them by 'make test-mesh', which needs Python 3 with pip."

.PHONY: test-mesh
test-mesh: meshes build ## Run the suites on Istio's and Linkerd's control planes (needs Python 3 with pip)
	$(MAKE) -C e2e/sandbox BIN=$(BIN) test-mesh test-linkerd
	cd e2e && $(GOTEST) -count=1 -p 1 -parallel 3 -timeout 30m ./suites/mesh/...

.PHONY: bench
bench: sandbox build ## Measure 200 releases at once and 5,000 idle Rollouts
	@.tools/build.sh $(BIN)/weir-bench "1 minute" e2e ./bench go build -C e2e -o $(BIN)/weir-bench ./bench
	@mkdir -p .out
	@$(BIN)/weir-bench --out .out/bench.json

.PHONY: generate
generate: ## Write generated code and CRDs anew
	go generate ./...

.PHONY: tidy
tidy: ## Tidy the module files, and the list of what the decision core depends on
	@.tools/tidy.sh

.PHONY: verify
verify: ## Fail when generated files, module files or texts are not as they should be
	@SIM_TEST='$(SIM_TEST)' PAUSED_TESTS='$(PAUSED_TESTS)' .tools/verify.sh

# The sandbox's control plane is left out: to lint its two files takes the types of
# all of Kubernetes, and gigabytes.
# In the control plane's module, which holds two files of ours, only those linters
# run that need not analyse Kubernetes.
.PHONY: lint
lint: $(LINT) ## Run the linters, the import rule among them
	$(LINT) run ./...
	cd e2e && $(LINT) run --config ../.golangci.yml ./...
	cd e2e/sandbox && $(LINT) run --config ../../.golangci.yml ./...
	@.tools/import-rule.sh $(LINT)

$(LINT):
	@.tools/build.sh $@ "4 minutes" . "" env GOBIN=$(CACHE)/lint go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINT_VERSION)
	@mkdir -p $(BIN) && mv $(CACHE)/lint/golangci-lint $@
