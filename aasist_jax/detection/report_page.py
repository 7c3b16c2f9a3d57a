"""A report as one HTML page that needs nothing else: no network, no scripts. Pure functions.

Whatever comes from a file or its name is escaped, and the page's own policy forbids it to load or run anything.
"""

import base64
import json
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from aasist_jax.detection.report import Facts, Pictures
from aasist_jax.detection.timeline_text import clock
from aasist_jax.runtime.colours import VERDICTS

MOST_SEGMENTS = 200
"""Rows of the table of segments; the JSON report has them all."""

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
h1 { font-size: 1.4rem; overflow-wrap: anywhere; } h2 { font-size: 1.1rem; margin-top: 2rem; }
h3 { font-size: 1rem; margin-top: 1.5rem; }
.verdict { border-left: 1rem solid; padding: .6rem 1rem; background: #f5f5f5; }
.verdict b { font-size: 1.6rem; }
img, audio { width: 100%; } img { height: auto; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; }
th, td { text-align: left; vertical-align: top; padding: .25rem .6rem .25rem 0; border-bottom: 1px solid #ddd; }
td { overflow-wrap: anywhere; } th { font-weight: 600; white-space: nowrap; width: 14rem; }
.own { background: #faf6ec; padding: .1rem 1rem 1rem; }
@media print { audio { display: none; } body { max-width: none; } }
"""

POLICY = "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'; form-action 'none'"


def report_page(facts: Facts, pictures: Pictures) -> str:
    """The text of the page.

    Args:
        facts: of `report_facts`.
        pictures: what it shows beside them.
    """
    channel = "" if facts["channel"] is None else f", channel {facts['channel']}"
    name = escape(_printable(facts["file"])) + channel
    sections = [
        f"<h1>Is this voice a human's or a machine's? {name}</h1>",
        _verdict(facts["result"]),
        _recording(pictures),
        "<h2>What was heard when</h2>",
        _image(pictures.timeline, "Waveform, spectrogram, verdict and evidence over time"),
        _segments(facts["result"]["segments"]),
        _sides(facts["result"]["channels"], pictures.sides),
        _why(facts, pictures),
        "<h2>What the verdict does not mean</h2>",
        f"<ul>{''.join(f'<li>{_text(limit)}</li>' for limit in facts['limits'])}</ul>",
        _origin(facts),
        _calibration(facts["calibration"]),
        _own_words(facts["says_of_itself"]),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(POLICY)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{_text(facts['result']['label'])}: {name}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(section for section in sections if section)
        + "\n</body>\n</html>\n"
    )


def _printable(value: Any) -> str:
    """Text in which nothing can hide: no control characters, none that turn the direction of writing."""
    return "".join(
        letter if letter.isprintable() or letter == " " else f"\\u{ord(letter):04x}" for letter in str(value)
    )


def _text(value: Any) -> str:
    return escape(_printable(value))


def _verdict(result: Facts) -> str:
    reasons = f"<br>Reasons: {_text(result['reasons'])}." if result["reasons"] else ""
    evidence = f"<br>The evidence: {_text(result['evidence'])}." if result["evidence"] else ""
    colour = VERDICTS[result["label"]]
    return (
        f'<div class="verdict" style="border-color: {colour}"><b>{_text(result["label"])}</b>'
        f"{evidence}{reasons}<br>{_text(result['sentence'])}</div>"
    )


def _recording(pictures: Pictures) -> str:
    if pictures.player:
        return f'<h2>The recording</h2>\n<audio controls preload="metadata" src="{escape(pictures.player)}"></audio>'
    return f"<h2>The recording</h2>\n<p>{_text(pictures.no_player)}</p>"


def _image(content: bytes, words: str) -> str:
    return f'<img alt="{escape(words)}" src="data:image/png;base64,{base64.b64encode(content).decode()}">'


def _segments(segments: list[Facts]) -> str:
    rows = [
        (
            f"{clock(segment['start'])} to {clock(segment['end'])}",
            segment["label"],
            "" if segment["p_synthetic"] is None else f"P(synthetic) up to {segment['p_synthetic']:.3f}",
        )
        for segment in segments[:MOST_SEGMENTS]
    ]
    count = f"{len(segments):,} segment{'s' if len(segments) != 1 else ''}"
    left = len(segments) - len(rows)
    more = f"<p>{left} more segments are in the JSON report.</p>" if left else ""
    return f"<details><summary>{count}</summary>{_table(rows)}{more}</details>"


def _sides(sides: list[Facts], timelines: Sequence[bytes]) -> str:
    """Each channel of a recording whose channels differ: its verdict, and what was heard on it when."""
    if not sides:
        return ""
    parts = [
        f"<h3>Channel {number}</h3>\n{_verdict(side)}\n"
        f"{_image(timeline, f'Waveform, spectrogram, verdict and evidence over time of channel {number}')}\n"
        f"{_segments(side['segments'])}"
        for number, (side, timeline) in enumerate(zip(sides, timelines, strict=True))
    ]
    return "\n".join(
        [
            "<h2>Each channel by itself</h2>",
            "<p>The verdict above is on the mean of the channels. They differ, so each was judged as well.</p>",
            *parts,
        ]
    )


def _table(rows: Iterable[tuple[Any, ...]]) -> str:
    lines = []
    for head, *cells in rows:
        lines.append(f"<tr><th>{_text(head)}</th>{''.join(f'<td>{_text(cell)}</td>' for cell in cells)}</tr>")
    return f"<table>{''.join(lines)}</table>"


def _why(facts: Facts, pictures: Pictures) -> str:
    if facts["explanation"] is None or pictures.explanation is None:
        return "<h2>Why</h2>\n<p>This detector, or this recording, has no explanation.</p>"
    return (
        "<h2>Why</h2>\n<p>The explanation is of the first window alone, and of its raw score; it is no part of the "
        f"verdict. {_text(facts['explanation']['sentence'])}</p>\n"
        + _image(pictures.explanation, "Spectrogram of the first window, coloured by what spoke for which side")
    )


def _origin(facts: Facts) -> str:
    result = facts["result"]
    rows = [
        ("file", facts["file"]),
        ("size", f"{facts['bytes']:,} bytes"),
        ("SHA-256 of the file", facts["sha256"]),
        ("SHA-256 of what was judged", f"{facts['decoded_sha256']} (samples at 16 kHz, float32, little-endian)"),
        ("channel", "the mean of all" if facts["channel"] is None else facts["channel"]),
        (
            "length, heard, speech",
            " / ".join(f"{result[k]:.3f} s" for k in ("seconds", "heard_seconds", "speech_seconds")),
        ),
        ("raw score", result["score"]),
        ("LLR", result["llr"]),
        ("P(synthetic)", result["p_synthetic"]),
        ("prior, and how sure", f"{result['rule']['prior']:g}, {result['rule']['sure']:g}"),
        ("weights", result["weights_id"]),
        ("weights and calibration", result["model_id"]),
        *((f"version of {name}", version) for name, version in facts["versions"].items()),
        ("command", facts["command"]),
        ("made at (UTC)", facts["made"]),
    ]
    return (
        f"<h2>For whoever checks it</h2>\n{_table(rows)}\n<p>With the recording and the JSON report, "
        "<code>aasist-jax verify REPORT.json</code> computes the result again.</p>"
    )


def _calibration(calibration: Facts | None) -> str:
    if calibration is None:
        return "<h2>Calibration</h2>\n<p>None: nothing is known of how often this detector errs.</p>"
    fitted, measured = calibration["fitted_on"], calibration["measured"]
    shares = ("human_called_synthetic", "synthetic_called_human", "unsure")
    rows = [
        ("calibration", calibration["calibration_id"]),
        ("fitted on", f"{fitted['data']}: {fitted['human']} human, {fitted['synthetic']} synthetic recordings"),
        ("its human voices", fitted["voices"]),
        ("its systems", ", ".join(fitted["systems"])),
        ("SHA-256 of its list", fitted["sha256"]),
        ("made by", fitted["command"]),
        ("Cllr, at best", f"{measured['cllr']:.3f}, {measured['min_cllr']:.3f} bits, on voices left out"),
        *((name.replace("_", " "), f"{100 * measured[name]:.1f} %, on voices left out") for name in shares),
        *(
            ("worst voice or system", f"{each['name']}: {100 * each['wrong']:.1f} % of {each['recordings']} wrong")
            for each in measured["voices"][:1]
        ),
    ]
    return f"<h2>Calibration</h2>\n{_table(rows)}"


def _own_words(own: Facts) -> str:
    credentials = own["content_credentials"]
    rows = [
        ("format", own["format"]),
        *((f"tag {name}", value) for name, value in own["tags"].items()),
        ("Content Credentials", credentials["note"]),
        *((f"they say: {name}", value) for name, value in credentials["says"].items()),
    ]
    return (
        '<div class="own"><h2>What the file says of itself</h2>\n<p>Anyone can write this. It had no part in the '
        f"verdict.</p>\n{_table(rows)}</div>"
    )


def report_json(facts: Facts) -> str:
    """The facts as JSON, with a final line feed."""
    return json.dumps(facts, indent=1) + "\n"
