# The two commands of the README are `make demo` and `make test`; both make .venv when it is missing.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LIDC_ROOT ?=
DEMO_DIR ?= demo

.PHONY: demo test test-all check format scale clean help

help:
	@echo "make demo   annotated CT in, masks, entropy maps and scores out (LIDC_ROOT=DIR: your own LIDC-IDRI copy)"
	@echo "make test   every test but the slow ones"
	@echo "make check  ruff, mypy, codespell"
	@echo "make scale  measure what many studies cost, and put it into docs/scale.md (a quarter of an hour, quiet machine)"

demo: $(VENV)/.runtime
	$(BIN)/mose-med demo --output-dir $(DEMO_DIR) $(if $(LIDC_ROOT),--lidc-root $(LIDC_ROOT))

# Two processes of one thread each: tests are small, and threads that wait for each other cost more than they bring.
test: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadscope -m "not slow"

test-all: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadscope

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/codespell

scale: $(VENV)/.dev
	$(BIN)/python -m benchmarks.scale.cohort --output benchmarks/results/cohort.json
	$(BIN)/python -m benchmarks.scale.cohort_driver --output benchmarks/results/cohort_driver.json
	$(BIN)/python -m benchmarks.scale.chest_stages --output benchmarks/results/chest_stages.json
	$(BIN)/python -m benchmarks.scale.simulation --write-docs docs/scale.md

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(VENV)/bin/python:
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'Python 3.11 or newer is needed, set PYTHON=...')"
	$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[lidc,mlflow]'
	touch $@

$(VENV)/.dev: $(VENV)/.runtime
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[lidc,mlflow,community,onnx,dicom,node,ray,remote,report,dev]'
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info
