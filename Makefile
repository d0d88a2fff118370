# Everything runs in .venv. `make setup` makes it from pyproject.toml and the pins in constraints.txt.
PYTHON ?= python3
# The build of torch: none is the usual one, with CUDA; `make setup TORCH=cpu` takes the one without: docs/install.md.
TORCH ?=
VENV := .venv
READY := $(VENV)/.ready$(addprefix -,$(TORCH))
BIN := $(VENV)/bin
DEMO := runs/demo

.PHONY: setup demo test test-fast lint docs bench bench-gpu docker clean

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	@echo "Setting up $(VENV) (a few minutes the first time: torch is a large download)"
	@$(PYTHON) -c 'import sys; sys.exit("lad needs Python 3.11 or later; this is %s. Try: make PYTHON=python3.12" % sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	@sed -E 's/^(torch|torchvision)==.*/&$(addprefix +,$(TORCH))/' constraints.txt > $(VENV)/constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c $(VENV)/constraints.txt -e '.[dev]'
	@touch $@

demo: setup
	$(BIN)/lad demo --work $(DEMO)

test: setup
	$(BIN)/python -m pytest -n 2 --dist loadfile

test-fast: setup
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow"

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

docs: $(VENV)/.docs-ready
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

$(VENV)/.docs-ready: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	@touch $@

bench: setup
	$(BIN)/python -m benchmarks.speed.table --page docs/performance.md

bench-gpu: setup
	$(BIN)/python -m benchmarks.gpu --page docs/performance.md

docker:
	docker build -t lad .

clean:
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
