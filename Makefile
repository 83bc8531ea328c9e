# xaltpipe's commands are built, checked and tested from here: make help.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

GO ?= go
export CGO_ENABLED = 0

# The commands, and the tools with their versions.
COMMANDS := $(notdir $(wildcard cmd/*))
TOOLS := $(CURDIR)/bin/tools
GOLANGCI_LINT_VERSION := v2.15.0
GOVULNCHECK_VERSION := v1.8.0
BENCHSTAT_VERSION := v0.0.0-20260908200009-22c9c6c9d4da
NFPM_VERSION := v2.45.2
GOLANGCI_LINT := $(TOOLS)/golangci-lint-$(GOLANGCI_LINT_VERSION)
GOVULNCHECK := $(TOOLS)/govulncheck-$(GOVULNCHECK_VERSION)
BENCHSTAT := $(TOOLS)/benchstat-$(BENCHSTAT_VERSION)
NFPM := $(TOOLS)/nfpm-$(NFPM_VERSION)

FUZZTIME ?= 20s
BENCH ?= .
COUNT ?= 1
OLD ?= bench-old.txt
NEW ?= bench.txt
DEMO_DB ?= build/demo.db

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## build the commands, static, into bin/
	$(GO) build -trimpath -buildvcs=auto -o bin/ $(addprefix ./cmd/,$(COMMANDS))

.PHONY: demo
demo: build ## ingest the sample log into an SQLite file and show what is there
	@mkdir -p $(dir $(DEMO_DB))
	rm -f $(DEMO_DB) $(DEMO_DB)-wal $(DEMO_DB)-shm
	bin/syslog2db --config /dev/null --db sqlite:$(DEMO_DB) --timezone UTC -reverseMapD=testdata/reverseMapD --u2acct testdata/u2acct.json testdata/xalt.log
	bin/syslog2db summary --config /dev/null --db sqlite:$(DEMO_DB) --sql

.PHONY: test
test: ## run the tests
	$(GO) test -timeout=40m ./...

.PHONY: ci
ci: FUZZTIME = 10s
ci: deps build check man vuln packages fuzz race ## install what is missing, check, fuzz, and run all tests
	$(GO) test -count=1 -p 1 -timeout=40m ./... # one by one: those of xalt-wrap measure what signals do
	scripts/servers -short postgres-13 postgres-sid mysql-sid
	scripts/arm64

.PHONY: deps
deps: ## install the Debian packages that the tests need (as root)
	@scripts/deps

.PHONY: check
check: $(GOLANGCI_LINT) ## format, vet and lint the code and the scripts
	@out=$$($(GO)fmt -l cmd internal scripts); [[ -z $$out ]] || { echo "not formatted: $$out" >&2; exit 1; }
	$(GO) vet ./...
	$(GOLANGCI_LINT) run ./...
	@scripts/shellcheck

.PHONY: fmt
fmt: $(GOLANGCI_LINT) ## format the code
	$(GOLANGCI_LINT) fmt ./...

.PHONY: race
race: ## run the tests with the race detector (needs gcc)
	@if ! command -v gcc >/dev/null; then echo "race: no gcc, not run" >&2; [[ $${REQUIRE_TOOLS:-} != 1 ]]; exit; fi; \
	CGO_ENABLED=1 $(GO) test -race -short -timeout=40m $$($(GO) list ./... | grep -vE '/internal/acceptance$$|/deploy$$|/cmd/xalt-wrap$$') # they run commands as processes

.PHONY: fuzz
fuzz: ## run each fuzz target for FUZZTIME (20s)
	@FUZZTIME=$(FUZZTIME) scripts/fuzz

.PHONY: servers
servers: ## test with PostgreSQL, MySQL and MariaDB of other systems, old and new (as root)
	scripts/servers

.PHONY: arm64
arm64: ## test xalt-wrap for arm64 (as root, with QEMU)
	scripts/arm64

.PHONY: soak
soak: ## the long tests: fuzzing for ten minutes each, hundreds of kills
	@FUZZTIME=10m scripts/fuzz
	XALT_SOAK=1 $(GO) test -count=1 -timeout=24h ./...

.PHONY: bench
bench: ## run the benchmarks BENCH (all) COUNT (1) times, into bench.txt
	$(GO) test -run='^$$' -bench='$(BENCH)' -benchmem -count=$(COUNT) ./... | tee $(NEW)

.PHONY: benchstat
benchstat: $(BENCHSTAT) ## compare OLD (bench-old.txt) with NEW (bench.txt)
	$(BENCHSTAT) $(OLD) $(NEW)

.PHONY: vuln
vuln: $(GOVULNCHECK) ## look for known vulnerabilities in what we use
	@scripts/vuln $(GOVULNCHECK)

.PHONY: man
man: ## check the manual pages
	@if ! command -v mandoc >/dev/null; then echo "man: no mandoc, not checked" >&2; [[ $${REQUIRE_TOOLS:-} != 1 ]]; exit; fi; \
	set -x; mandoc -Tlint -Wwarning docs/man/*.1

.PHONY: completions
completions: build ## write the shell completions into build/completions/
	@mkdir -p build/completions
	@for c in $(COMMANDS); do \
		bin/$$c completion bash >build/completions/$$c.bash; \
		bin/$$c completion zsh >build/completions/_$$c; \
		bin/$$c completion fish >build/completions/$$c.fish; \
	done

.PHONY: packages
packages: $(NFPM) completions ## make the .deb and .rpm packages, into dist/
	@NFPM=$(NFPM) scripts/packages

.PHONY: clean
clean: ## remove what was built
	rm -rf bin build dist

# The tools are built once per version.
$(GOLANGCI_LINT):
	$(call install,golangci-lint,github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_LINT_VERSION),$@)

$(GOVULNCHECK):
	$(call install,govulncheck,golang.org/x/vuln/cmd/govulncheck@$(GOVULNCHECK_VERSION),$@)

$(NFPM):
	$(call install,nfpm,github.com/goreleaser/nfpm/v2/cmd/nfpm@$(NFPM_VERSION),$@)

$(BENCHSTAT):
	$(call install,benchstat,golang.org/x/perf/cmd/benchstat@$(BENCHSTAT_VERSION),$@)

install = GOBIN=$(TOOLS) $(GO) install $(2) && mv $(TOOLS)/$(1) $(3)
