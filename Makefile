# The tasks. Each creates what it needs: a virtual environment, the tools, the build. `make` alone lists them.
#
#   make test PYTHON=python3.13      any task, with another interpreter
#   make test ARGS='-k memoize -x'   what pytest (or the benchmark) is told besides
#   make test JOBS=0                 one process

PYTHON ?= python3
JOBS ?= auto
ARGS ?=

TAG := $(shell $(PYTHON) -c 'import sys; print("%d.%d%s" % (*sys.version_info[:2], sys.abiflags))')
$(if $(TAG),,$(error PYTHON=$(PYTHON) does not run))
VENV := .venv/$(TAG)
PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check -qq
PYTEST = $(PY) -m pytest -p randomly --timeout 900 --dist worksteal $(PLUGIN)
NATIVE := setup.py $(wildcard csrc/*/*.[ch] src/samovar/*.pyx src/samovar/*.px[di])
STRICT := -std=c11 -Wall -Wextra -Wconversion -Wshadow -Werror
TARGETS := x86_64-windows-gnu aarch64-windows-gnu aarch64-macos x86_64-linux-musl aarch64-linux-musl x86-linux-gnu
INCLUDE = $(shell $(PY) -c 'import sysconfig; print(sysconfig.get_path("include"))')
# What is about the code of samovar, not about the files around it: the same on every Python.
CODE := tests/unit tests/models tests/parity tests/hostile tests/storm tests/leaks
# What the sanitizers see: all that reaches our C by ways of its own. Left out are what is Python over a Cache (levels 3 and
# 5 but for their native parts, the laboratory, the commands), memory, and whole programs of others, too slow there.
PLAIN := $(foreach room,budget_rules bus cluster codec edge early hot jitter lab near_fills public ring_command \
    schedule tier troubled vault warm,$(foreach kind,unit/test models/test hostile/test_hostile storm/test_storm,\
    tests/$(kind)_$(room)%))
SANITIZED := $(filter-out $(PLAIN) tests/parity/test_programs%,\
    $(foreach kind,unit models hostile storm parity,$(wildcard tests/$(kind)/test_*.py)))

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help build test bench bench-policies lint lint-c portable sanitize refleaks matrix check package clean

help: ## list the tasks
	@echo 'Tasks (with $(PYTHON), which is $(TAG)):'
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' Makefile | column -t -s '|'

build: $(VENV)/.built ## build samovar in place, in a virtual environment (.venv/VERSION)

test: $(VENV)/.built $(VENV)/.check ## the whole quick proof: the pure core, then every test, a few minutes
	$(MAKE) --no-print-directory --silent -j 2 -C tests/c check
	$(PYTEST) -n $(JOBS) tests $(ARGS)

bench: $(VENV)/.bench ## measure samovar beside dict, functools.lru_cache and the peers that install
	$(PY) -m bench $(ARGS)

bench-policies: $(VENV)/.policies ## the eviction rules on public traces, beside what others reach, and replay speed
	$(PY) -m bench.policies $(ARGS)

lint: $(VENV)/.built $(VENV)/.check lint-c ## ruff, mypy --strict, stubtest, and our C under strict warnings
	$(VENV)/bin/ruff check .
	$(PY) -m mypy
	$(PY) -m mypy.stubtest --concise --mypy-config-file pyproject.toml --allowlist tests/typing/stubtest.allow \
	    --ignore-unused-allowlist samovar

lint-c: $(VENV)/.made ## our C files, release and debug, with -Wall -Wextra -Wconversion -Wshadow -Werror
	@echo 'csrc/*/*.c $(STRICT)'
	@for mode in -DNDEBUG -DSV_DEBUG; do ls csrc/*/*.c | xargs -P 2 -n 1 \
	    $(or $(CC),cc) $(STRICT) -O2 $$mode -Icsrc -isystem $(INCLUDE) -c -o /dev/null || exit 1; done

portable: $(VENV)/.zig ## the pure core compiled for Windows, macOS, musl, ARM and 32 bits (by zig's clang)
	@for target in $(TARGETS); do echo "csrc/pure/*.c for $$target"; mkdir -p build/portable/$$target && \
	    (cd build/portable/$$target && ls $(CURDIR)/csrc/pure/*.c | xargs -P 2 -I FILE \
	    $(CURDIR)/$(PY) -m ziglang cc -target $$target $(STRICT) -I$(CURDIR)/csrc -c FILE) || exit 1; done

sanitize: $(VENV)/.built ## the pure core and the extension under the address and undefined-behaviour sanitizers
	$(MAKE) --no-print-directory --silent -j 2 -C tests/c SANITIZE=1 check
	SAMOVAR_BUILD=sanitize $(PY) setup.py --quiet build --build-base build/sanitize --build-lib build/sanitize/lib
	env PYTHONPATH=build/sanitize/lib PYTHONMALLOC=malloc SAMOVAR_SANITIZED=1 \
	    LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libubsan.so)" \
	    ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 \
	    $(PYTEST) --tb=native -n $(JOBS) -m 'not slow' $(SANITIZED) $(ARGS)

refleaks: PYTHON_DEBUG ?= python3-dbg
refleaks: ## every test again and again on a debug Python, counting references (Debian: python3-dbg)
	PYTHONPATH=tests $(MAKE) --no-print-directory check PYTHON=$(PYTHON_DEBUG) PLUGIN='-p refleaks -m "not slow"'

check: $(VENV)/.built ## the tests about samovar's own code, without those about the files around it
	$(PYTEST) -n $(JOBS) $(CODE) $(ARGS)

matrix: ## `make check` on every Python found here
	@.ci/matrix $(MAKE) --no-print-directory check

package: $(VENV)/.package ## sdist, wheel from the sdist, their checks, and each way to install
	PY=$(PY) .ci/package

clean: ## remove what the tasks made
	rm -rf .venv build dist wheelhouse src/*.egg-info src/samovar/*.so .pytest_cache .mypy_cache .ruff_cache .hypothesis
	$(MAKE) --no-print-directory -C tests/c clean
	find src tests bench -name __pycache__ -prune -exec rm -rf {} +

# --- stamps: each says that a step is done ------------------------------------------------------------------------

$(VENV)/.made:
	@$(PYTHON) -c 'import ensurepip, venv' || { echo 'PYTHON=$(PYTHON) has no venv (Debian: apt-get install python3-venv)'; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	$(PIP) install --upgrade 'pip>=25.1'
	@touch $@

$(VENV)/.tools: pyproject.toml | $(VENV)/.made
	$(PIP) install --group build --group test
	@touch $@

$(VENV)/.check: pyproject.toml | $(VENV)/.made
	$(PIP) install --group check
	@touch $@

$(VENV)/.zig: pyproject.toml | $(VENV)/.made
	$(PIP) install --group portable
	@touch $@

$(VENV)/.package: pyproject.toml | $(VENV)/.made
	$(PIP) install --group package
	@touch $@

$(VENV)/.built: $(NATIVE) $(VENV)/.tools
	@test -e $(INCLUDE)/Python.h || { echo 'no Python.h for $(PYTHON) (Debian: apt-get install python3-dev)'; exit 1; }
	$(PIP) install --no-build-isolation --no-deps --editable .
	@touch $@

$(VENV)/.bench: bench/requirements.txt $(VENV)/.built
	$(PY) -m bench.peers --install
	@touch $@

$(VENV)/.policies: pyproject.toml $(VENV)/.built
	$(PIP) install --group policies
	$(PIP) install libcachesim || echo 'libcachesim does not install here: its speed is left out'
	@touch $@
