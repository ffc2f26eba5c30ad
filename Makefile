# make run: the emulated charger in this terminal.   make test: the fast tests.   make help: everything else.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
# The stamp says which pyproject.toml the environment was made from; a newer one makes it stale.
STAMP := $(VENV)/.ready
# OpenDER and what it needs: only for what compares with it.
BENCH := $(VENV)/.ready-bench
PYTEST := $(BIN)/pytest
# What reaches every branch of them. The long sweeps reach nothing more, and a tracer makes them four times as long.
COVERED := tests/protection tests/grid_support tests/test_grid_codes.py tests/test_grid_code_profiles.py \
	$(addprefix --ignore=tests/protection/test_,islanding_catalogue.py properties.py shortcuts.py collapse.py)
# The SECC's package pins its dependencies exactly: an environment of its own.
SECC_VENV := .venv-secc
SECC_STAMP := $(SECC_VENV)/.ready
# Hundreds of processes start in the tests, each of all the firmware: with bytecode kept they do not compile it again.
unexport PYTHONDONTWRITEBYTECODE
# Of the slow tests with whole rigs in real time so many run at a time: 2 saves some minutes on a quiet machine.
BESIDE ?= 0
# Properties try the same examples in each `make` and so in CI; pytest by hand searches anew (tests/conftest.py).
export QUADRANT_SAME_EXAMPLES ?= 1
# Passed on to the command: make run ARGS="--headless --for 60", make demo ARGS="--speed 10"
ARGS ?=

.PHONY: help setup run test test-slow coverage check lint bench compiled demo screenshots docs packages-slow packages-bench packages-compiled fuzz-exi clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## */\t/' | expand -t 14

setup: $(STAMP) $(SECC_STAMP)  ## make the environments in .venv and .venv-secc (every other target does this by itself)

$(STAMP): pyproject.toml .ci/setup.sh
	@.ci/setup.sh $(VENV)
	@touch $@

# The script leaves no stamp where it could not install: then it is tried again next time, and nothing stops.
$(SECC_STAMP): firmware/bridges/secc/requirements.txt .ci/setup-secc.sh | $(STAMP)
	@.ci/setup-secc.sh $(SECC_VENV) $(VENV)

$(BENCH): $(STAMP) pyproject.toml
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[bench,browser]'
	@touch $@

run: $(STAMP) $(SECC_STAMP)  ## the emulated rig, the charger on board desk, a car, and the live view; Ctrl-C ends it
	@$(BIN)/quadrant run $(ARGS)

# worksteal: neighbours stay on one worker, so what they share is made once (loadgroup does nothing with pytest 9.2).
test: $(STAMP) $(SECC_STAMP)  ## the fast tests
	$(PYTEST) -n auto --dist worksteal -m "not slow"

# Simulated time and small processes first, on all cores; then those with whole rigs in real time; then,
# one at a time, those that measure real processes to milliseconds.
test-slow: $(BENCH) $(SECC_STAMP) packages-slow  ## the slow tests: real processes, real SocketCAN, kill -9, long simulations
	$(PYTEST) -n auto --dist worksteal -m "slow and not (alone or waits)" -rfERs
	$(PYTEST) -n $(BESIDE) --dist loadfile -m "slow and waits" -rfERs
	$(PYTEST) -n 0 -m "slow and alone" -rfERs

# Protection decides whether people on a line are safe: no branch of it without a test.
coverage: $(STAMP)  ## fail unless the tests of protection and grid support reach every branch of them
	@mkdir -p out && rm -f out/coverage*
	$(BIN)/coverage run -m pytest -n auto --dist worksteal -m "not slow" $(COVERED)
	@$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

lint: $(STAMP)  ## style, types, who may import whom
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint test  ## what CI runs before the slow tests

bench: $(BENCH) $(SECC_STAMP) packages-bench  ## measure tick cost, lateness, detection-to-command latency, codec rate
	@$(BIN)/python -m tests.bench.run $(ARGS)

# Chooses by the digest of the sources, not by their times, whether there is anything to do.
compiled: $(STAMP) packages-compiled  ## what a step runs through as C modules, in out/compiled: docs/compiled.md
	@$(BIN)/python -m hil.compiled.build out/compiled

demo: $(STAMP)  ## the grid of Toledo on 28 April 2025, and the charger that was discharging into it
	@$(BIN)/quadrant demo blackout $(ARGS)

docs: $(BENCH)  ## write the generated documents again
	$(BIN)/python -m firmware.guard.events_doc > docs/events.md
	$(BIN)/python -m firmware.status_fields > docs/status-reference.md
	$(BIN)/python -m tests.measurement.accuracy
	$(BIN)/python -m firmware.grid_codes.document > docs/grid-codes.md
	$(BIN)/python -m hil.conformance.document > docs/conformance.md
	$(BIN)/python -m tests.mutate_document
	$(BIN)/python -m tests.bench.opender_document

fuzz-exi: $(STAMP) $(SECC_STAMP)  ## a million broken messages against the EXI decoder
	@$(BIN)/python -m tests.secc.fuzz_exi $(ARGS)

screenshots: $(BENCH)  ## pictures of the service screen into docs/img, of a whole emulated charger
	@.ci/packages.sh chromium:chromium
	@$(BIN)/python -m tests.web.screenshots

packages-slow:
	@.ci/packages.sh linux.uml:user-mode-linux candump:can-utils insmod:kmod ip:iproute2 mosquitto:mosquitto java:default-jre-headless chromium:chromium tshark:tshark

packages-bench:
	@.ci/packages.sh cyclictest:rt-tests stress-ng:stress-ng java:default-jre-headless

packages-compiled:
	@.ci/packages.sh gcc:gcc python3-config:python3-dev

clean:  ## remove the environment, caches and outputs (records in the run directory stay)
	rm -rf $(VENV) $(SECC_VENV) build dist out *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
