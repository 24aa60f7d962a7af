# What to type in a checkout. `make` alone prints this list; CI runs only these targets.

# The interpreter of the environment; else the first of 3.11 to 3.14 that is found.
PYTHON ?=
# More arguments for the command behind a target, as in: make test ARGS="-k fold -x"
ARGS ?=

BIN := .venv/bin
SOURCES := src tests examples benchmarks tools
# Three processes for two cores, at least two, each with a PostgreSQL of its own. ARGS="-n 0" runs the
# tests in one process, ARGS="-n 4" in four.
PARALLEL := --numprocesses=auto --dist=worksteal

.DEFAULT_GOAL := help
.PHONY: help demo test chaos outages soak conformance kills storm replay coverage screenshots check lint types imports package tracked format bench reference lock clean rebuild compiled

help: ## Print this list
	@awk 'BEGIN { FS = ":.*## " } \
	  /^##@/ { printf "\n%s\n", substr($$0, 5) } \
	  /^[a-z]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile

##@ Use it

demo: .venv/project ## Load a year of flights into a database of its own; show its page
	@$(BIN)/dama run --page flights.load $(ARGS)

chaos: .venv/dev .venv/project ## Outages, cancelled statements, dying workers (ARGS="--minutes 30")
	@$(BIN)/python -m tests.acceptance.chaos $(ARGS)

outages: .venv/dev .venv/project ## One outage at each moment of a run (SECONDS="35 70 120")
	@OUTAGES="$(or $(SECONDS),35 70 120)" \
	  $(BIN)/python -m pytest --numprocesses=8 tests/integration/test_outages.py $(ARGS)

soak: .venv/dev .venv/project ## 2,000 programs whose supervisors are killed (ARGS="--programs 100")
	@$(BIN)/python -m tests.acceptance.program_soak $(ARGS)

conformance: .venv/dev .venv/project ## The cases that each kind of launcher passes, as a table
	@$(BIN)/python tools/conformance.py $(ARGS)

kills: .venv/dev .venv/project ## Kill launching workers while they place runs (KILLS=200)
	@DAMA_TEST_PARTS=1 DAMA_TEST_KILLS=$(or $(KILLS),200) \
	  $(BIN)/python -m pytest -k at_any_moment tests/engines/test_placed.py $(ARGS)

storm: .venv/dev .venv/project ## Every verb of the store at once, among strangers' locks (ARGS="--minutes 10")
	@$(BIN)/python -m tests.integration.storm $(ARGS)

replay: .venv/dev .venv/project ## Random programs, killed and parked at each event (PROGRAMS=500 SEED=7)
	@REPLAY_PROGRAMS=$(or $(PROGRAMS),100) REPLAY_SEED=$(or $(SEED),1) REPLAY_ROUNDS=60 REPLAY_COPIES=20 \
	  $(BIN)/python -m pytest tests/integration/random_programs_alike.py tests/integration/test_structured.py \
	    tests/integration/test_replay_given_up.py \
	    tests/acceptance/test_pipelines.py $(ARGS)

bench: .venv/dev .venv/project ## Measure this machine (ARGS= picks one)
	@$(BIN)/python -m benchmarks $(ARGS)

##@ Change it

test: .venv/dev .venv/project ## Run the tests side by side (ARGS="-k name" picks some)
	@$(BIN)/python -m pytest $(PARALLEL) $(ARGS)

coverage: .venv/dev .venv/project ## Run the tests and list the branches that none of them takes
	@$(BIN)/python -m coverage run -m pytest $(PARALLEL) $(ARGS)
	@$(BIN)/python -m coverage combine --quiet
	@$(BIN)/python -m coverage report

screenshots: .venv/dev .venv/project ## Take a picture of each page, into build/screenshots
	@$(BIN)/python tools/screenshots.py $(ARGS)

check: lint tracked imports package types ## Everything short of the tests: style, types, layers, package

format: .venv/dev ## Rewrite the sources in the one format
	@$(BIN)/python -m ruff check --quiet --fix-only $(wildcard $(SOURCES))
	@$(BIN)/python -m ruff format $(wildcard $(SOURCES))

##@ Keep it

reference: .venv/project ## Write the pages of docs/reference that are made from the code
	@$(BIN)/python tools/reference.py $(ARGS)

lock: .venv/project ## Renew the pinned requirements from pyproject.toml
	@sh tools/lock

clean: ## Remove what was made here: environment, caches, packages
	@rm -rf .venv build dist .coverage .coverage.* .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	@find $(wildcard $(SOURCES)) -name __pycache__ -type d -prune -exec rm -rf {} +

# What CI does while the one process of `types` leaves a core alone: each process of the tests would.
compiled: .venv/dev .venv/project
	@$(BIN)/python tools/compile.py --tests

# The parts of `check`, each of which may be asked for alone.

lint: .venv/dev
	@echo "ruff: rules and format"
	@$(BIN)/python -m ruff check --quiet $(wildcard $(SOURCES))
	@$(BIN)/python -m ruff format --quiet --check $(wildcard $(SOURCES))

types: .venv/dev .venv/project
	@echo "basedpyright: types of src, of the examples, and of what must be refused"
	@$(BIN)/python -m basedpyright

imports: .venv/dev .venv/project
	@echo "import-linter: who imports whom"
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/python tools/check_shape.py

package: .venv/dev
	@echo "package: build, look inside, start"
	@$(BIN)/python tools/check_package.py

tracked: .venv/made
	@echo "tracked files: nothing of this machine"
	@$(BIN)/python tools/check_tracked.py

# The environment, in four stamps, so that only what changed is done again:
# made (empty), run (what the product needs), dev (all tools), project (itself, editable).
# It holds absolute paths: one that was copied or moved here, or lost its Python, is made again.

ifneq ($(shell test -x $(BIN)/python && cat .venv/made 2>/dev/null),$(CURDIR))
.venv/made: rebuild
endif

.venv/made:
	@sh tools/environment create '$(PYTHON)'

.venv/run: requirements/run.txt .venv/made
	@sh tools/environment install $<

.venv/dev: requirements/dev.txt .venv/run .venv/made
	@sh tools/environment install $<

.venv/project: pyproject.toml .venv/run .venv/made
	@sh tools/environment project
