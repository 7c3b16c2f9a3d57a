"""What arguments stand for: files, folders, patterns, standard input."""

import io
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from aasist_jax.audio.load import load_audio
from aasist_jax.detection import inputs
from aasist_jax.detection.inputs import Recording, find_recordings, left_out, open_recording
from aasist_jax.errors import AudioError


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("b.wav", "a.FLAC", "notes.txt", ".hidden.wav", "sub/c.mp3", "sub/deep/d.ogg", "z/readme.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def names(tree: Path, *arguments: str, recursive: bool = False) -> list[str]:
    found = find_recordings([tree / argument for argument in arguments], recursive=recursive)
    assert [recording.error for recording in found] == [""] * len(found)
    return [os.path.relpath(recording.name, tree) for recording in found]


def test_a_folder_stands_for_the_audio_in_it(tree: Path) -> None:
    assert names(tree, ".") == ["a.FLAC", "b.wav"]
    assert names(tree, ".", recursive=True) == ["a.FLAC", "b.wav", "sub/c.mp3", "sub/deep/d.ogg"]


def test_a_named_file_is_taken_whatever_it_is_called(tree: Path) -> None:
    assert names(tree, "notes.txt", ".hidden.wav", "none.wav") == ["notes.txt", ".hidden.wav", "none.wav"]


def test_a_path_is_scored_once(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert names(tree, "b.wav", ".", "sub/../b.wav", "b.wav") == ["b.wav", "a.FLAC", "b.wav"]
    monkeypatch.chdir(tree)
    assert [recording.name for recording in find_recordings(["./b.wav", ".", "b.wav"])] == ["b.wav", "a.FLAC"]


def test_a_pattern_stands_for_what_it_matches(tree: Path) -> None:
    assert names(tree, "*.[wF]*") == ["a.FLAC", "b.wav"]
    assert names(tree, "**/*.ogg") == ["sub/deep/d.ogg"]
    assert names(tree, "su*") == ["sub/c.mp3"]
    (tree / "x[1].wav").touch()
    assert names(tree, "x[1].wav") == ["x[1].wav"]


def test_what_yields_nothing_says_so(tree: Path) -> None:
    pattern, folder, deep = find_recordings([tree / "*.aiff", tree / "z"]) + find_recordings(
        [tree / "z"], recursive=True
    )
    assert pattern.error == f"{tree}/*.aiff: matches no file; check the pattern"
    assert folder.error == f"{tree}/z: no audio files in this folder; for its subfolders add --recursive"
    assert deep.error == f"{tree}/z: no audio files in this folder; name the files"
    with pytest.raises(AudioError, match="matches no file"):
        open_recording(pattern)


def test_what_is_left_out_of_subfolders_is_counted(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with subfolders, no `-r`: how many files were left out is told."""

    def told(*arguments: str) -> str:
        given = [tree / argument for argument in arguments]
        return left_out(given, find_recordings(given)).replace(str(tree), "TREE")

    ending = "; for them add --recursive (-r)"
    assert told(".") == "2 audio files are left out, in subfolders of TREE" + ending
    assert told("sub") == "1 audio file is left out, in subfolders of TREE/sub" + ending
    assert told("sub/../sub", "sub") == "1 audio file is left out, in subfolders of the 2 folders" + ending
    # What is named besides is not left out, nor is there anything in subfolders of these.
    assert told(".", "sub", "sub/deep/*") == ""
    assert told("z", "b.wav", "sub/deep", "none", "*.none") == ""
    assert told("*") == "1 audio file is left out, in subfolders of the 2 folders" + ending
    (tree / "sub" / "up").symlink_to(tree)
    assert told(".") == "2 audio files are left out, in subfolders of TREE" + ending
    monkeypatch.setattr(inputs, "FOLDERS_COUNTED", 2)
    assert told(".") == "at least 1 audio file is left out, in subfolders of TREE" + ending


ADDRESSES = {
    "https://example.org/call.mp3": "`curl -fLo call.mp3 https://example.org/call.mp3`",
    "HTTP://example.org/a/call.mp3?token=1&x=a b": (
        "`curl -fLo call.mp3 'http://example.org/a/call.mp3?token=1&x=a b'`"
    ),
    "https://example.org/": "`curl -fLo example.org https://example.org/`",
    "ftp://example.org/o'clock.wav": """`curl -fLo 'o'"'"'clock.wav' 'ftp://example.org/o'"'"'clock.wav'`""",
    "hf://owner/name/clips/call.wav": "`hf download owner/name clips/call.wav`",
    "s3://bucket/calls/call.wav": "`aws s3 cp s3://bucket/calls/call.wav call.wav`",
    "gs://bucket/call.wav": "`gcloud storage cp gs://bucket/call.wav call.wav`",
    "rtsp://camera/1": "`ffmpeg -i rtsp://camera/1 -t 60 call.wav` (a minute of it)",
}


@pytest.mark.parametrize("address", [*ADDRESSES, "file:///calls/call one.wav"])
def test_an_address_is_one_line_with_the_command_that_gets_it(
    tree: Path, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    """`score https://example.org/call.mp3`: one sentence with the curl line; hf://, s3:// and file:// as fits."""
    monkeypatch.chdir(tree)
    (recording,) = find_recordings([address])
    scheme, _, rest = address.partition("://")
    shown = f"{scheme.lower()}://{rest}"
    if scheme == "file":
        expected = f"{shown}: give the path instead of an address, '/calls/call one.wav'"
    else:
        way = ADDRESSES[address]
        expected = f"{shown}: recordings are read from files and not from addresses; get it first, with {way}"
    assert recording == Recording(address, expected)
    # A path makes one slash of two; and Python's door says the same.
    (recording,) = find_recordings([Path(address)])
    assert recording.error == expected or address.endswith("/")
    with pytest.raises(AudioError) as caught:
        load_audio(address)
    assert str(caught.value) == expected
    # A file that is there is read, whatever it is called.
    Path(address).parent.mkdir(parents=True)
    Path(address).touch()
    assert find_recordings([address.rstrip("/")]) == [Recording(str(Path(address)))]


def test_links_are_followed_and_loops_end(tree: Path) -> None:
    (tree / "sub" / "up").symlink_to(tree)
    (tree / "sub" / "self").symlink_to(tree / "sub" / "self")
    (tree / "again").symlink_to(tree / "sub")
    (tree / "link.wav").symlink_to(tree / "b.wav")
    (tree / "broken.wav").symlink_to(tree / "gone.wav")
    assert names(tree, ".", recursive=True) == [
        *("a.FLAC", "again/c.mp3", "again/deep/d.ogg", "b.wav", "broken.wav", "link.wav"),
    ]


def test_a_folder_that_cannot_be_read_is_told(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scandir = os.scandir

    def refusing(path: Path) -> object:
        if Path(path).name == "sub":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    found = find_recordings([tree], recursive=True)
    assert [recording.name for recording in found] == [str(tree / name) for name in ("a.FLAC", "b.wav", "sub")]
    assert found[-1].error == f"{tree}/sub: the folder cannot be read (Permission denied)"


def test_a_folder_deeper_than_any_recursion(tmp_path: Path) -> None:
    before = Path.cwd()
    os.chdir(tmp_path)
    try:
        for _ in range(300):
            os.mkdir("a")
            os.chdir("a")
        Path("x.wav").touch()
    finally:
        os.chdir(before)
    limit = sys.getrecursionlimit()
    (found,) = find_recordings([tmp_path], recursive=True)
    assert found.name.count("/a") >= 300
    assert sys.getrecursionlimit() == limit


def test_standard_input_is_read_whole_and_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    (recording,) = find_recordings(["-", "-"])
    monkeypatch.setattr(inputs, "STANDARD_INPUT_BYTES", 5)
    for content in (b"12345", b"123456"):
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(content), isatty=lambda: False))
        if len(content) == 5:
            source = open_recording(recording)
            assert isinstance(source, io.BytesIO)
            assert source.read() == content
        else:
            with pytest.raises(AudioError, match=r"^standard input: more than"):
                open_recording(recording)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: True))
    with pytest.raises(AudioError, match=r"^standard input: is a terminal"):
        open_recording(Recording("-"))
