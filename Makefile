# make test        the tests, with the race detector
# make lint        gofmt, go vet, staticcheck
# make fuzz        every fuzz target for FUZZTIME
# make bench       bluesky beside other backup programs, see bench/README.md
# make benchprune  what forget and prune take, and what prunes rewrite
# make microbench  the benchmarks of the packages
# make mutants     break the program on purpose, one rule at a time: a test fails
# make soak        the long campaigns, TestSoak…, and every fuzz target, for SOAKTIME each

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.ONESHELL:
.DEFAULT_GOAL := build
.PHONY: build test deps lint fuzz bench benchprune microbench mutants soak

GO ?= go
PKG ?= ./...
FUZZTIME ?= 30s
SOAKTIME ?= 10m
# The packages whose tests take longest come first, so that none is left alone at the end.
LONGEST := ./cmd ./store/faulttest ./prune ./backup ./repo ./check
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2

build:
	$(GO) build -o bin/bluesky .

# The race detector needs a C compiler. Without one the tests still run, and
# say what they did not look for. The campaigns of prune that let one operation
# happen at a time take a sample with it, if any, and run whole without. Some
# packages mostly wait, so more are tested at once than there are processors.
test: deps
	@race=-race
	if ! command -v "$$($(GO) env CC)" >/dev/null; then
		race=
		echo "make test: no C compiler, so the race detector is OFF" >&2
	fi
	whole=
	first=
	if [[ "$(PKG)" == ./... ]]; then first="$(LONGEST)"; fi
	if [[ -n $$race && -n $$first ]]; then
		$(GO) test ./prune &
		whole=$$!
	fi
	failed=0
	CGO_ENABLED="$${race:+1}" $(GO) test $$race -p 4 -timeout 8m $$first $(PKG) || failed=1
	if [[ -n $$whole ]]; then wait $$whole || failed=1; fi
	exit $$failed

# What tests use besides Go: a C compiler, and the tools that set and show
# attributes, ACLs and capabilities.
deps:
	@missing=()
	need() { command -v "$$1" >/dev/null || missing+=("$$2"); }
	PATH="$$PATH:/usr/sbin:/sbin"
	need "$$($(GO) env CC)" gcc
	need setfattr attr
	need setfacl acl
	need setcap libcap2-bin
	if [[ "$${missing[*]}" == *gcc* ]]; then missing+=(libc6-dev); fi
	if (($${#missing[@]} == 0)); then exit 0; fi
	if [[ $$EUID == 0 ]] && command -v apt-get >/dev/null; then
		export DEBIAN_FRONTEND=noninteractive
		apt-get update -q >/dev/null && apt-get install -qy --no-install-recommends "$${missing[@]}" >/dev/null && exit 0
	fi
	echo "make test: missing: $${missing[*]}; tests that need them will fail" >&2

lint:
	@unformatted=$$(gofmt -l .)
	if [[ -n $$unformatted ]]; then
		echo "gofmt -w $$unformatted" >&2
		exit 1
	fi
	$(GO) vet $(PKG)
	$(GO) run $(STATICCHECK) $(PKG)

fuzz:
	@for package in $$($(GO) list $(PKG)); do
		for target in $$($(GO) test -list '^Fuzz' "$$package" | grep '^Fuzz' || true); do
			echo "== $$package $$target"
			$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) "$$package"
		done
	done

# BENCH has flags for it, such as -n 5 or -trees small.
bench: build
	$(GO) build -o bin/bench ./bench
	bin/bench -tools bluesky=bin/bluesky,restic,kopia,borg -out bin/bench.md $(BENCH)
	cat bin/bench.md

# TOOLS names the other programs, as name or name=path; ROUNDS says how often each
# program prunes each tree; BENCH has flags, such as -dir for a folder to work in.
TOOLS ?= restic,kopia,borg
ROUNDS ?= 3
benchprune: build
	$(GO) build -o bin/bench ./bench
	bin/bench -n $(ROUNDS) -phases forget,prune -tools bluesky=bin/bluesky,$(TOOLS) -out bin/prune.md $(BENCH)
	bin/bench -history 30 -tools bluesky=bin/bluesky,$(TOOLS) -out bin/history.md $(BENCH)
	$(GO) test ./prune -run '^TestProportion$$' -v -bench '^BenchmarkWaste$$' -benchtime 3x >bin/steps.txt
	$(GO) test ./prune -run '^$$' -v -bench '^BenchmarkSteps$$' -benchtime 1x >>bin/steps.txt
	cat bin/prune.md bin/history.md
	grep -E '×, |^Benchmark.*/op|: .* s; |die, ' bin/steps.txt

microbench:
	$(GO) test -run '^$$' -bench . -benchmem $(PKG)

# The table is in mutants/, and docs/testing.md says what each mutant meets.
mutants:
	$(GO) run ./mutants

# Tests named TestSoak… skip unless BLUESKY_SOAK says how long each may run.
soak:
	BLUESKY_SOAK=$(SOAKTIME) $(GO) test -count 1 -timeout 0 -v -run '^TestSoak' $(PKG)
	$(MAKE) fuzz FUZZTIME=$(SOAKTIME)
