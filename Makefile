# `make help` lists the targets.
GO        ?= go
GOLANGCI  ?= $(GO) run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
REPORTS   ?= reports-out
EXAMPLES  := e2e-framework ginkgo
# One way to compile for all targets: containers need the static one, and two
# ways would compile every dependency twice.
export CGO_ENABLED ?= 0
# Without what only a debugger reads: kind's nodes are given the program each.
GO_LDFLAGS ?= -s -w
# Packages whose tests bring labs up: one after another, for they measure.
LABS      := ./fixtures/embedded ./fixtures/existing ./fixtures/stack/admin ./fixtures/stack/chart ./fixtures/stack/mesh ./fixtures/stack/mcs ./fixtures/stack/ingress ./suites ./cmd/atoll
TOPOLOGY  ?= topologies/three-regions.yaml
# Of the matrix: topologies, versions of Kubernetes, providers.
MATRIX    ?= two-clusters three-regions
VERSIONS  ?= v1.36.3,v1.35.0
PROVIDERS ?= embedded,kind
CROSS     ?= linux/amd64 linux/arm64 darwin/amd64 darwin/arm64

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "%-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## bin/atoll
	$(GO) build -ldflags="$(GO_LDFLAGS)" -o bin/atoll ./cmd/atoll

.PHONY: binaries
binaries: ## find or build the Kubernetes binaries (about 5 minutes, once)
	$(GO) run ./cmd/atoll binaries

.PHONY: test
test: binaries ## every test, the embedded labs included
	$(GO) test -short ./...
	KUBEBUILDER_ASSETS=$$($(GO) run ./cmd/atoll binaries -q) $(GO) test -timeout 20m -p 1 $(LABS)
	for e in $(EXAMPLES); do (cd examples/$$e && $(GO) test -timeout 10m ./...) || exit 1; done

.PHONY: kind
kind: ## the kind provider's tests and two-clusters on it: needs a Docker Engine
	ATOLL_TEST_KIND=1 $(GO) test -timeout 40m ./fixtures/kind/...
	ATOLL_TEST_KIND=1 $(GO) test -timeout 40m -p 1 -run OnKind ./fixtures/existing ./fixtures/stack/mesh ./fixtures/stack/mcs
	$(GO) build -ldflags="$(GO_LDFLAGS)" -o bin/atoll ./cmd/atoll
	bin/atoll doctor --provider kind two-clusters
	bin/atoll run two-clusters --provider kind --reports $(REPORTS)/kind

.PHONY: matrix
matrix: ## the library's topologies × VERSIONS × PROVIDERS: needs a Docker Engine for kind
	$(GO) build -ldflags="$(GO_LDFLAGS)" -o bin/atoll ./cmd/atoll
	bin/atoll matrix $(MATRIX) --kubernetes $(VERSIONS) --provider $(PROVIDERS) --reports $(REPORTS)

.PHONY: unit
unit: ## the tests that bring no lab up: seconds
	$(GO) test -short ./...

.PHONY: images-test
images-test: ## make the node image and look into it; needs Docker and mmdebstrap, 20 minutes the first time
	$(GO) test -tags docker -run 'TestNodeImage|TestSaveAndLoad' -count 1 -timeout 40m -v ./fixtures/images

.PHONY: e2e
e2e: build ## run TOPOLOGY, reports in REPORTS
	bin/atoll run $(TOPOLOGY) --reports $(REPORTS)

.PHONY: invert
invert: build ## break each scenario's world: all must fail
	bin/atoll run $(TOPOLOGY) --invert --reports $(REPORTS)/inverted

.PHONY: bench
bench: build ## the figures in docs/benchmarks.md (the WAN's need root)
	$(GO) test -run '^$$' -bench . -benchtime 5x -timeout 30m ./fixtures/embedded/...
	$(GO) test -run '^$$' -bench . ./sim/...
	$(GO) test -run '^$$' -bench . -benchtime 5x -timeout 30m ./cmd/atoll
	-bin/atoll bench wan

.PHONY: lint
lint: ## vet, format, golangci-lint
	@test -z "$$(gofmt -l . | tee /dev/stderr)" || { echo 'run gofmt -w'; exit 1; }
	$(GO) vet ./...
	for e in $(EXAMPLES); do (cd examples/$$e && $(GO) vet ./...) || exit 1; done
	$(GOLANGCI) run

.PHONY: cross
cross: ## compile for every system and processor we support
	@for t in $(CROSS); do \
	  echo $$t; GOOS=$${t%/*} GOARCH=$${t#*/} $(GO) build -o /dev/null ./cmd/atoll || exit 1; done

.PHONY: generate
generate: ## write what is generated: the schema
	$(GO) generate ./...

.PHONY: verify
verify: generate ## nothing generated is out of date
	git diff --exit-code
	$(GO) mod verify
