#!/usr/bin/env bash
# Measures what README and docs/speed.md would say of this machine's GPU, in less than ten minutes once all is installed.
# Usage: launch/gpu_figures.sh FOLDER     What is in FOLDER already is not measured again.
set -euo pipefail
if (($# != 1)); then
  echo "Usage: launch/gpu_figures.sh FOLDER" >&2
  exit 2
fi
folder=$(realpath -m -- "$1")
cd "$(dirname "$0")/.."

make .venv/.ready
python=.venv/bin/python
# The versions of requirements.lock, and PyTorch to compare with.
"$python" -m pip install --quiet "jax[cuda12]==$("$python" -c 'import jax; print(jax.__version__)')" torch
exec "$python" -m experiments.benchmarks.gpu --output "$folder"
