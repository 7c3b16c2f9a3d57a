"""Gathers what a report holds: hashes, versions, pictures, what the file says of itself."""

import base64
import hashlib
import platform
import shlex
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import numpy as np

from aasist_jax import __version__
from aasist_jax.audio.content_credentials import read_credentials
from aasist_jax.audio.limits import SAMPLE_RATE
from aasist_jax.audio.load import iter_audio, load_start
from aasist_jax.audio.own_words import OwnWords, read_own_words
from aasist_jax.detection.detector import Detector
from aasist_jax.detection.explanation_plot import explanation_figure
from aasist_jax.detection.figures import png_of
from aasist_jax.detection.overview import Overview, watched
from aasist_jax.detection.report import Facts, Origin, Pictures, report_facts
from aasist_jax.detection.result import Score, Timeline
from aasist_jax.detection.timeline_plot import timeline_png
from aasist_jax.errors import AudioError
from aasist_jax.models.explanation import Explanation
from aasist_jax.runtime.files import sha256_of

EMBEDDED_BYTES = 16 << 20
"""Of the largest recording that the page holds."""

MEDIA_TYPES = {
    "WAV": "audio/wav",
    "WAVEX": "audio/wav",
    "FLAC": "audio/flac",
    "MP3": "audio/mpeg",
    "MPEG": "audio/mpeg",
    "OGG": "audio/ogg",
    "M4A": "audio/mp4",
    "AAC": "audio/aac",
    "WebM": "audio/webm",
}
"""Of the kinds of files that browsers play."""


@dataclass(frozen=True)
class Request:
    """What a report is asked for.

    Attributes:
        path: of the recording.
        channel: as in `Detector.score`.
        weights: the weights as they were named, or None.
    """

    path: Path
    channel: int | None
    weights: str | None


def gather_facts(detector: Detector, request: Request, result: Score) -> Facts:
    """The facts of a report without an explanation: what `verify` computes again."""
    facts, _, _ = _gather(detector, request, result, None)
    return facts


def gather_report(detector: Detector, request: Request, result: Score) -> tuple[Facts, Pictures]:
    """The facts of a report, and what its page shows.

    Args:
        detector: that gave the result.
        request: what was judged.
        result: its result, with a verdict.

    Raises:
        AudioError: the file cannot be read, or changed on the way.
    """
    explanation = _explanation(detector, request)
    facts, overview, own_words = _gather(detector, request, result, explanation)
    window = detector.window / SAMPLE_RATE
    sides = tuple(
        _timeline_png(_title(request.path, number), _overview_and_hash(request.path, number)[0], side, window)
        for number, side in enumerate(result.channels)
    )
    title, why = _title(request.path, request.channel), None
    if explanation is not None and result.verdict is not None:
        wave, length = detector.fill(load_start(request.path, detector.window, channel=request.channel)[0])
        why = png_of(explanation_figure(explanation, wave[:length], title, result.verdict))
    player, no_player = _player(request.path, own_words.kind)
    if sha256_of(request.path) != facts["sha256"]:
        raise _changed(request.path)
    return facts, Pictures(_timeline_png(title, overview, result, window), sides, why, player, no_player)


def _title(path: Path, channel: int | None) -> str:
    return path.name if channel is None else f"{path.name}, channel {channel}"


def _changed(path: Path) -> AudioError:
    return AudioError(f"{path}: changed while it was judged; make the report of a copy")


def _timeline_png(title: str, overview: Overview, result: Score, window: float) -> bytes:
    return timeline_png(title, overview, Timeline(result, window, window, True, result.windows, result.segments))


def _overview_and_hash(path: Path, channel: int | None) -> tuple[Overview, str]:
    """What a picture of the signal shows, and the SHA-256 of the samples that were judged."""
    overview, decoded = Overview(), hashlib.sha256()
    for block in watched(iter_audio(path, channel=channel), overview):
        decoded.update(np.ascontiguousarray(block, "<f4").tobytes())
    return overview, decoded.hexdigest()


def _gather(
    detector: Detector, request: Request, result: Score, explanation: Explanation | None
) -> tuple[Facts, Overview, OwnWords]:
    try:
        before = sha256_of(request.path)
        overview, decoded_sha256 = _overview_and_hash(request.path, request.channel)
        own_words = read_own_words(request.path)
        size = request.path.stat().st_size
        if sha256_of(request.path) != before or overview.seconds != result.seconds:
            raise _changed(request.path)
    except OSError as error:
        raise AudioError(f"{request.path}: cannot be read ({error.strerror or error})") from error
    origin = Origin(
        file=str(request.path),
        bytes=size,
        sha256=before,
        decoded_sha256=decoded_sha256,
        channel=request.channel,
        weights=request.weights,
        command=shlex.join(["aasist-jax", *sys.argv[1:]]),
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        versions=_versions(own_words),
    )
    credentials = read_credentials(request.path)
    return report_facts(origin, result, detector.calibration, own_words, credentials, explanation), overview, own_words


def _versions(own_words: OwnWords) -> dict[str, str]:
    found = {"aasist-jax": __version__, "Python": platform.python_version(), "decoder": own_words.decoder}
    for name in ("jax", "jaxlib", "numpy", "soxr"):
        found[name] = metadata.version(name)
    return found | {"system": f"{platform.system()} {platform.machine()}"}


def _explanation(detector: Detector, request: Request) -> Explanation | None:
    """The explanation of the first window, where the family can give one and there is something to explain."""
    if detector.family.explainer is None:
        return None
    try:
        return detector.explain(request.path, channel=request.channel)
    except AudioError:
        # Silent and constant recordings; any other fault shows when the file is read for the facts.
        return None


def _player(path: Path, kind: str) -> tuple[str, str]:
    """The recording as a `data:` address, or why the page does not hold it."""
    if kind not in MEDIA_TYPES:
        return "", f"The page holds no copy of the recording, since browsers do not play {kind}."
    content = path.read_bytes() if path.stat().st_size <= EMBEDDED_BYTES else b""
    if not content:
        return "", f"The page holds no copy of the recording, which is larger than {EMBEDDED_BYTES >> 20} MiB."
    return f"data:{MEDIA_TYPES[kind]};base64,{base64.b64encode(content).decode()}", ""
