"""The facts of a report on one recording: for people, a court or an auditor. Pure functions.

They are the content of the JSON report, from which `aasist-jax verify` computes the result again, and of the page.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from aasist_jax.audio.content_credentials import Credentials
from aasist_jax.audio.own_words import OwnWords
from aasist_jax.calibration.detector_calibration import DetectorCalibration
from aasist_jax.detection.explanation_text import explanation_dict
from aasist_jax.detection.result import Score
from aasist_jax.detection.timeline_text import sentence
from aasist_jax.errors import ScoreFileError
from aasist_jax.models.explanation import Explanation

REPORT = "aasist-jax report 1"
"""What a JSON report begins with; the number is that of its form."""

LLR_TOLERANCE = 1e-4
"""How far two computations of a log-likelihood ratio, or of a raw score, may lie apart and still agree."""

Facts = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Origin:
    """What a report rests on beside the result.

    Attributes:
        file: the path as it was given.
        bytes: size of the file.
        sha256: of the file.
        decoded_sha256: of the samples at 16 kHz that were judged, as float32, little-endian.
        channel: the channel that was judged; None for the mean of all.
        weights: the weights as they were named; None for the default ones.
        command: that made the report.
        made: date and time in UTC, ISO 8601.
        versions: of programs and libraries, by name.
    """

    file: str
    bytes: int
    sha256: str
    decoded_sha256: str
    channel: int | None
    weights: str | None
    command: str
    made: str
    versions: Mapping[str, str]


@dataclasses.dataclass(frozen=True)
class Pictures:
    """What the page shows beside the facts.

    Attributes:
        timeline: a PNG.
        sides: a PNG like it for each channel that was judged as well.
        explanation: a PNG, or None.
        player: the recording as a `data:` address, or '' where the page does not hold it.
        no_player: why it does not.
    """

    timeline: bytes
    sides: tuple[bytes, ...]
    explanation: bytes | None
    player: str
    no_player: str


def report_facts(
    origin: Origin,
    result: Score,
    calibration: DetectorCalibration | None,
    own_words: OwnWords,
    credentials: Credentials,
    explanation: Explanation | None = None,
) -> Facts:
    """All facts of a report, ready for JSON.

    Args:
        origin: what was judged, by what.
        result: of the recording, with a verdict.
        calibration: that the verdict rests on; None without one.
        own_words: what the file says of itself.
        credentials: its Content Credentials.
        explanation: of the first window; None where there is none.
    """
    facts = dataclasses.asdict(origin) | {"versions": dict(origin.versions)}
    return {
        "report": REPORT,
        **facts,
        "result": {**_result_facts(result), "channels": [_result_facts(side) for side in result.channels]},
        "calibration": None if calibration is None else _calibration_facts(calibration),
        "explanation": None if explanation is None else explanation_dict(explanation),
        "limits": limits(calibration),
        "says_of_itself": {
            "format": own_words.format,
            "tags": own_words.tags,
            "content_credentials": dataclasses.asdict(credentials),
        },
    }


def _result_facts(result: Score) -> Facts:
    assert result.verdict is not None
    return {
        **result.to_dict(),
        "evidence": result.verdict.evidence,
        "sentence": sentence(result),
        "rule": dataclasses.asdict(result.verdict.rule),
        "signal": dataclasses.asdict(result.facts),
        "segments": [segment.to_dict() for segment in result.segments],
        "windows": [window.to_dict() for window in result.windows],
    }


def _calibration_facts(calibration: DetectorCalibration) -> Facts:
    measured = dataclasses.asdict(calibration.measured)
    return {
        "calibration_id": calibration.calibration_id,
        "rule": calibration.rule,
        "limits": dataclasses.asdict(calibration.limits),
        "fitted_on": dataclasses.asdict(calibration.fitted_on),
        "measured": measured | {"voices": measured["voices"][:1]},
    }


def limits(calibration: DetectorCalibration | None) -> list[str]:
    """What a verdict does not mean, a sentence each."""
    if calibration is None:
        measured = "Without a calibration nothing is known of its errors, and no verdict is sure."
    else:
        errors = calibration.measured
        measured = (
            f"It errs. On voices left out of its calibration, at {100 * errors.sure:g} % sure, "
            f"{100 * errors.human_called_synthetic:.1f} % of human recordings were called synthetic, "
            f"{100 * errors.synthetic_called_human:.1f} % of synthetic ones human, and {100 * errors.unsure:.1f} % of "
            "all were left unsure. On recordings of other kinds it may err more often."
        )
    return [
        measured,
        '"Unsure" is no finding either way. "Human" does not mean unedited: cuts, replays and imitators are not looked '
        'for. "Synthetic" does not say who made it, with what, or why.',
        "It says nothing about who speaks, nor whether what is said is true.",
        "P(synthetic) rests on the prior that is stated beside it. The log-likelihood ratio (LLR) is the part that "
        "rests on the recording alone.",
        "Ways of making speech that are newer than the detector may pass it.",
        "What the file says of itself can be written by anyone, and had no part in the verdict.",
    ]


@dataclasses.dataclass(frozen=True)
class Comparison:
    """A fact of a report beside what was found when it was computed again.

    Attributes:
        name: of the fact.
        then: in the report.
        now: computed again.
        agrees: whether they agree; None where a difference is told but is no disagreement by itself.
    """

    name: str
    then: Any
    now: Any
    agrees: bool | None


def compare(then: Facts, now: Facts) -> list[Comparison]:
    """Hold a report against what was found when it was computed again."""
    found = []
    for name in ("sha256", "decoded_sha256"):
        found.append(Comparison(name, then[name], now[name], then[name] == now[name]))
    for name in ("weights_id", "model_id"):
        one, other = then["result"][name], now["result"][name]
        found.append(Comparison(name, one, other, one == other))
    found += _compared_results(then["result"], now["result"])
    sides, sides_now = then["result"]["channels"], now["result"]["channels"]
    if len(sides) != len(sides_now):
        found.append(Comparison("channels judged", len(sides), len(sides_now), False))
    for side, (one, other) in enumerate(zip(sides, sides_now, strict=False)):
        found += _compared_results(one, other, f" of channel {side}")
    for name in sorted({*then["versions"], *now["versions"]}):
        one, other = then["versions"].get(name), now["versions"].get(name)
        if one != other:
            found.append(Comparison(f"version of {name}", one, other, None))
    return found


def _compared_results(then: Facts, now: Facts, of: str = "") -> list[Comparison]:
    """What a result says, compared; `of` ends the names."""
    same = [Comparison(name + of, then[name], now[name], then[name] == now[name]) for name in ("label", "reasons")]
    near = [Comparison(name + of, then[name], now[name], _near(then[name], now[name])) for name in ("llr", "score")]
    return same + near


def _near(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return abs(one - other) <= LLR_TOLERANCE


NEEDED: dict[str, type | tuple[type, ...]] = {
    "file": str,
    "sha256": str,
    "decoded_sha256": str,
    "channel": (int, type(None)),
    "weights": (str, type(None)),
    "versions": dict,
    "result": dict,
}
NEEDED_OF_RESULT: dict[str, type | tuple[type, ...]] = {
    "weights_id": str,
    "model_id": str,
    "label": str,
    "reasons": (str, type(None)),
    "llr": (int, float, type(None)),
    "score": (int, float, type(None)),
    "rule": dict,
    "channels": list,
}
NEEDED_OF_CHANNEL = {name: NEEDED_OF_RESULT[name] for name in ("label", "reasons", "llr", "score")}


def check_report(facts: Any, name: str) -> Facts:
    """The facts of a report that was read, once all that is compared is there.

    Raises:
        ScoreFileError: it is no report.
    """
    if not isinstance(facts, dict) or facts.get("report") != REPORT:
        raise ScoreFileError(f"{name}: is no report; give what `aasist-jax score FILE --report NAME.json` wrote")
    _check_part(facts, NEEDED, name)
    _check_part(facts["result"], NEEDED_OF_RESULT, name)
    for channel in facts["result"]["channels"]:
        _check_part(channel, NEEDED_OF_CHANNEL, name)
    for key in ("prior", "sure"):
        if not isinstance(facts["result"]["rule"].get(key), int | float):
            raise ScoreFileError(f"{name}: its rule has no {key}; take the report as it was made")
    return facts


def _check_part(part: Any, needed: Mapping[str, type | tuple[type, ...]], name: str) -> None:
    for key, types in needed.items():
        if not isinstance(part, dict) or not isinstance(part.get(key, _MISSING), types):
            raise ScoreFileError(f"{name}: its {key} is missing or of a wrong kind; take the report as it was made")


_MISSING = object()
