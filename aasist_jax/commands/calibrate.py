"""aasist-jax calibrate: Calibrate a detector on recordings whose truth is known.

The detector scores the recordings of --data, and a calibration is fitted that turns its scores into verdicts. It is
measured on voices that are left out of the fit, and written as calibration.json into the weights folder.

With --scores, a map from scores to log-likelihood ratios is fitted to a score file; `llr` applies it to others.
"""

import enum
import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from aasist_jax.commands.options import (
    SEVERAL,
    BonafideIs,
    Keys,
    Prior,
    ScoreName,
    Sure,
    Where,
    check_output,
    chosen_keys,
    joined,
    one_or_several_weights,
)
from aasist_jax.errors import DataError
from aasist_jax.runtime.messages import print_warning, say

FROM_SCORES = "From a score file, in place of a detector"


class Method(enum.StrEnum):
    """How one system's scores are calibrated."""

    logistic = "logistic"
    isotonic = "isotonic"


def calibrate(
    weights: Annotated[str | None, typer.Argument(help=f"A folder, or a name. {SEVERAL}")] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="A CSV with the columns path, label and speaker, or the folder of a data set."),
    ] = None,
    split: Annotated[str | None, typer.Option(help="Use this split of the data; of a folder, dev by default.")] = None,
    output: Annotated[Path | None, typer.Option(help="File to write; default: where it is found again.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw how reliable it is on voices left out, to this .png.")] = None,
    sure: Sure = 0.9,
    bonafide_is: BonafideIs = "",
    scores: Annotated[Path | None, typer.Option(help="A score file.", rich_help_panel=FROM_SCORES)] = None,
    keys: Keys = None,
    where: Where = None,
    method: Annotated[
        Method,
        typer.Option(
            help="logistic: a scale and an offset; isotonic: any rising step curve.", rich_help_panel=FROM_SCORES
        ),
    ] = Method.logistic,
    prior: Prior = 0.5,
    name: ScoreName = "",
) -> None:
    """Fit a calibration, write it, and print how good it is."""
    if scores is not None:
        if weights is not None or data is not None or output is None:
            raise typer.BadParameter("--scores FILE: give --output FILE with it, and no weights and no --data")
        _calibrate_scores(scores, output, keys, where, method, prior, name, bonafide_is)
        return
    if weights is None or data is None:
        raise typer.BadParameter("name the weights and labelled recordings: WEIGHTS --data clips.csv")
    if plot is not None:
        check_output(plot, (".png",))
    if output is not None:
        check_output(output, (".json",))
    found = one_or_several_weights(weights)
    utterances = utterances_of(data, split, "dev", bonafide_is)
    if not any(utterance.speaker != "-" for utterance in utterances):
        print_warning(f"{data}: names no speakers, so each recording counts as a voice: errors will seem smaller")
    from aasist_jax.runtime.start_up import prepare_to_compute

    prepare_to_compute()
    split = split or ("dev" if data.is_dir() else None)
    # The options that make a difference to the calibration.
    options = {"--split": split, "--bonafide-is": bonafide_is, "--sure": "" if sure == 0.9 else str(sure)}
    given = [word for option, value in options.items() if value for word in (option, value)]
    _calibrate_detector(
        found,
        utterances,
        output,
        plot,
        data=str(data.name or data) + (f", split {split}" if split else ""),
        command=shlex.join(["aasist-jax", "calibrate", weights, "--data", str(data), *given]),
        sure=sure,
    )


def _calibrate_detector(found: Any, utterances: Any, output: Path | None, plot: Path | None, **how: Any) -> None:
    """Score the recordings, fit a calibration or a fusion, write it, and print how good it is.

    Args:
        found: the weights, as `Detector.from_pretrained` takes them.
        utterances: the recordings.
        output: the file to write; None: where the detector finds it again.
        plot: a picture to draw.
        how: what `calibrate_on` and `fuse_on` are told.
    """
    from aasist_jax.calibration.detector_calibration import save_detector_calibration
    from aasist_jax.calibration.fitting import held_out_llrs
    from aasist_jax.calibration.fusion import held_out_fused_llrs, save_fusion
    from aasist_jax.detection.calibrating import calibrate_on, fuse_on, read_evidence, read_recordings
    from aasist_jax.detection.detector import Detector, FusedDetector, calibration_file
    from aasist_jax.detection.fused import fusion_file

    detector = Detector.from_pretrained(found)
    if isinstance(detector, FusedDetector):
        detector.need_calibrated_members()
        recordings = _read(read_evidence(detector, utterances), len(utterances))
        fusion = fuse_on(detector, recordings, **how)
        path, used_at = output or fusion_file(detector.member_ids), f" as {fusion_file(detector.member_ids)}"
        save_fusion(fusion, path)
        if plot is not None:
            _draw(plot, recordings, held_out_fused_llrs(recordings, fusion), detector.weights_id, sure=how["sure"])
        _print_members(detector, fusion)
        _print_report(fusion)
    else:
        recordings = _read(read_recordings(detector, utterances), len(utterances))
        calibration = calibrate_on(detector, recordings, **how)
        path, used_at = output or calibration_file(Path(found), detector.weights_id), " in a weights folder"
        save_detector_calibration(calibration, path)
        if plot is not None:
            _draw(plot, recordings, held_out_llrs(recordings, calibration), detector.weights_id, sure=how["sure"])
        _print_report(calibration)
    verbs = "`score` and `verdicts`" if isinstance(detector, FusedDetector) else "`score`, `timeline` and `listen`"
    say(f"{path}: written; {verbs} use it{'' if output is None else used_at}")


def _read(read: Any, count: int) -> Any:
    """The recordings that can be used; it is told how many cannot."""
    from aasist_jax.runtime.progress import with_progress

    found = with_progress(read, description="Scoring", total=count)
    recordings = [recording for recording in found if recording is not None]
    if len(recordings) < count:
        print_warning(f"{count - len(recordings)} of {count} recordings are left out")
    return recordings


def _draw(plot: Path, recordings: Any, llrs: Any, name: str, *, sure: float) -> None:
    import numpy as np

    from aasist_jax.calibration.reliability_plot import draw_reliability

    is_human = np.array([each.is_human for each in recordings])
    draw_reliability(plot, llrs, is_human, name=name, sure=sure)


def _print_members(detector: Any, fusion: Any) -> None:
    """Print how much each member counts; warn of what was calibrated on the very recordings of the fusion."""
    from aasist_jax.commands.tables import print_table

    names = [member.weights_id for member in detector.members]
    slopes = [f"{slope:.3f}" for slope in fusion.logistic.slopes]
    print_table(("member", "weight of its LLR"), list(zip(names, slopes, strict=True)))
    print()
    if fusion.fitted_on.sha256 in [member.calibration.fitted_on.sha256 for member in detector.members]:
        print_warning("members were calibrated on the same recordings: errors on voices left out will seem smaller")


def utterances_of(data: Path, split: str | None, usual: str, bonafide_is: str) -> Any:
    """The labelled recordings of a table, or of a folder in any layout, by default its `usual` split."""
    from aasist_jax.data.layouts import layout_of
    from aasist_jax.data.layouts.csv_table import read_csv

    if data.is_dir():
        layout = layout_of(data)
        if bonafide_is and not layout.takes_bonafide_is:
            raise DataError(f"--bonafide-is: the layout {layout.name!r} of {data} has no numeric labels; leave it out")
        options = {"bonafide_is": bonafide_is} if bonafide_is else {}
        return layout.read(data, split or usual, "LA", **options)
    if not data.is_file():
        raise DataError(f"{data}: no such file or folder; give a CSV with the columns path,label,speaker")
    return read_csv(data, split, bonafide_is, way_out="--bonafide-is 1")


def _print_report(calibration: Any) -> None:
    """Print what it was fitted on and how it does on voices left out."""
    from aasist_jax.commands.tables import percent, print_table

    measured, fitted = calibration.measured, calibration.fitted_on
    print(f"Fitted on {fitted}.")
    print(
        f"On voices left out in turn: Cllr {measured.cllr:.3f} bits (at best {measured.min_cllr:.3f}; 1 says nothing); "
        f"verdicts that must be {100 * measured.sure:g} % sure:"
    )
    shares = (
        ("human called synthetic", measured.human_called_synthetic),
        ("synthetic called human", measured.synthetic_called_human),
        ("unsure", measured.unsure),
    )
    print_table(("share of recordings", ""), [(name, percent(share)) for name, share in shares])
    print()
    durations = [
        (f"{windows} window{'s' if windows != '1' else ''}", f"{bits:.3f}", *map(percent, errors))
        for windows, (bits, *errors) in measured.durations.items()
    ]
    header = ("length of recordings", "Cllr", "human called synthetic", "synthetic called human", "unsure")
    if durations:
        print_table(header, durations)
        print()
    for is_human, kind in ((True, "voice"), (False, "system")):
        found = [each for each in measured.voices if each.is_human is is_human]
        rows = [(each.name, str(each.recordings), percent(each.wrong), percent(each.unsure)) for each in found]
        print_table((f"{kind}, worst first", "recordings", "wrong", "unsure"), rows)
        print()
    worst = measured.voices[0]
    if worst.wrong > 0:
        kind = "the human voice" if worst.is_human else "the system"
        print(f"Worst: {kind} {worst.name}, with {percent(worst.wrong)} of its recordings called wrongly.")
    else:
        print("No recording of a voice left out was called wrongly.")


def _calibrate_scores(
    scores: Path,
    output: Path,
    keys: Path | None,
    where: list[str] | None,
    method: Method,
    prior: float,
    name: str,
    bonafide_is: str,
) -> None:
    from aasist_jax.calibration.llr import Calibration, fit_isotonic, fit_logistic, save_calibration
    from aasist_jax.commands.tables import print_calibration_losses
    from aasist_jax.evaluation.score_files import read_scores

    system = read_scores(scores, name, bonafide_is)
    trials = joined(system, chosen_keys(system, keys, where, bonafide_is))
    if method is Method.logistic:
        calibration: Calibration = fit_logistic(trials.scores, trials.is_bonafide, prior)
    else:
        calibration = fit_isotonic(trials.scores, trials.is_bonafide)
    save_calibration(calibration, output)
    systems = [(scores.stem, trials.scores), ("calibrated", calibration.apply(trials.scores))]
    print_calibration_losses(systems, trials.is_bonafide)
