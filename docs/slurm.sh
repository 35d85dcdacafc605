#!/bin/bash
# sbatch docs/slurm.sh RECIPE RUN [--section.field value ...]: trains RECIPE into RUN, or goes on with RUN.
#SBATCH --job-name=inn
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=32
#SBATCH --time=24:00:00
#SBATCH --signal=TERM@120
#SBATCH --requeue

set -euo pipefail
recipe=$1 run=$2
shift 2

# Every node prepares its own corpus unless they share a cache.
export INN_CACHE=${INN_CACHE:-$SLURM_SUBMIT_DIR/.inn-cache}
first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)

if [ -f "$run/config.yaml" ]; then
    command=(train --resume "$run")
else
    command=(train "$recipe" --run "$run" "$@")
fi

# --signal: two minutes before the end all processes stop after the same step, with a checkpoint.
srun torchrun \
    --nnodes "$SLURM_JOB_NUM_NODES" --nproc-per-node "${SLURM_GPUS_ON_NODE:-8}" --max-restarts 3 \
    --rdzv-backend c10d --rdzv-endpoint "$first:29500" --rdzv-id "$SLURM_JOB_ID" \
    -m -- inn "${command[@]}"
