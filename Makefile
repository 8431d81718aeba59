# The only list of commands. `make help` prints it.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
BUILD ?= build/release
UV := .venv/bin/uv
PY := .venv/bin/python
APT := cmake ninja-build ccache mold librdkafka-dev libsimdjson-dev libxxhash-dev nlohmann-json3-dev libgtest-dev
# Debian's own Python has its venv and headers in packages of their own; others bring them.
ifeq ($(shell command -v $(PYTHON)),/usr/bin/python3)
APT += python3-venv python3-dev
endif
ifeq ($(shell command -v c++),)
APT += g++
endif
# Only the tests with real services need these; make build and make test-fast do not. (Debian's postgresql starts a
# server of its own, which the tests do not use: they start theirs.)
APT_TEST := openjdk-17-jdk-headless maven postgresql mariadb-server-core mariadb-client-core

help: ## print this list
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

system: ## install the Debian packages the build needs (asks at a terminal; YES=1 does not ask)
	@scripts/system.sh $(APT)

.venv/.ready: requirements/dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "frazil: Python 3.11 or newer is needed; '$(PYTHON)' is older."; echo "  set PYTHON=python3.x"; exit 1; }
	$(PYTHON) -m venv .venv
	.venv/bin/pip install --quiet --disable-pip-version-check uv==0.13.9
	$(UV) pip install --quiet --python $(PY) -r requirements/dev.txt
	touch $@

build: system .venv/.ready ## build the engine and install frazil into .venv (editable)
	@test -e $(BUILD)/engine_tests || echo "building the C++ engine: some minutes the first time, and quiet"
	$(UV) pip install --quiet --python $(PY) --no-build-isolation --no-deps -e . \
	  -C build-dir=$(BUILD) -C cmake.define.FZ_TESTS=ON

test-fast: build ## the tests that need no service and no root
	$(BUILD)/engine_tests --gtest_brief=1
	$(PY) -m pytest -q -m "not service and not slow"

services: .venv/.ready ## fetch the services of the tests into ~/.cache/frazil/services (YES=1 does not ask)
	@scripts/system.sh $(APT_TEST)
	@$(PY) -m tests.services

test: build services ## the whole suite, real services included
	$(BUILD)/engine_tests --gtest_brief=1
	$(PY) -m pytest -q

demo: build ## a stream into a table, killed on the way: the main job, with no services
	$(PY) -m demo

demo-s3: build services ## the same with a real Kafka broker and a real S3 server
	$(PY) -m demo --services

bench: build ## CPU, speed and memory of W1 to W3 beside a bare loop and DuckDB (bench/README.md)
	cmake --build $(BUILD) --target bare
	FRAZIL_BUILD=$(BUILD) $(PY) -m bench w1 --events 1000000 --peers bare,duckdb
	FRAZIL_BUILD=$(BUILD) $(PY) -m bench w2 --events 1000000 --peers bare,duckdb
	FRAZIL_BUILD=$(BUILD) $(PY) -m bench w3 --events 1000000 --peers bare,duckdb

bench-quick: build ## the same once, with 100,000 events: does it run, is it right
	cmake --build $(BUILD) --target bare
	FRAZIL_BUILD=$(BUILD) $(PY) -m bench w1 --events 100000 --runs 1 --peers bare,duckdb
	FRAZIL_BUILD=$(BUILD) $(PY) -m bench w2 --events 100000 --runs 1 --peers bare,duckdb
	FRAZIL_BUILD=$(BUILD) $(PY) -m bench w3 --events 100000 --runs 1 --peers bare,duckdb

docs: build ## write the page of expressions; check code, links and tables of the documentation
	$(PY) scripts/expression_page.py
	$(PY) scripts/aggregate_page.py
	$(PY) -m pytest -q tests/python/test_docs.py tests/python/test_examples.py tests/python/test_docstrings.py

check: .venv/.ready ## formatting, lint, types
	.venv/bin/ruff check --quiet
	.venv/bin/ruff format --check --quiet
	git ls-files '*.cc' '*.h' | xargs .venv/bin/clang-format --dry-run --Werror
	.venv/bin/mypy

tidy: build ## the style guide as tests: sizes, includes, names, formats, types, stubs
	$(PY) -m pytest -q tests/tidy tests/packaging/test_types.py tests/packaging/test_stubs.py

fmt: .venv/.ready ## format C++ and Python
	.venv/bin/ruff check --quiet --fix
	.venv/bin/ruff format --quiet
	git ls-files '*.cc' '*.h' | xargs .venv/bin/clang-format -i

clang: system
	@scripts/system.sh clang-14 libclang-rt-14-dev

asan: clang .venv/.ready ## the C++ tests with address and undefined behaviour sanitizers
	cmake --preset asan >/dev/null
	ninja -C build/asan engine_tests
	ASAN_OPTIONS=detect_leaks=0 build/asan/engine_tests --gtest_brief=1

# Arrow and librdkafka come without the sanitizer's marks: what their code does among itself is not looked at. Nor does it
# see when memory of Arrow's own allocator goes from one thread to another, so the C library's is used.
tsan: clang .venv/.ready ## the C++ tests of the engine's threads with the thread sanitizer
	cmake --preset tsan >/dev/null
	ninja -C build/tsan engine_tests
	ARROW_DEFAULT_MEMORY_POOL=system TSAN_OPTIONS=ignore_noninstrumented_modules=1 build/tsan/engine_tests --gtest_brief=1 \
	  --gtest_filter='Job*:Worker*:Stage*:Channel*:Exchange*:*Source*:LineReader*:Kafka*:*Restore*:*Lookup*:Dimension*:AccountedPool*:*UpsertSink*:*Spill*:*StatePool*'

SECONDS_EACH ?= 20
fuzz: clang .venv/.ready ## every fuzzer for SECONDS_EACH=20 seconds
	cmake --preset fuzz >/dev/null
	ninja -C build/fuzz
	scripts/fuzz.sh build/fuzz $(SECONDS_EACH)

ROWS ?= 100000000
soak: build ## ROWS=100000000 rows through a pipeline: flat memory, exact counts
	SOAK_ROWS=$(ROWS) $(PY) -m pytest -q tests/soak

.PHONY: help demo demo-s3 system build services test test-fast bench bench-quick docs check tidy fmt clang asan tsan fuzz soak
