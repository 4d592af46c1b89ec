# What people type. Each target does all of its own set-up; `make` alone lists them.

TARGET_DIR := $(abspath $(or $(CARGO_TARGET_DIR),target))
PYTHON := .venv/bin/python

# $(call skip,WHAT): told loudly on a desk, an error where CI is set.
skip = { echo "SKIPPED: $(1)" >&2; test -z "$$CI"; }

.PHONY: help run test conformance openapi packages clients release bench fuzz fmt lint check clean

help: ## This list
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: ## Starts the gateway: control plane, data plane, and a key to try it with
	cargo run --release -- up

test: packages clients ## All tests: unit, end to end, a fleet, official clients, and the conformance kit where ../shared is
	@mkdir -p $(TARGET_DIR) && date +%s >$(TARGET_DIR)/tests-began
	GATEWAYCTL=$(TARGET_DIR)/debug/gatewayctl cargo test --workspace --no-fail-fast
	@$(MAKE) --no-print-directory conformance openapi
	@cargo run --quiet --package gateway-checks --bin figures -- $(TARGET_DIR)/figures.jsonl $$(cat $(TARGET_DIR)/tests-began)

# Recorded traffic through the debug program, which `cargo test` has built.
conformance: clients
	@test -e .venv/ready || $(call skip,conformance needs the Python environment); \
	 test ! -e .venv/ready || GATEWAYCTL=$(TARGET_DIR)/debug/gatewayctl $(PYTHON) deploy/checks/conformance.py

# Our own OpenAPI document against the debug program.
openapi: clients
	@test -e .venv/ready || $(call skip,the requests made of openapi.json need the Python environment); \
	 test ! -e .venv/ready || GATEWAYCTL=$(TARGET_DIR)/debug/gatewayctl $(PYTHON) deploy/checks/openapi.py

# The official clients, in the versions that the tests were written against.
clients: .venv/ready .node/ready

# Postgres, HAProxy and the like, which the tests start and end themselves.
packages:
	@deploy/checks/packages.sh

release: ## target/release/gatewayctl as it is released: two builds, and traffic between them by which the second is laid out
	deploy/release.sh

bench: release ## Speed and memory against a plain proxy, in one run; BENCH=--quick for a minute's worth
	$(TARGET_DIR)/release/bench $(BENCH)
	cargo run --release --package gateway-engine --example decide
	cargo run --release --package gateway-engine --example admit

# In CI the same inputs each time: what is new there is the code.
fuzz: ## Fuzzes every dialect's decoders, FUZZ_SECONDS (30) each, from recorded traffic where ../shared is
	python3 data-plane/dialects/fuzz/fuzz.py --seconds $(or $(FUZZ_SECONDS),30) --seed $(if $(CI),1,0) --target-dir $(TARGET_DIR)

fmt: ## Formats the sources
	cargo fmt --all

lint: ## Compiler and clippy, warnings are errors
	cargo clippy --workspace --all-targets -- --deny warnings

check: lint ## What a change must pass before the tests: format, lints, the rules of the house
	cargo fmt --all --check
	cargo test --workspace --test tidy

clean: ## Removes what was built
	cargo clean
	rm -rf .venv .node deploy/bench/out

.venv/ready: deploy/checks/requirements.txt
	@{ python3 -m venv .venv && $(PYTHON) -m pip install --quiet --disable-pip-version-check --requirement $< && touch $@; } \
	 || $(call skip,the Python environment could not be made (python3 with venv and a package index are needed))

# Nothing that comes with these is run while they are installed.
.node/ready: deploy/checks/node/package-lock.json
	@{ mkdir -p .node && cp $(<D)/package.json $(<D)/.npmrc $< .node && (cd .node && npm ci) && touch $@; } \
	 || $(call skip,the clients for Node could not be installed (node and npm and a package index are needed))
