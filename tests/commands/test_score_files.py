"""The commands on score files, run as they are typed."""

import json
import re
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
from typer.testing import CliRunner

from aasist_jax.audio.facts import SignalFacts
from aasist_jax.commands.app import app
from aasist_jax.detection.files import Row
from aasist_jax.detection.result import Score
from aasist_jax.detection.row_text import write_rows
from aasist_jax.detection.verdict import DecisionRule, Verdict
from aasist_jax.errors import AasistError
from aasist_jax.evaluation.report import METRIC_NAMES
from aasist_jax.evaluation.score_files import read_scores
from aasist_jax.evaluation.verification_scores import read_asv_scores
from aasist_jax.metrics.tandem import min_a_dcf

REQUIRED = {
    *("eer", "eer_threshold", "min_tdcf_2019", "min_tdcf_2021", "min_dcf", "act_dcf", "cllr_bits"),
    *("min_cllr_bits", "eer_per_attack", "n_bonafide", "n_spoof", "asv"),
}


def run(*arguments):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if isinstance(result.exception, AasistError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result


@pytest.fixture
def files(tmp_path):
    """Keys, the scores of two systems and ASV scores of 600 made-up trials, each file in its own order."""
    random = np.random.default_rng(0)
    n = 600
    is_bonafide = np.arange(n) < 200
    attack = np.where(is_bonafide, "-", np.where(np.arange(n) < 400, "A01", "A<2>"))
    key = np.where(is_bonafide, "bonafide", "spoof")
    evidence = random.normal(3.0 * is_bonafide, 1)
    (tmp_path / "keys.txt").write_text(
        "".join(f"s{index % 11} u{index} - {attack[index]} {key[index]}\n" for index in range(n))
    )
    for name, noise in (("good", 0.0), ("poor", 1.5)):
        scores = evidence + random.normal(0, 1, n) * noise
        lines = [f"u{index} {scores[index]}\n" for index in random.permutation(n)]
        (tmp_path / f"{name}.txt").write_text("".join(lines))
    asv = [("bonafide", "target", 3), ("bonafide", "nontarget", 0), ("A01", "spoof", 2.5)]
    for name in ("asv", "sasv"):
        lines = [f"{group} {kind} {random.normal(mean)}\n" for group, kind, mean in asv for _ in range(300)]
        (tmp_path / f"{name}.txt").write_text("".join(lines))
    return tmp_path


class Page(HTMLParser):
    """What a page loads from elsewhere, its headings, and whether its tags close."""

    def __init__(self, text):
        super().__init__()
        self.loaded, self.headings, self.open = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        if tag not in ("meta", "img", "link"):
            self.open.append(tag)
        self.loaded += [value for name, value in attributes if name in ("src", "href")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("h1", "h2"):
            self.headings.append(data)


def test_metrics_writes_json_and_a_self_contained_report(files):
    run(
        *("metrics", "--scores", files / "good.txt", "--keys", files / "keys.txt", "--asv-scores", files / "asv.txt"),
        *(
            "--sasv-scores",
            files / "sasv.txt",
            "--compare",
            files / "poor.txt",
            "--json",
            files / "out" / "m.json",
            "--report",
            files / "report",
        ),
        *("--resamples", 60),
    )
    figures = json.loads((files / "out" / "m.json").read_text())
    assert set(figures) >= REQUIRED
    assert set(figures["asv"]) == {"eer", "threshold", "p_fa", "p_miss", "p_miss_spoof"}
    assert (figures["n_bonafide"], figures["n_spoof"]) == (200, 400)
    assert list(figures["eer_per_attack"]) == ["A01", "A<2>"]
    numbers = {name for name, value in figures.items() if isinstance(value, float)}
    assert numbers == set(figures["intervals"]) == set(METRIC_NAMES)
    for name, interval in figures["intervals"].items():
        assert interval["low"] < interval["high"], name
        assert interval["estimate"] == figures[name]
        assert interval["low"] <= figures[name] <= interval["high"], name
    assert figures["min_a_dcf"] == min_a_dcf(*vars(read_asv_scores(files / "sasv.txt")).values())
    assert figures["comparison"]["eer"]["difference"]["high"] < 0
    assert (files / "report" / "metrics.json").read_text() == (files / "out" / "m.json").read_text()
    page = Page((files / "report" / "report.html").read_text())
    assert page.open == []
    assert page.headings == ["good", "good less poor", "Curves", "By attack", "By speaker"]
    assert len(page.loaded) == 5
    assert all(source.startswith("data:image/svg+xml;base64,") for source in page.loaded)
    markdown = (files / "report" / "report.md").read_text()
    assert f"| EER | {100 * figures['eer']:.3f} % |" in markdown
    for image in re.findall(r"\]\((.*?)\)", markdown):
        assert (files / "report" / image).read_text().startswith("<?xml")


def test_every_column_of_the_keys_is_broken_down_worst_first(files):
    random = np.random.default_rng(1)
    columns = ("filename", "label", "attack", "codec", "language", "duration", "speaker")
    rows = []
    for index in range(600):
        bonafide = index < 200
        seconds = f"{random.uniform(1, 9):.3f}"
        kind = ("bonafide", "-") if bonafide else ("spoof", f"A{index % 3}")
        rows.append(
            (f"u{index}", *kind, ("opus", "gsm")[index % 2], ("de", "fr")[index // 2 % 2], seconds, f"s{index % 40}")
        )
    (files / "keys.csv").write_text("".join(",".join(row) + "\n" for row in [columns, *rows]))
    base = ("metrics", "--scores", files / "poor.txt", "--keys", files / "keys.csv", "--resamples", 5)
    result = run(*base, "--json", files / "m.json", "--report", files / "report")
    breakdowns = json.loads((files / "m.json").read_text())["breakdowns"]
    assert list(breakdowns) == ["attack", "codec", "language", "duration", "speaker"]
    assert {name: len(groups) for name, groups in breakdowns.items()} == {
        **{"attack": 3, "codec": 2, "language": 2, "duration": 4, "speaker": 40}
    }
    page, markdown = ((files / "report" / f"report.{kind}").read_text() for kind in ("html", "md"))
    assert "40 speakers, in --report and --json" in result.stdout
    assert "s17" not in result.stdout
    for name, groups in breakdowns.items():
        rates = [group["eer"] for group in groups if group["eer"] is not None]
        assert rates == sorted(rates, reverse=True)
        assert name == "speaker" or name.capitalize() in result.stdout
        for text in (page, markdown):
            assert f"By {name}" in text
            assert all(group["value"] in text for group in groups)


def test_a_long_breakdown_is_cut_on_the_terminal(files):
    lines = (files / "keys.txt").read_text().splitlines()
    rows = [f"{line.split()[1]},{line.split()[-1]},c{index % 20}\n" for index, line in enumerate(lines)]
    (files / "keys.csv").write_text("file,label,codec\n" + "".join(rows))
    result = run("metrics", "--scores", files / "poor.txt", "--keys", files / "keys.csv", "--resamples", 0)
    assert "... and 5 more, in --report and --json" in result.stdout


def scored(score, *, published):
    """A result of the command `score`: of a published one, or calibrated so that its LLR is a tenth of the score."""
    verdict = Verdict("unsure", score and score / 10, score and 0.5, () if score else ("silent",), DecisionRule())
    return Score(
        verdict=None if published else verdict,
        score=score,
        logits=score and (0.0, score),
        seconds=2.0,
        heard_seconds=2.0 if score else 0.0,
        speech_seconds=1.5,
        status="ok" if score else "silent",
        facts=SignalFacts(2.0, 1.5, -20.0, 0.5, 0.0, 8000.0),
        weights_id="x",
        model_id="x" if published else "x+y",
        windows=(),
    )


def write_as_score_does(folder, format, *, published):
    """The scores of good.txt as `score` writes them, of recordings in folders; one failed, one is silent."""
    rows = [
        Row("eval/none.flac", None, 'eval/none.flac: no such file, \n"none"'),
        Row("eval/silent.flac", scored(None, published=published)),
    ]
    for line in (folder / "good.txt").read_text().splitlines():
        name, score = line.split()
        rows.append(Row(f"eval/{name}.flac", scored(float(score), published=published)))
    path = folder / f"eval.{format}"
    with path.open("w") as file:
        write_rows(rows, format, file.write)
    return path


@pytest.mark.parametrize("published", [False, True])
@pytest.mark.parametrize("format", ["csv", "json", "jsonl"])
def test_what_score_writes_is_read(files, format, published):
    """`metrics` and `calibrate` on `score --output`: read, and joined with `--keys`."""
    path, keys = write_as_score_does(files, format, published=published), ("--keys", files / "keys.txt")
    plain = json.loads(run("metrics", "--scores", files / "good.txt", *keys, "--resamples", 0, "--json", "-").stdout)
    result = run("metrics", "--scores", path, *keys, "--resamples", 0, "--json", "-")
    assert json.loads(result.stdout) == plain | {"system": "eval"}
    assert f"{path}: 2 recordings have no score and are left out, first eval/none.flac, eval/silent.flac" in (
        result.stderr
    )
    assert f"{path}: names are joined without folders and suffixes: eval/u" in result.stderr
    run("calibrate", "--scores", path, *keys, "--output", files / "c.json")
    run("calibrate", "--scores", files / "good.txt", *keys, "--output", files / "plain.json")
    assert json.loads((files / "c.json").read_text()) == json.loads((files / "plain.json").read_text())
    run("llr", "--scores", path, "--calibration", files / "c.json", "--output", files / "llr.txt")
    assert len((files / "llr.txt").read_text().splitlines()) == 600
    run("fuse", "--scores", path, "--scores", files / "poor.txt", *keys, "--output", files / "f.json")
    with pytest.raises(AasistError, match="its labels are verdicts and not keys; give the keys with --keys"):
        run("metrics", "--scores", path)
    for name in ("p_synthetic", "spoof_logit"):
        with pytest.raises(AasistError, match=f"--name {name}: this rises with spoofs"):
            run("metrics", "--scores", path, *keys, "--name", name)
    if published:
        with pytest.raises(AasistError, match=r"no recording has a score \(--name llr\)"):
            run("metrics", "--scores", path, *keys, "--name", "llr")
    else:
        told = json.loads(run("metrics", "--scores", path, *keys, "--name", "llr", "--json", "-").stdout)
        assert told["eer"] == plain["eer"]
        assert told["cllr_bits"] != plain["cllr_bits"]


def test_scores_of_toolkits_with_suffix_and_numeric_key(files):
    keys = {line.split()[1]: line.split()[-1] for line in (files / "keys.txt").read_text().splitlines()}
    lines = [line.split() for line in (files / "good.txt").read_text().splitlines()]
    path = files / "toolkit.txt"
    path.write_text("".join(f"{name}.flac {score} {int(keys[name] == 'bonafide')}\n" for name, score in lines))
    base = ("metrics", "--scores", path, "--resamples", 0, "--json", "-")
    with pytest.raises(AasistError, match="nothing says which means bona fide; say it with --bonafide-is"):
        run(*base)
    told = json.loads(run(*base, "--bonafide-is", 1).stdout)
    joined = json.loads(run(*base, "--keys", files / "keys.txt").stdout)
    assert told["eer"] == joined["eer"]
    (files / "c.json").unlink(missing_ok=True)
    run("calibrate", "--scores", path, "--bonafide-is", 1, "--output", files / "c.json")
    run("fuse", "--scores", path, "--scores", path, "--bonafide-is", 1, "--output", files / "f.json")
    with pytest.raises(AasistError, match="call 600 trials by different keys"):
        run(*base, "--keys", files / "keys.txt", "--bonafide-is", 0)


def test_the_official_subset_is_said_and_can_be_changed(files):
    rows = [line.split() for line in (files / "keys.txt").read_text().splitlines()]
    subsets = ("progress", "eval", "hidden")
    (files / "trial_metadata.txt").write_text(
        "".join(
            f"{speaker} {name} alaw{index % 2} ita_tx {attack} {key} notrim {subsets[index % 3]}\n"
            for index, (speaker, name, _, attack, key) in enumerate(rows)
        )
    )

    def count(*options):
        base = ("metrics", "--scores", files / "good.txt", "--keys", files / "trial_metadata.txt", "--resamples", 0)
        result = run(*base, "--json", "-", *options)
        figures = json.loads(result.stdout)
        return figures["n_bonafide"] + figures["n_spoof"], result.stderr

    number, said = count()
    assert number == 200
    assert [line for line in said.splitlines() if "subset" in line] == [
        f"{files / 'trial_metadata.txt'}: the 200 of 600 trials of subset=eval, as in the official figures; --where "
        "'subset=*' takes all"
    ]
    assert "warning" not in said
    assert count("--where", "subset=*")[0] == 600
    assert count("--where", "subset=hidden") == (200, "")
    assert count("--where", "codec=alaw0")[0] == 100


def test_the_table_on_the_terminal_shows_the_figures(files):
    output = run("metrics", "--scores", files / "good.txt", "--keys", files / "keys.txt", "--resamples", 20).output
    assert re.search(r"EER +\d+\.\d{3} % +\d+\.\d{3} % to", output)
    assert "t-DCF" not in output


def test_resampling_by_speaker_and_attack_gives_other_intervals(files):
    def interval(*options):
        base = (
            "metrics",
            "--scores",
            files / "good.txt",
            "--keys",
            files / "keys.txt",
            "--resamples",
            60,
            "--json",
            "-",
        )
        return json.loads(run(*base, *options).stdout)["intervals"]["eer"]

    assert interval() != interval("--by-speaker") != interval("--by-speaker", "--by-attack")
    assert interval() == interval()


def test_inverted_scores_are_warned_of(files):
    lines = [line.split() for line in (files / "good.txt").read_text().splitlines()]
    (files / "inverted.txt").write_text("".join(f"{name} {-float(score)}\n" for name, score in lines))
    result = run("metrics", "--scores", files / "inverted.txt", "--keys", files / "keys.txt", "--resamples", 0)
    assert "warning: the EER is 9" in result.stderr
    assert "turn their sign" in result.stderr


def test_scores_of_one_condition(files):
    result = run(
        *("metrics", "--scores", files / "good.txt", "--keys", files / "keys.txt", "--where", "speaker=s3"),
        *("--resamples", 0, "--json", "-"),
    )
    figures = json.loads(result.stdout)
    assert figures["n_bonafide"] + figures["n_spoof"] == 55


def test_calibrated_scores_keep_their_eer_and_lose_cllr(files):
    scores, keys = ("--scores", files / "poor.txt"), ("--keys", files / "keys.txt")
    for method in ("logistic", "isotonic"):
        run("calibrate", *scores, *keys, "--output", files / "c.json", "--method", method)
        run("llr", *scores, "--calibration", files / "c.json", "--output", files / "llr.txt", "--layout", "asvspoof5")
        before, after = (
            json.loads(run("metrics", *system, *keys, "--resamples", 0, "--json", "-").stdout)
            for system in (scores, ("--scores", files / "llr.txt"))
        )
        assert after["cllr_bits"] < before["cllr_bits"]
        assert after["eer"] == pytest.approx(before["eer"], abs=0.005)


def test_fused_scores_and_probabilities(files):
    systems = ("--scores", files / "good.txt", "--scores", files / "poor.txt")
    run("fuse", *systems, "--keys", files / "keys.txt", "--output", files / "f.json")
    fused = (*systems, "--calibration", files / "f.json")
    run("llr", *fused, "--output", files / "llr.txt")
    run("llr", *fused, "--output", files / "p.txt", "--probability", "--p-spoof", 0.5)
    ratios, probabilities = read_scores(files / "llr.txt"), read_scores(files / "p.txt")
    assert ratios.utterances.tolist() == read_scores(files / "good.txt").utterances.tolist()
    np.testing.assert_allclose(probabilities.scores, 1 / (1 + np.exp(ratios.scores)), rtol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("metrics", "--scores", "good.txt"), "holds no keys; give the protocol with --keys"),
        (("metrics", "--scores", "good.txt", "--keys", "keys.txt", "--where", "s3"), "not COLUMN=VALUE"),
        (("metrics", "--scores", "good.txt", "--keys", "asv.txt"), "3 columns and no header"),
        (("metrics", "--scores", "good.txt", "--keys", "keys.txt", "--p-spoof", "2"), "prior of a spoof is 2"),
        (
            ("metrics", "--scores", "good.txt", "--keys", "keys.txt", "--compare", "poor.txt", "--resamples", "0"),
            "needs",
        ),
        (("metrics", "--scores", "good.txt", "--keys", "keys.txt", "--sasv-keys", "k.tsv"), "goes with --sasv-scores"),
        (("fuse", "--scores", "good.txt", "--keys", "keys.txt", "--output", "f.json"), "at least two systems"),
    ],
)
def test_bad_calls_raise_one_line(files, monkeypatch, arguments, complaint):
    monkeypatch.chdir(files)
    with pytest.raises(AasistError, match=complaint) as raised:
        run(*arguments)
    assert "\n" not in str(raised.value)


def test_the_commands_run_without_jax_and_without_matplotlib(files):
    code = (
        "import atexit, sys; from aasist_jax.commands.app import main; "
        "atexit.register(lambda: print({'jax', 'flax', 'matplotlib', 'sklearn'} & set(sys.modules))); main()"
    )
    scores = ("--scores", files / "good.txt", "--keys", files / "keys.txt")
    for arguments in (
        ("metrics", *scores, "--resamples", 2, "--json", files / "m.json"),
        ("calibrate", *scores, "--output", files / "c.json"),
        ("fuse", *scores, "--scores", files / "poor.txt", "--output", files / "f.json"),
        ("llr", *scores[:2], "--calibration", files / "c.json", "--output", files / "llr.txt"),
    ):
        done = subprocess.run(
            [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, check=True
        )
        assert done.stdout.splitlines()[-1] == "set()"


@pytest.mark.reference
def test_the_json_holds_the_golden_figures(reference, tmp_path):
    run(
        *("metrics", "--scores", reference / "scores" / "RawGAT-ST-mul.eval.txt"),
        *("--keys", reference / "asvspoof2019_la" / "ASVspoof2019.LA.cm.eval.trl.txt"),
        *("--asv-scores", reference / "asvspoof2019_la" / "ASVspoof2019.LA.asv.eval.gi.trl.scores.txt"),
        *("--resamples", 0, "--json", tmp_path / "m.json"),
    )
    figures = json.loads((tmp_path / "m.json").read_text())
    golden = json.loads((reference / "golden" / "metrics.json").read_text())
    assert set(figures) >= REQUIRED
    assert figures["asv"] == pytest.approx(golden["asv"], rel=1e-12)
    per_attack = golden["RawGAT-ST-mul"].pop("eer_per_attack")
    assert figures["eer_per_attack"] == pytest.approx(per_attack, rel=1e-12)
    for name, value in golden["RawGAT-ST-mul"].items():
        assert figures[name] == pytest.approx(value, rel=1e-12), name


@pytest.mark.parametrize("words", [("spoof", "bonafide"), ("target", "nontarget")])
def test_decisions_of_another_program_are_no_keys_where_keys_are_given(files, words):
    """A column `label` beside the scores may hold what a program decided."""
    rows = [line.split() for line in (files / "good.txt").read_text().splitlines()]
    path = files / "decided.csv"
    path.write_text("filename,score,label\n" + "".join(f"{n},{s},{words[float(s) > 0]}\n" for n, s in rows))
    told = run("metrics", "--scores", path, "--keys", files / "keys.txt", "--resamples", 0, "--json", "-")
    plain = run(
        "metrics", "--scores", files / "good.txt", "--keys", files / "keys.txt", "--resamples", 0, "--json", "-"
    )
    assert json.loads(told.stdout) == json.loads(plain.stdout) | {"system": "decided"}
    if words[0] == "spoof":
        alone = run("metrics", "--scores", path, "--resamples", 0)
        assert "the column 'label' is taken as the truth" in alone.stderr
    else:
        with pytest.raises(AasistError, match=r"keys are neither bonafide nor spoof.*give the keys with --keys"):
            run("metrics", "--scores", path, "--resamples", 0)
