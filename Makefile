# Each target does all of its own set-up: Python 3.11+, pip and make are enough.
PYTHON ?= python3
# PyTorch first: only its run includes the tests that depend on no backend.
BACKENDS ?= torch tensorflow jax
# Tests spend their time tracing and compiling, mostly on one core.
WORKERS ?= 2
# The demo needs one backend; PyTorch starts without compiling.
KERAS_BACKEND ?= torch
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
DOCS_READY := $(VENV)/docs-ready
OLDEST_VENV := .venv-oldest
OLDEST_READY := $(OLDEST_VENV)/ready
# What depends on Keras, KerasHub and the backends. Left out are problem files,
# data sets, examples and the tables of bad arguments, which do not, and what
# repeats: OLDEST_TESTS=tests runs all.
OLDEST_TESTS ?= tests/test_versions.py tests/backbones tests/latent tests/text \
    tests/models tests/training/test_callbacks.py

export TF_CPP_MIN_LOG_LEVEL ?= 3

.PHONY: demo test test-thorough test-oldest notebooks lint docs clean

demo: $(READY)
	KERAS_BACKEND=$(KERAS_BACKEND) $(BIN)/python -u examples/arithmetic_demo.py --overwrite

# One pytest run for each backend; all of them run, and any failure counts.
test: $(READY)
	@status=0; for backend in $(BACKENDS); do \
	    echo "== $$backend"; \
	    KERAS_BACKEND=$$backend $(BIN)/python -m pytest -n $(WORKERS) || status=1; \
	done; exit $$status

# With the tests that `make test` runs with PyTorch alone: hours.
test-thorough: $(READY)
	@status=0; for backend in $(BACKENDS); do \
	    echo "== $$backend"; \
	    KERAS_BACKEND=$$backend $(BIN)/python -m pytest -n $(WORKERS) \
	        --thorough || status=1; \
	done; exit $$status

# Each notebook from start to end with small constants: on two backends, or on
# those of NOTEBOOK_BACKENDS.
notebooks: $(READY)
	$(BIN)/python examples/make_notebooks.py --processes $(WORKERS) \
	    $(if $(NOTEBOOK_BACKENDS),--backends $(NOTEBOOK_BACKENDS))

# `make test` with the oldest releases that work; PYTHON=python3.13 is Colab's.
test-oldest: $(OLDEST_READY)
	@status=0; for backend in $(BACKENDS); do \
	    echo "== $$backend"; \
	    KERAS_BACKEND=$$backend $(OLDEST_VENV)/bin/python -m pytest \
	        -n $(WORKERS) $(OLDEST_TESTS) || status=1; \
	done; exit $$status

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/ruff format --check .

# The site in site/; a warning or a broken link is an error.
docs: $(DOCS_READY)
	$(BIN)/python docs/make_site.py

$(READY): setup.py pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --upgrade "pip>=23"
	$(BIN)/python -m pip install -c constraints.txt torch
	$(BIN)/python -m pip install -c constraints.txt \
	    -e ".[tensorflow,jax,torch,data,examples,notebooks,dev]"
	touch $(READY)

$(DOCS_READY): $(READY)
	$(BIN)/python -m pip install -c constraints.txt -e ".[docs]"
	touch $(DOCS_READY)

$(OLDEST_READY): setup.py constraints-oldest.txt keras_coconut/versions.py
	$(PYTHON) -m venv $(OLDEST_VENV)
	$(OLDEST_VENV)/bin/python -m pip install --upgrade "pip>=23"
	$(OLDEST_VENV)/bin/python -m pip install -c constraints-oldest.txt \
	    -e ".[tensorflow,jax,torch,data,examples,notebooks,dev]"
	touch $(OLDEST_READY)

clean:
	rm -rf $(VENV) $(OLDEST_VENV) .cache build site *.egg-info
