#!/usr/bin/env bash
# A night's slides as a job array: each task predicts its part, one more job joins them.
#
#   sbatch --array=1-8 examples/slurm/array.sh slides/ my-model parts
#   sbatch --dependency=afterany:JOBID --wrap 'ats merge parts/* -o run'
#
# A part that was ended, however it was, goes on where it was. The array is then not the whole, so say of how many:
#
#   ATS_PARTS=8 sbatch --array=3 examples/slurm/array.sh slides/ my-model parts
#
# Without SLURM, SLURM_ARRAY_TASK_ID=3 ATS_PARTS=8 bash examples/slurm/array.sh ... is part 3 of 8.
#SBATCH --job-name=ats
#SBATCH --cpus-per-task=4
#SBATCH --mem=16G
#SBATCH --time=08:00:00
set -euo pipefail

slides=$1 model=$2 parts=$3
part=${SLURM_ARRAY_TASK_ID:?is not set: submit with sbatch --array=1-8}
of=${ATS_PARTS:-${SLURM_ARRAY_TASK_COUNT:?is not set: give the number of parts as ATS_PARTS}}
if [ -z "${ATS_PARTS:-}" ] && [ "$of" != "${SLURM_ARRAY_TASK_MAX:-}" ]; then
    echo "The array is not 1-N. Submit it like --array=1-8, or give the number of parts as ATS_PARTS." >&2
    exit 2
fi

# 1: some slides failed, and have their row. The part is done all the same.
status=0
ats predict "$slides" --model "$model" -o "$parts/$part" --shard "$part/$of" --quiet || status=$?
[ "$status" -le 1 ] || exit "$status"
