# Everything here works on a fresh machine with Python >= 3.11, pip and make.
# Another interpreter: make demo PYTHON=python3.12

PYTHON ?= python3
VENV := .venv
BENCH_VENV := build/bench-venv
ECOSYSTEM_VENV := build/ecosystem-venv
FUZZ_VENV := build/fuzz-venv
BIN := $(VENV)/bin
N ?= 500
RUNS ?= 1000000

.DEFAULT_GOAL := help
.PHONY: help demo test test-browser test-ecosystem lint format seeds fuzz bench docs shape api clean

help:
	@echo "make demo        set up .venv, install, count the words of the standard library"
	@echo "make test        install what the tests need, run the whole suite"
	@echo "make test-browser    the dashboard's pages in a headless chromium, if there is one"
	@echo "make test-ecosystem  quickstarts of other libraries, word for word, in an environment of its own"
	@echo "make lint        ruff, mypy strict, import layers"
	@echo "make format      let ruff rewrite what it can"
	@echo "make seeds N=500 run N seeds of the simulated cluster"
	@echo "make fuzz RUNS=1000000 random inputs for all that is decoded of others, in an environment of its own"
	@echo "make bench       windrow and its peers, the same work side by side"
	@echo "make docs        rewrite the pages that are generated from the code"
	@echo "make shape       sizes of modules, functions and classes beside their aims"
	@echo "make api         what is missing of the interface that Dask users know, or in no test"
	@echo "make clean       remove the environments and all caches"

demo: $(VENV)/.installed
	$(BIN)/python examples/word_count.py

# pytest's closing line is to stay the last one, so nothing may follow it here.
test: $(VENV)/.installed-test
	@$(BIN)/python -m pytest $(PYTEST_ARGS)

# SCREENSHOTS=docs/images writes the pictures of docs/dashboard.md, too.
test-browser: $(VENV)/.installed-browser
	@command -v chromium chromium-browser google-chrome >/dev/null || \
		echo "there is no browser: on Debian, apt-get install chromium chromium-driver" >&2
	@$(BIN)/python -m pytest tests/browser --browser $(if $(SCREENSHOTS),--screenshots $(SCREENSHOTS)) $(PYTEST_ARGS)

test-ecosystem: $(ECOSYSTEM_VENV)/.installed
	$(ECOSYSTEM_VENV)/bin/python -m pytest tests/ecosystem --ecosystem $(PYTEST_ARGS)

lint: $(VENV)/.installed-lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: $(VENV)/.installed-lint
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

seeds: $(VENV)/.installed
	$(BIN)/python -m windrow.testing --seeds $(N)

fuzz: $(FUZZ_VENV)/.installed
	$(FUZZ_VENV)/bin/python tools/fuzz.py --runs $(RUNS)

bench: $(BENCH_VENV)/.installed
	$(BENCH_VENV)/bin/python -m benchmarks $(BENCH_ARGS)

docs: $(VENV)/.installed
	$(BIN)/python tools/life_cycle.py docs/task-life-cycle.md
	$(BIN)/python tools/message_table.py docs/architecture.md

shape: $(VENV)/.created
	@$(BIN)/python tools/shape.py

api: $(VENV)/.installed
	@$(BIN)/python tools/api_coverage.py

clean:
	rm -rf $(VENV) $(BENCH_VENV) $(ECOSYSTEM_VENV) $(FUZZ_VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Each stamp is newer than pyproject.toml when its environment is up to date, so nothing is installed twice.
# Some systems ship Python without ensurepip; there the pip outside puts one into the environment.
%/.created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "windrow needs Python 3.11 or newer; name one: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -m venv $* >/dev/null 2>&1 || \
		{ rm -rf $* && $(PYTHON) -m venv --without-pip $* && $(PYTHON) -m pip --python $*/bin/python install --quiet pip; }
	@touch $@

$(VENV)/.installed: pyproject.toml | $(VENV)/.created
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(VENV)/.installed-test: pyproject.toml | $(VENV)/.created
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[test]"
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-browser: pyproject.toml | $(VENV)/.created
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[browser]"
	@touch $@ $(VENV)/.installed $(VENV)/.installed-test

$(VENV)/.installed-lint: pyproject.toml | $(VENV)/.created
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[test,lint]"
	@touch $@ $(VENV)/.installed $(VENV)/.installed-test

$(ECOSYSTEM_VENV)/.installed: pyproject.toml | $(ECOSYSTEM_VENV)/.created
	$(ECOSYSTEM_VENV)/bin/python -m pip install --quiet --disable-pip-version-check -e ".[ecosystem]"
	@touch $@

$(FUZZ_VENV)/.installed: pyproject.toml | $(FUZZ_VENV)/.created
	$(FUZZ_VENV)/bin/python -m pip install --quiet --disable-pip-version-check -e ".[fuzz]"
	@touch $@

# Peers may have no wheel for this interpreter; whichever installs takes part.
$(BENCH_VENV)/.installed: pyproject.toml | $(BENCH_VENV)/.created
	$(BENCH_VENV)/bin/python -m pip install --quiet --disable-pip-version-check -e ".[tls]" numpy pandas pyarrow
	-$(BENCH_VENV)/bin/python -m pip install --quiet --disable-pip-version-check distributed
	-$(BENCH_VENV)/bin/python -m pip install --quiet --disable-pip-version-check ray
	@touch $@

.PRECIOUS: $(VENV)/.created $(BENCH_VENV)/.created $(ECOSYSTEM_VENV)/.created $(FUZZ_VENV)/.created
