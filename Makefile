# Each target does all of its own set-up: Python 3.11+, pip and make are enough.
PYTHON ?= python3
BACKENDS ?= tensorflow jax torch
# Tests spend their time tracing and compiling, mostly on one core.
WORKERS ?= 2
# The demo needs one backend; PyTorch starts without compiling.
KERAS_BACKEND ?= torch
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready

export TF_CPP_MIN_LOG_LEVEL ?= 3

.PHONY: demo test lint clean

demo: $(READY)
	KERAS_BACKEND=$(KERAS_BACKEND) $(BIN)/python -u examples/arithmetic_demo.py --overwrite

# One pytest run for each backend; all of them run, and any failure counts.
test: $(READY)
	@status=0; for backend in $(BACKENDS); do \
	    echo "== $$backend"; \
	    KERAS_BACKEND=$$backend $(BIN)/python -m pytest -n $(WORKERS) || status=1; \
	done; exit $$status

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

$(READY): setup.py pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --upgrade "pip>=23"
	$(BIN)/python -m pip install -c constraints.txt torch
	$(BIN)/python -m pip install -c constraints.txt \
	    -e ".[tensorflow,jax,torch,data,examples,dev]"
	touch $(READY)

clean:
	rm -rf $(VENV) build *.egg-info
