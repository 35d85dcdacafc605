#!/usr/bin/env bash
# Everything that needs a GPU, on a machine with one CUDA card, in at most 12 minutes: whether the kernels are right,
# then the GPU rows of `inn bench`. Writes results/gpu/CARD.json after each part, and the table of docs/speed.md.
#
#   benchmarks/gpu.sh                  run what is missing; started again, it goes on where it was
#   benchmarks/gpu.sh FOLDER           the same, the results into FOLDER
#   benchmarks/gpu.sh --minutes 9      with less time
#   benchmarks/gpu.sh --dry            try it without a card: tiny sizes, kernels in Triton's interpreter
#   python benchmarks/speed.py --add results/gpu/CARD.json --readme      then, the rows into the table of the README
#
# It needs bash and a Python (PYTHON, else .venv, else python3) with torch, Triton, numpy and PyYAML, and downloads
# nothing. With pytest and hypothesis it runs the tests of the kernels too. Where there is no git, INN_COMMIT names the commit.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=${PYTHON:-$root/.venv/bin/python}
[[ -n ${PYTHON:-} || -x $python ]] || python=python3
if ! "$python" -c 'import torch, numpy, yaml' 2>/dev/null; then
    echo "$python lacks torch, numpy or PyYAML; set PYTHON to one that has them" >&2
    exit 2
fi
export PYTHONPATH="$root/src:$root/benchmarks/src${PYTHONPATH:+:$PYTHONPATH}"
export INN_CACHE=${INN_CACHE:-$root/runs/cache}
export CUBLAS_WORKSPACE_CONFIG=:4096:8 # PyTorch's deterministic settings, which a test turns on, want it
exec "$python" -m inn_benchmarks.card "$@"
