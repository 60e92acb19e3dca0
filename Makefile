# `make demo` and `make test` set up all they need on a bare machine with Python 3.11 or 3.12 and apt.

VENV := .venv
READY := $(VENV)/.ready

.PHONY: demo test tpu-check lint lock
.DELETE_ON_ERROR:

demo: $(READY)
	$(VENV)/bin/faceswap demo --output build/demo

test: $(READY)
	$(VENV)/bin/python -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder --durations=15

# With the compiler for TPUs, 680 MB more in the environment; runs on any CPU.
tpu-check: $(READY)
	$(VENV)/bin/pip install --quiet --no-deps --require-hashes -r requirements-tpu.lock
	$(VENV)/bin/python -m pytest tests/cost/test_tpu_programs.py

lint: $(READY)
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check

$(READY): requirements.lock pyproject.toml
	bash launch/environment.sh $(VENV)
	touch $@

UV_COMPILE := $(VENV)/bin/uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate \
  --no-header --quiet

# What jax[tpu] needs and requirements.lock has.
LOCKED := certifi charset-normalizer idna jax jaxlib ml-dtypes numpy opt-einsum requests scipy urllib3

# Resolves anew. The lock is installed without resolution, for MediaPipe pins NumPy and protobuf too tightly.
lock: $(READY)
	$(UV_COMPILE) pyproject.toml --extra faces --extra film --extra beam --extra serving --extra ray --extra dev --output-file requirements.lock
	echo "jax[tpu] ; sys_platform == 'linux'" | $(UV_COMPILE) - --constraint requirements.lock \
	  $(addprefix --no-emit-package ,$(LOCKED)) --output-file requirements-tpu.lock
