#!/usr/bin/env bash
# What to measure on a day with a GPU, in one command: `benchmarks/gpu_day.sh [WEIGHTS]`, a folder or a name (AASIST-L).
#
# Parity with the reference outputs, determinism, bfloat16, inference and the training step beside PyTorch eager and
# compiled, the time of an epoch of ASVspoof 2019 LA (extrapolated from a shorter one on noise of the same shape), and
# scaling over the devices that there are. One table at the end, results/gpu-day/summary.md, and all behind it beside it.
#
# `benchmarks/gpu_day.sh --rehearse` runs every part on a CPU, with a small random model: it shows that the parts work,
# and nothing about speed. PYTHON names the interpreter (.venv/bin/python), OUT the folder (results/gpu-day).
set -uo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python}
out=${OUT:-results/gpu-day}
export PYTHONPATH=$PWD
tests=(tests/models/aasist/test_golden_forward.py tests/models/aasist/test_bfloat16.py tests/training/test_golden_step.py)

if [[ ${1:-} == --rehearse ]]; then
    export JAX_PLATFORMS=cpu
    tests+=(-k "goldens_of_both or stay_float32")
    options=(--weights small --batch 1 --step-batch 2 --rounds 2 --devices 1 2 --clips 8 --no-compiled)
else
    # JAX ends with an error where it finds no GPU, and nothing is measured on the CPU by mistake.
    export JAX_PLATFORMS=cuda,cpu
    count=$("$python" -c 'import jax; print(jax.device_count())') || {
        echo "error: JAX finds no GPU; install the extra cuda12 or cuda13, or try --rehearse on a CPU" >&2
        exit 1
    }
    devices=()
    for ((n = 1; n <= count; n *= 2)); do devices+=("$n"); done
    options=(--weights "${1:-AASIST-L}" --batch 1 8 24 --rounds 9 --clips 2400 --devices "${devices[@]}")
fi

status=0
step() { # NAME COMMAND...: keep what the command prints, and go on after a failure.
    local name=$1
    shift
    echo "== $name"
    mkdir -p "$out/$name"
    rm -f "$out/$name/benchmark.json"
    "$@" 2>&1 | tee "$out/$name/output.txt" || { status=1; echo "FAILED: $name; see $out/$name/output.txt"; }
}

step parity "$python" -m pytest -q -rs "${tests[@]}"
for section in determinism inference training pipeline devices ceilings; do
    step "$section" "$python" -m benchmarks "$section" "${options[@]}" --out "$out/$section"
done

"$python" - "$out" <<'SUMMARY' | tee "$out/summary.md"
import json
import sys
from pathlib import Path

out = Path(sys.argv[1])


def rows(section, table=0):
    """The rows of a section's table; none where the section failed."""
    file = out / section / "benchmark.json"
    return json.loads(file.read_text())["sections"][section][table]["rows"] if file.exists() else []


found = [("tests against the reference outputs", (out / "parity" / "output.txt").read_text().splitlines()[-1].strip("= "))]
found += [(row["what"], "same bits" if row["same bits"] else "OTHER BITS") for row in rows("determinism")]
for section in ("inference", "training"):
    for row in rows(section):
        ratio = f"{row['speed (times the first)']:.2f} ({row['lowest']:.2f} to {row['highest']:.2f}) times the first"
        what = f"{row['']}, batch {row['batch']}: {row['implementation']}"
        found.append((what, f"{row['ms']:.4g} ms, {ratio}, off by {row['off by']:.0e}"))
for row in rows("pipeline", 1):
    *_, (name, seconds) = row.items()
    found.append((f"epoch, batch {row['batch']}: {name}", f"{seconds:.0f} s, {row['clips/s']:.4g} clips/s on noise"))
for row in rows("devices"):
    (kind, count), *_ = row.items()
    found.append((f"training step on {count} {kind}", f"{row['clips/s']:.4g} clips/s, loss off by {row['off by, relative']:.0e}"))
for row in rows("ceilings", 1):
    found.append((f"{row['']}, batch {row['batch']}: share of the float32 product", f"{row['share']:.0%}"))
sections = ("determinism", "inference", "training", "pipeline", "devices", "ceilings")
found += [(section, "FAILED") for section in sections if not rows(section)]
first = next((file for file in sorted(out.glob("*/benchmark.json"))), None)
machine = json.loads(first.read_text())["machine"] if first else {}
print(f"{machine.get('device')}, {machine.get('cpu')}, JAX {machine.get('jax')}, PyTorch {machine.get('torch')}\n")
print("| what | result |\n| --- | --- |")
for what, result in found:
    print(f"| {what} | {result} |")
SUMMARY
exit $status
