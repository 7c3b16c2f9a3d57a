#!/usr/bin/env bash
# What to measure on a day with a GPU, in one command: `benchmarks/gpu_day.sh [WEIGHTS]`, a folder or a name (AASIST-L).
#
# Parity with the reference outputs, determinism, bfloat16, inference and the training step beside PyTorch eager and
# compiled, the time of an epoch of ASVspoof 2019 LA (extrapolated from a shorter one on noise of the same shape), and
# scaling over the devices that there are. All tables stand in results/gpu-day/summary.md at the end.
#
# `benchmarks/gpu_day.sh --rehearse` runs every part on a CPU, with a small random model: it shows that the parts work,
# and nothing about speed. PYTHON names the interpreter (.venv/bin/python), OUT the folder (results/gpu-day).
set -uo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python} out=${OUT:-results/gpu-day} status=0
export PYTHONPATH=$PWD
tests=(tests/models/aasist/test_golden_forward.py tests/models/aasist/test_bfloat16.py tests/training/test_golden_step.py)
if [[ ${1:-} == --rehearse ]]; then
    export JAX_PLATFORMS=cpu
    tests+=(-k "goldens_of_both or stay_float32")
    options=(--weights small --batch 1 --step-batch 2 --rounds 2 --devices 1 2 --clips 8 --no-compiled)
else
    # JAX ends with an error where it finds no GPU, and nothing is measured on the CPU by mistake.
    export JAX_PLATFORMS=cuda,cpu
    devices=$("$python" -c 'import jax; print(*(n for n in (1, 2, 4, 8) if n <= jax.device_count()))') || {
        echo "error: JAX finds no GPU; install the extra cuda12 or cuda13, or try --rehearse on a CPU" >&2
        exit 1
    }
    options=(--weights "${1:-AASIST-L}" --batch 1 8 24 --rounds 9 --clips 2400 --devices $devices)
fi

mkdir -p "$out"
"$python" -m pytest -q -rs "${tests[@]}" 2>&1 | tee "$out/parity.txt" || status=1
echo "tests against the reference outputs: $(tail -n 1 "$out/parity.txt")" >"$out/summary.md"
for section in determinism inference training pipeline devices ceilings; do # each by itself, so that one may fail
    rm -f "$out/$section"/benchmark.*
    "$python" -m benchmarks "$section" "${options[@]}" --output "$out/$section" || { status=1; echo "FAILED: $section" >&2; }
    printf '\n## %s\n\n%s\n' "$section" "$(cat "$out/$section/benchmark.md" 2>/dev/null || echo FAILED)" >>"$out/summary.md"
done
exit $status
