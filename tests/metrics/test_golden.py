"""The challenge packages' own figures for a real system on all 71,237 trials of ASVspoof 2019 LA eval."""

import json

import numpy as np
import pytest

from aasist_jax.metrics.calibration_loss import cllr_bits
from aasist_jax.metrics.detection_cost import act_dcf, min_dcf
from aasist_jax.metrics.error_rates import equal_error_rate
from aasist_jax.metrics.tandem import asv_error_rates, min_tdcf_2019, min_tdcf_2021

pytestmark = pytest.mark.reference


@pytest.mark.parametrize("shuffled", [False, True])
def test_every_figure_of_the_golden_file(reference, shuffled):
    rows = [line.split() for line in (reference / "scores" / "RawGAT-ST-mul.eval.txt").read_text().splitlines()]
    lists = reference / "asvspoof2019_la" / "ASVspoof2019.LA.asv.eval.gi.trl.scores.txt"
    asv_rows = [line.split() for line in lists.read_text().splitlines()]
    if shuffled:
        random = np.random.default_rng(0)
        random.shuffle(rows)
        random.shuffle(asv_rows)
    _, attack, key, score = (np.array(column) for column in zip(*rows, strict=True))
    score = score.astype(float)
    bonafide, spoof = score[key == "bonafide"], score[key == "spoof"]
    _, asv_key, asv_score = (np.array(column) for column in zip(*asv_rows, strict=True))
    asv = asv_error_rates(*(asv_score.astype(float)[asv_key == name] for name in ("target", "nontarget", "spoof")))
    eer = equal_error_rate(bonafide, spoof)
    golden = json.loads((reference / "golden" / "metrics.json").read_text())
    assert vars(asv) == pytest.approx(golden["asv"], rel=1e-12)
    found = {
        "eer": eer.eer,
        "eer_threshold": eer.threshold,
        "min_tdcf_2019": min_tdcf_2019(bonafide, spoof, asv),
        "min_tdcf_2021": min_tdcf_2021(bonafide, spoof, asv),
        "min_dcf": min_dcf(bonafide, spoof),
        "act_dcf": act_dcf(bonafide, spoof),
        "cllr_bits": cllr_bits(bonafide, spoof),
        "n_bonafide": bonafide.size,
        "n_spoof": spoof.size,
    }
    system = golden["RawGAT-ST-mul"]
    per_attack = system.pop("eer_per_attack")
    assert found == pytest.approx(system, rel=1e-12)
    attacks = {name: equal_error_rate(bonafide, score[attack == name]).eer for name in np.unique(attack) if name != "-"}
    assert attacks == pytest.approx(per_attack, rel=1e-12)
