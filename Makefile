# Each target works on a clean clone: the first one that runs creates the environment in .venv.
#   make demo    train a small graph of neurons on text that is already here, at most 5 minutes on 2 cores
#   make test    the whole test suite, at most 10 minutes on 2 cores
#   make check   style (ruff) and types (pyright)
#   make clean   remove the environment and what the tools left

PYTHON  ?= python3
VENV    := .venv
BIN     := $(VENV)/bin
STAMP   := $(VENV)/.installed
WORKERS ?= 2

# A torch that the interpreter already has (a GPU machine's own build) is used as it is, not replaced.
HAS_TORCH = $(PYTHON) -c 'import re, importlib.metadata as m; v = m.version("torch"); \
	raise SystemExit(tuple(map(int, re.findall(r"\d+", v)[:2])) < (2, 8))' 2>/dev/null

.PHONY: demo test check clean
.DEFAULT_GOAL := demo

demo: $(STAMP)
	$(BIN)/inn demo

test: $(STAMP)
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

$(STAMP): pyproject.toml constraints.txt
	@if $(HAS_TORCH); then \
		echo "using the torch that $(PYTHON) already has"; \
		$(PYTHON) -m venv --system-site-packages $(VENV) && \
		grep -v '^torch==' constraints.txt > $(VENV)/constraints.txt && \
		echo "torch==$$($(PYTHON) -c 'import importlib.metadata as m; print(m.version("torch"))')" >> $(VENV)/constraints.txt; \
	else \
		$(PYTHON) -m venv $(VENV) && cp constraints.txt $(VENV)/constraints.txt; \
	fi
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c $(VENV)/constraints.txt -e '.[dev]'
	@touch $@

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis build src/*.egg-info
