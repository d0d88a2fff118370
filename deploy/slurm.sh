#!/usr/bin/env bash
# Extract a run's features on many machines of a SLURM cluster, each its part, then join the parts:
#   first=$(sbatch --parsable --array=1-16 deploy/slurm.sh yard.yaml ~/footage runs/yard)
#   sbatch --dependency=afterany:$first --wrap="lad merge --work runs/yard"
# The work directory lies on a disk that all of them see. A part that was stopped is resumed by the same command.
#SBATCH --job-name=lad
#SBATCH --cpus-per-task=4
#SBATCH --mem=8G
#SBATCH --time=24:00:00
#SBATCH --signal=B:INT@120
# On GPU nodes: #SBATCH --gres=gpu:1
set -euo pipefail
config=$1 data=$2 work=$3
exec lad extract -c "$config" --data "$data" --work "$work" \
  --shard "$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_MAX"
