from pathlib import Path

import numpy as np
import pytest

from aasist_jax.corpus.game_speech import QUEEN, RATE, SKY, load_line, queen_lines, sky_lines
from aasist_jax.corpus.speech import load_recording
from aasist_jax.errors import DataError
from tests.corpus.made_games import dialogue, make_queen, make_sky, mp3, vowel


@pytest.fixture
def queen(tmp_path: Path) -> Path:
    path = tmp_path / QUEEN
    sound = mp3(vowel(1.5, 120))
    names = ("070006J1.SB", "070006P1.SB", "080001P2.SB", "JOE00011.SB", "C41B_742.SB", "MI0.SB", "990001P1.SB")
    make_queen(path, {"FAYE4.DOG": dialogue(7), "BOB1.DOG": dialogue(8)} | dict.fromkeys(names, sound))
    return path


def test_the_table_of_queen_tells_who_speaks(queen: Path) -> None:
    speakers = {name: line.character for name, line in queen_lines(queen).items()}
    assert speakers == {
        "070006J1.SB": "joe",
        "070006P1.SB": "faye",
        "080001P2.SB": "bob",
        "JOE00011.SB": "joe",
        "C41B_742.SB": "scenes",
    }


def test_a_line_of_queen_is_mp3(queen: Path) -> None:
    wave, rate = load_line(queen, "070006P1.SB")
    assert rate == RATE
    assert wave.size == pytest.approx(1.5 * RATE, rel=0.1)
    assert np.sqrt(np.mean(wave**2)) == pytest.approx(np.sqrt(np.mean(vowel(1.5, 120) ** 2)), rel=0.1)
    loaded = load_recording(queen.with_name("queen.1c#070006P1.SB"))
    assert loaded.size == pytest.approx(wave.size * 16_000 / RATE, abs=2)


@pytest.fixture
def sky(tmp_path: Path) -> Path:
    path = tmp_path / SKY
    lines = {
        number: np.round(128 + 100 * vowel(0.2, hertz)).astype(np.uint8).tobytes()
        for number, hertz in ((50_007, 110.0), (50_009, 150.0))
    }
    make_sky(path, lines, {59_501: bytes(100), 800: b"\x81\x00" + bytes(20) + b"RNC\x01" + bytes(30)})
    return path


def test_lines_of_sky_are_unpacked(sky: Path) -> None:
    found = sky_lines(sky)
    assert {name: (line.character, line.seconds) for name, line in found.items()} == {
        "50007": ("", pytest.approx(0.2)),
        "50009": ("", pytest.approx(0.2)),
    }
    for name, hertz in (("50007", 110.0), ("50009", 150.0)):
        wave, rate = load_line(sky, name)
        assert rate == RATE
        np.testing.assert_allclose(wave, 100 / 128 * vowel(0.2, hertz), atol=0.5 / 128)


def test_marked_entries_of_sky_are_no_speech(sky: Path) -> None:
    listed = bytearray(sky.with_suffix(".dnr").read_bytes())
    listed[4 + 7] |= 0x40
    other = sky.with_name("other")
    other.mkdir()
    (other / "sky.dnr").write_bytes(listed)
    (other / "sky.dsk").write_bytes(sky.read_bytes())
    assert list(sky_lines(other / "sky.dsk")) == ["50009"]


@pytest.mark.parametrize("kept", [14, 15 + 21 * 3, 15 + 21 * 9 + 10, -1])
def test_a_part_of_queen_is_an_error_that_names_it(queen: Path, kept: int) -> None:
    """Cut in the count, in the table, in the head of a dialogue and in the last sound."""
    queen.write_bytes(queen.read_bytes()[:kept])
    with pytest.raises(DataError, match=r"^queen\.1c: "):
        queen_lines(queen)


def test_a_dialogue_without_a_head_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    make_queen(tmp_path / "queen.1c", {"FAYE4.DOG": dialogue(7)[:10]})
    with pytest.raises(DataError, match=r"^queen\.1c: its end is missing"):
        queen_lines(tmp_path / "queen.1c")


@pytest.mark.parametrize(("suffix", "kept"), [(".dnr", 3), (".dnr", 20), (".dsk", 40), (".dsk", 200), (".dsk", 0)])
def test_a_part_of_sky_is_an_error_that_names_it(sky: Path, suffix: str, kept: int) -> None:
    part = sky.with_suffix(suffix)
    part.write_bytes(part.read_bytes()[:kept])
    with pytest.raises(DataError, match=r"^sky\.(dnr|dsk): "):
        sky_lines(sky)


def test_other_files_are_errors_that_name_them(tmp_path: Path, queen: Path, sky: Path) -> None:
    (tmp_path / "queen.1c").write_bytes(b"something else")
    with pytest.raises(DataError, match=r"queen\.1c: no table of files"):
        queen_lines(tmp_path / "queen.1c")
    (tmp_path / "sky.dsk").write_bytes(b"")
    with pytest.raises(DataError, match=r"there is no sky\.dnr beside it"):
        sky_lines(tmp_path / "sky.dsk")
    (tmp_path / "sky.dnr").write_bytes(bytes(4))
    with pytest.raises(DataError, match="there is no speech in it"):
        sky_lines(tmp_path / "sky.dsk")
    with pytest.raises(DataError, match=r"queen\.1c: there is no line 1"):
        load_line(queen, "1")
    damaged = bytearray(sky.read_bytes())
    damaged[60:70] = bytes(10)
    sky.write_bytes(damaged)
    with pytest.raises(DataError, match=r"sky\.dsk, line 50007: "):
        load_line(sky, "50007")
