# Each target works on a clean clone: the first one that runs creates the environment in .venv.
#   make demo       train a small graph of neurons on text that is already here, at most 5 minutes on 2 cores
#   make test       the quick tests, at most 8 minutes on 2 cores
#   make test-slow  the others: processes that die, whole studies, long pages, kernels for other chips
#   make bench      speed in ratios, beside peers and limits, about ten minutes on 2 cores
#   make models     train the models of inn-models again, and write them with their cards, about an hour on 2 cores
#   make fuzz       damaged weights and states for models in C, by libFuzzer, a minute each; SECONDS=600 longer
#   make docs       the site of these pages, in docs/_build; open docs/_build/index.html
#   make check      style (ruff) and types (pyright)
#   make clean      remove the environment and what the tools left

PYTHON  ?= python3
VENV    := .venv
BIN     := $(VENV)/bin
STAMP   := $(VENV)/.installed
WORKERS ?= 2

# A torch (and Triton) that the interpreter already has, as on a GPU machine, is used as it is, not replaced.
HAS_TORCH := -c 'import re, importlib.metadata as m; v = re.findall("[0-9]+", m.version("torch")); \
	raise SystemExit((int(v[0]), int(v[1])) < (2, 8))' 2>/dev/null

.PHONY: help demo test test-slow bench fuzz models docs check clean

help:
	@sed -n 's/^#   //p' Makefile

demo: $(STAMP)
	$(BIN)/inn demo

test: $(STAMP)
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal --durations 20 -m "not slow"

# the examples in docstrings are quick, all of them
test-slow: $(STAMP)
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal --durations 30 -m slow tests

bench: $(STAMP)
	$(BIN)/inn bench

models: $(STAMP)
	$(BIN)/inn study models

fuzz: $(STAMP)
	$(BIN)/python tests/export/fuzz.py --seconds $(or $(SECONDS),60)

docs: $(STAMP)
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

$(STAMP): pyproject.toml models/pyproject.toml studies/pyproject.toml benchmarks/pyproject.toml constraints.txt
	$(PYTHON) -m venv --clear --system-site-packages $(VENV)
	@if $(BIN)/python $(HAS_TORCH); then \
		echo "using the torch that $(PYTHON) already has"; \
		own='torch'; if $(BIN)/python -c 'import triton' 2>/dev/null; then own='torch|triton'; fi; \
		grep -vE "^($$own)==" constraints.txt > $(VENV)/constraints.txt; \
	else \
		$(PYTHON) -m venv --clear $(VENV) && cp constraints.txt $(VENV)/constraints.txt; \
	fi
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c $(VENV)/constraints.txt -e '.[dev]' -e models -e studies -e benchmarks
	@touch $@

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis build dist docs/_build src/*.egg-info
