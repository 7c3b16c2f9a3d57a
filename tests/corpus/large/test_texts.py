from pathlib import Path

import pytest

from aasist_jax.corpus.large.texts import read_texts, usable
from aasist_jax.corpus.plan import SPLITS
from aasist_jax.errors import DataError


def write(folder: Path, count: int) -> None:
    stamps = folder / "usr/share/tuxpaint/stamps/animals"
    stamps.mkdir(parents=True)
    for number in range(count):
        word = "abcdefghij"[number % 10] * (number // 10 + 1)
        (stamps / f"{number}.txt").write_text(f"A little {word}.\nfr.utf8=Un petit {word}.\nfr_CA.utf8=Autre {word}.\n")


def test_texts_of_a_stamp_are_in_one_split(tmp_path: Path) -> None:
    write(tmp_path, 60)
    texts = read_texts(tmp_path, ["en", "fr"])
    words = {split: {text.split()[-1] for text in texts[split]["en"]} for split in SPLITS}
    assert {split: {text.split()[-1] for text in texts[split]["fr"]} for split in SPLITS} == words
    assert sum(len(of) for of in words.values()) == 60
    assert words["train"] & words["eval"] == words["train"] & words["dev"] == words["dev"] & words["eval"] == set()
    assert len(words["train"]) > len(words["eval"]) > 0
    assert texts["train"]["en"] == tuple(sorted(texts["train"]["en"]))


def test_no_text_is_in_two_splits_though_stamps_of_both_have_it(tmp_path: Path) -> None:
    write(tmp_path, 60)
    apart = read_texts(tmp_path, ["fr"])
    for path in tmp_path.rglob("*.txt"):
        english, *_ = path.read_text().splitlines()
        path.write_text(f"{english}\nfr.utf8=Un seul animal.\n")
    with pytest.raises(DataError, match=r"no texts in 'fr'"):
        read_texts(tmp_path, ["fr"])
    for path in tmp_path.rglob("*.txt"):
        english, *_ = path.read_text().splitlines()
        path.write_text(f"{english}\nfr.utf8=Un animal {int(path.stem) // 2 * 'o'}.\n")
    together = read_texts(tmp_path, ["fr"])
    train, dev, of_eval = (set(together[split]["fr"]) for split in SPLITS)
    assert train & dev == train & of_eval == dev & of_eval == set()
    assert len(train | dev | of_eval) == 30
    assert sum(len(apart[split]["fr"]) for split in SPLITS) == 60


def test_a_language_without_texts_is_an_error(tmp_path: Path) -> None:
    write(tmp_path, 60)
    with pytest.raises(DataError, match=r"tuxpaint-stamps-default: no texts in 'de'"):
        read_texts(tmp_path, ["en", "de"])


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("A cat's paw, black and white!", True),
        ("Žlutá liška – pěkná.", True),
        ("A US 25 cent piece ($.25) called a quarter.", False),
        ('A "cat" on a mat', False),
        ("A \\cat on a mat", False),
        ("short", False),
        ("long " * 40, False),
        ("", False),
    ],
)
def test_texts_are_speech_as_they_stand(text: str, good: bool) -> None:
    assert usable(text) == good
