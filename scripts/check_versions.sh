#!/usr/bin/env bash
# Run the fast tests on every supported Python that this machine has: `scripts/check_versions.sh [3.N...]`.
#
# Each version gets a virtual environment of its own, .venv-3.N, with the newest packages that it can have, JAX among
# them: constraints.txt, which pins what `make test` uses, is left aside on purpose. PyTorch is not installed, and the
# tests that need it are skipped. PYTEST_ARGS is added to the tests' command line. Exit code: how many versions failed.
set -uo pipefail
cd "$(dirname "$0")/.."

supported=(3.11 3.12 3.13)
extras=dev,onnx
# A few minutes: every layer of the package, without whole runs of training and without the tests that start processes.
tests=(tests/config tests/runtime tests/audio tests/ops tests/models tests/weights tests/data tests/metrics
    tests/calibration tests/evaluation tests/detection/test_detector.py tests/export
    tests/training/test_step.py tests/training/test_optimizer.py tests/training/test_loss.py tests/training/test_averaging.py)

interpreter() { # VERSION: print the first that really runs, on the path or of pyenv; a shim of pyenv may not.
    local candidate
    for candidate in "python$1" "$HOME/.pyenv/versions/$1".*/bin/python; do
        if "$candidate" -c "import sys; sys.exit('%d.%d' % sys.version_info[:2] != '$1')" 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    return 1
}

table=$(printf '%-8s %-10s %-50s %8s' Python JAX tests seconds)
failed=0
for version in "${@:-${supported[@]}}"; do
    if ! python=$(interpreter "$version"); then
        table+=$'\n'$(printf '%-8s %-10s %-50s' "$version" - "no such interpreter here")
        [[ $# -gt 0 ]] && failed=$((failed + 1))
        continue
    fi
    venv=.venv-$version
    echo "== Python $version ($python) in $venv"
    [[ -x $venv/bin/python ]] || "$python" -m venv "$venv"
    jax=- result="cannot be installed" seconds=-
    if "$venv/bin/python" -m pip install --quiet --upgrade --upgrade-strategy eager --editable ".[$extras]"; then
        jax=$("$venv/bin/python" -c 'from importlib.metadata import version; print(version("jax"))')
        began=$SECONDS
        # shellcheck disable=SC2086 # PYTEST_ARGS are words.
        "$venv/bin/python" -m pytest -q -m "not slow" "${tests[@]}" ${PYTEST_ARGS:-} 2>&1 | tee "$venv/tests.txt"
        status=${PIPESTATUS[0]}
        seconds=$((SECONDS - began))
        result=$(tail -n 1 "$venv/tests.txt" | tr -d '=' | sed -E 's/ in [0-9.]+s.*//; s/^ +//')
        [[ $status -eq 0 ]] || failed=$((failed + 1))
    else
        failed=$((failed + 1))
    fi
    table+=$'\n'$(printf '%-8s %-10s %-50s %8s' "$version" "$jax" "$result" "$seconds")
done
echo "$table"
exit "$failed"
