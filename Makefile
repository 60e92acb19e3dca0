# `make demo` and `make test` set up all they need on a bare machine with Python 3.11 or 3.12 and apt.

VENV := .venv
READY := $(VENV)/.ready

.PHONY: demo test lint lock
.DELETE_ON_ERROR:

demo: $(READY)
	$(VENV)/bin/faceswap demo --output build/demo

test: $(READY)
	$(VENV)/bin/python -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder --durations=15

lint: $(READY)
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check

$(READY): requirements.lock pyproject.toml
	bash launch/environment.sh $(VENV)
	touch $@

# Resolves anew. The lock is installed without resolution, for MediaPipe pins NumPy and protobuf too tightly.
lock: $(READY)
	$(VENV)/bin/uv pip compile pyproject.toml --extra faces --extra beam --extra serving --extra ray --extra dev --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --no-annotate --no-header --quiet --output-file requirements.lock
