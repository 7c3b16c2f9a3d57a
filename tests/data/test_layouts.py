"""Lists of clips: the published layout, CSV files, and every fault of a list in one message."""

from collections import Counter
from pathlib import Path

import pytest

from aasist_jax.data import layouts
from aasist_jax.data.layouts.asvspoof2019 import read_asvspoof2019_la
from aasist_jax.data.layouts.csv_table import read_csv, splits_there
from aasist_jax.data.utterances import Utterance, make_utterance
from aasist_jax.errors import DataError

PROTOCOL = "ASVspoof2019_LA_cm_protocols/ASVspoof2019.LA.cm.train.trn.txt"


def write_protocol(root: Path, text: str) -> Path:
    path = root / PROTOCOL
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def write_csv(folder: Path, text: str) -> Path:
    path = folder / "clips.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_published_layout(tmp_path: Path) -> None:
    protocol = write_protocol(tmp_path, "LA_0079 LA_T_1138215 - - bonafide\n\nLA_0081 LA_T_9999999 - A06 spoof\n")
    flac = tmp_path / "ASVspoof2019_LA_train" / "flac"
    assert read_asvspoof2019_la(tmp_path, "train") == [
        Utterance("LA_T_1138215", flac / "LA_T_1138215.flac", "bonafide", "-", "LA_0079", f"{protocol}:1"),
        Utterance("LA_T_9999999", flac / "LA_T_9999999.flac", "spoof", "A06", "LA_0081", f"{protocol}:3"),
    ]


@pytest.mark.reference
@pytest.mark.parametrize(
    ("split", "clips", "bonafide", "attacks"),
    [
        pytest.param("train", 25_380, 2_580, 6, marks=pytest.mark.slow),
        ("dev", 24_844, 2_548, 6),
        pytest.param("eval", 71_237, 7_355, 13, marks=pytest.mark.slow),
    ],
)
def test_the_published_protocols_themselves(
    reference: Path, tmp_path: Path, split: str, clips: int, bonafide: int, attacks: int
) -> None:
    (tmp_path / "ASVspoof2019_LA_cm_protocols").symlink_to(reference / "asvspoof2019_la")
    utterances = read_asvspoof2019_la(str(tmp_path), split)
    labels = Counter(utterance.label for utterance in utterances)
    assert labels == {"bonafide": bonafide, "spoof": clips - bonafide}
    assert len({utterance.attack for utterance in utterances}) == attacks + 1
    assert utterances[0].path.parent == tmp_path / f"ASVspoof2019_LA_{split}" / "flac"


def test_a_folder_is_read_in_the_layout_that_it_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In that of a stranger as well, and in none where two would do."""
    known = layouts.all_layouts()
    with pytest.raises(DataError, match=r": holds no data set of a known layout\. There are: 'asvspoof2019_la' \("):
        layouts.layout_of(tmp_path)
    (tmp_path / "mine").touch()
    mine = layouts.Layout("mine", "", lambda *_: [], lambda path, track: ["eval"] if (path / "mine").exists() else [])
    monkeypatch.setattr(layouts, "all_layouts", lambda: known | {"mine": mine})
    assert layouts.layout_of(tmp_path) is mine
    write_protocol(tmp_path, "LA_1 LA_T_1 - - bonafide\n")
    (tmp_path / "ASVspoof2019_LA_train").mkdir()
    with pytest.raises(DataError, match="can be read in several layouts, asvspoof2019_la, mine; give a CSV file"):
        layouts.layout_of(tmp_path)
    (tmp_path / "mine").unlink()
    assert layouts.layout_of(tmp_path).name == "asvspoof2019_la"


def test_the_physical_access_track(tmp_path: Path) -> None:
    protocol = tmp_path / "ASVspoof2019_PA_cm_protocols" / "ASVspoof2019.PA.cm.dev.trl.txt"
    protocol.parent.mkdir()
    protocol.write_text("PA_0079 PA_D_0000001 aaa AB spoof\n")
    (utterance,) = read_asvspoof2019_la(tmp_path, "dev", track="PA")
    assert utterance.path == tmp_path / "ASVspoof2019_PA_dev" / "flac" / "PA_D_0000001.flac"


def test_every_malformed_line_is_reported(tmp_path: Path) -> None:
    faults = [
        ("LA_1 LA_T_1 - bonafide", "4 columns"),
        ("LA_1 LA_T_2 - - genuine", "'genuine' is neither"),
        ("LA_1 LA_T_3 - A01 bonafide", "does not go with attack 'A01'"),
        ("LA_1 LA_T_4 - - spoof", "does not go with attack '-'"),
        ("LA_1 ../LA_T_5 - - bonafide", "not a plain file name"),
        ("LA_1 LA_T_0 - - bonafide", "stands already at"),
    ]
    protocol = write_protocol(tmp_path, "LA_1 LA_T_0 - - bonafide\n" + "".join(f"{line}\n" for line, _ in faults))
    with pytest.raises(DataError, match="6 malformed lines") as caught:
        read_asvspoof2019_la(tmp_path, "train")
    lines = str(caught.value).splitlines()[1:]
    assert len(lines) == len(faults)
    for number, (line, (_, reason)) in enumerate(zip(lines, faults, strict=True), start=2):
        assert f"{protocol}:{number}: " in line
        assert reason in line


def test_a_long_list_of_faults_is_cut_and_counted(tmp_path: Path) -> None:
    write_protocol(tmp_path, "bad\n" * 50)
    with pytest.raises(DataError, match=r"50 malformed lines(.|\n)*\.\.\. and 30 more") as caught:
        read_asvspoof2019_la(tmp_path, "train")
    assert len(str(caught.value).splitlines()) == 22


def test_protocols_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"ASVspoof2019\.LA\.cm\.train\.trn\.txt: No such file"):
        read_asvspoof2019_la(tmp_path, "train")
    with pytest.raises(DataError, match="'test' is not one of train, dev, eval"):
        read_asvspoof2019_la(tmp_path, "test")
    write_protocol(tmp_path, "\n")
    with pytest.raises(DataError, match="lists no clips"):
        read_asvspoof2019_la(tmp_path, "train")
    (tmp_path / PROTOCOL).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="not UTF-8"):
        read_asvspoof2019_la(tmp_path, "train")


def test_originals_of_copies(tmp_path: Path) -> None:
    write_protocol(tmp_path, "a h1 - - bonafide\na c1 - A01 spoof\na c2 - A02 spoof\n")
    assert [clip.copy_of for clip in read_asvspoof2019_la(tmp_path, "train")] == ["", "", ""]
    (tmp_path / "metadata.csv").write_text("utterance,split,origin\nh1,train,h0\nc1,train,h1\nc2,train,\n")
    assert [clip.copy_of for clip in read_asvspoof2019_la(tmp_path, "train")] == ["", "h1", ""]
    (tmp_path / "metadata.csv").write_bytes(b"\xff")  # somebody else's
    assert [clip.copy_of for clip in read_asvspoof2019_la(tmp_path, "train")] == ["", "", ""]
    table = "path,label,copy_of\na/h 1.wav,real,\nc1.wav,fake,a/h_1\nc2.wav,fake,a/h 1.wav\nc3.wav,fake,\n"
    assert [clip.copy_of for clip in read_csv(write_csv(tmp_path, table))] == ["", "a/h_1", "a/h_1", ""]


def test_csv(tmp_path: Path) -> None:
    listing = write_csv(
        tmp_path,
        "\ufeffpath,label,attack,speaker,split,utterance,note\n"
        "a/one.wav,Bona-Fide,,ann,train,,\n"
        "/abs/two.flac,fake,vocoder,,train,second,\n"
        '"with, comma and space.mp3",SYNTHETIC,,bob,train,,x\n'
        "four.wav,human,-,,dev,,\n",
    )
    train = [
        Utterance("a/one", tmp_path / "a/one.wav", "bonafide", "-", "ann", f"{listing}:2"),
        Utterance("second", Path("/abs/two.flac"), "spoof", "vocoder", "-", f"{listing}:3"),
        Utterance(
            "with,_comma_and_space",
            tmp_path / "with, comma and space.mp3",
            "spoof",
            "unknown",
            "bob",
            f"{listing}:4",
        ),
    ]
    assert read_csv(listing, split="train") == train
    assert [utterance.utterance for utterance in read_csv(str(listing))] == [
        *(utterance.utterance for utterance in train),
        "four",
    ]


def test_no_name_in_a_score_file_holds_a_space(tmp_path: Path) -> None:
    (clip,) = read_csv(write_csv(tmp_path, "path,label,attack\na.wav,fake, neural  codec \n"))
    assert clip.attack == "neural_codec"
    listing = write_csv(tmp_path, "path,label,utterance\na.wav,fake,my clip\n")
    with pytest.raises(DataError, match=r"1 malformed line; mend it:\n.*csv:2: utterance 'my clip' holds a space"):
        read_csv(listing)


@pytest.mark.parametrize(
    ("utterance", "attack", "complaint"),
    [
        ("my clip", "A01", "utterance 'my clip' holds a space"),
        ("", "A01", "utterance '' is empty"),
        ("clip", "neural codec", "attack 'neural codec' holds a space"),
        ("clip", "", "attack '' is empty"),
    ],
)
def test_names_that_a_score_file_cannot_hold_are_refused(utterance: str, attack: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=f"^{complaint}$"):
        make_utterance(utterance, Path("a.wav"), "spoof", attack, "-", "list:1")


@pytest.mark.parametrize("word", ["bonafide", "bona-fide", "genuine", "real", "human"])
def test_words_for_bona_fide(tmp_path: Path, word: str) -> None:
    assert read_csv(write_csv(tmp_path, f"path,label\na.wav,{word}\n"))[0].label == "bonafide"


@pytest.mark.parametrize("word", ["spoof", "fake", "synthetic", "Fake"])
def test_words_for_spoof(tmp_path: Path, word: str) -> None:
    assert read_csv(write_csv(tmp_path, f"path,label\na.wav,{word}\n"))[0].label == "spoof"


@pytest.mark.parametrize(
    "text",
    [
        "file,speaker,label\na.wav,ann,bona-fide\nb.wav,bob,spoof\n",
        "\ufeffFile;Speaker_ID;Class\na.wav;ann;real\nb.wav;bob;fake\n",
        "filename\tspk\ttarget\na.wav\tann\tgenuine\nb.wav\tbob\tdeepfake\n",
        "audio_path,key,speaker,attack_id\na.wav,human,ann,bonafide\nb.wav,synthetic,bob,\n",
    ],
)
def test_the_usual_names_of_columns_and_separators(tmp_path: Path, text: str) -> None:
    clips = read_csv(write_csv(tmp_path, text))
    assert [(clip.path, clip.label, clip.speaker, clip.attack) for clip in clips] == [
        (tmp_path / "a.wav", "bonafide", "ann", "-"),
        (tmp_path / "b.wav", "spoof", "bob", "unknown"),
    ]


def test_a_comma_in_a_path_does_not_break_a_table_with_semicolons(tmp_path: Path) -> None:
    (clip,) = read_csv(write_csv(tmp_path, "path;label\na, b.wav;real\n"))
    assert clip.path == tmp_path / "a, b.wav"


@pytest.mark.parametrize("column", ["subset", "fold", "split"])
def test_the_usual_names_of_splits(tmp_path: Path, column: str) -> None:
    names = ("training", "val", "Test")
    lines = "".join(f"{name}.wav,{'real' if name == 'val' else 'fake'},{name}\n" for name in names)
    listing = write_csv(tmp_path, f"file,target,{column}\n{lines}")
    assert set(splits_there(listing)) >= {"train", "dev", "eval"}
    for split, name in zip(("train", "dev", "eval", "Test"), (*names, "Test"), strict=True):
        assert [clip.utterance for clip in read_csv(listing, split)] == [name]
    # A split of the very name is the one that is meant.
    (tmp_path / "both").mkdir()
    listing = write_csv(tmp_path / "both", "file,target,split\na.wav,real,dev\nb.wav,fake,val\n")
    assert [clip.utterance for clip in read_csv(listing, "dev")] == ["a"]


def test_what_one_means_is_asked_for_or_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    listing = write_csv(tmp_path, "file,target,subset\na.wav,1,train\nb.wav,0,train\n")
    with pytest.raises(DataError) as caught:
        read_csv(listing, "train")
    assert str(caught.value) == (
        f"{listing}: the labels are 0 and 1, and nothing says which means bona fide; say it with --set "
        "data_config.bonafide_is=1"
    )
    assert [clip.label for clip in read_csv(listing, "train", "1")] == ["bonafide", "spoof"]
    assert [clip.label for clip in read_csv(listing, "train", "0")] == ["spoof", "bonafide"]
    assert splits_there(listing) == ["train"]
    assert caplog.text == ""
    listing = write_csv(tmp_path, "file,is_fake,subset\na.wav,1,train\nb.wav,0,dev\n")
    assert [read_csv(listing, split)[0].label for split in ("train", "dev")] == ["spoof", "bonafide"]
    assert [record.getMessage() for record in caplog.records] == [
        f"{listing}: 1 means spoof, by the name of the column is_fake"
    ]


@pytest.mark.parametrize("text", ["a.wav,real\nb.wav,fake\n", "clips/a.flac;x\n", "a,spoof\n"])
def test_a_table_without_a_header_is_told_what_to_add(tmp_path: Path, text: str) -> None:
    listing = write_csv(tmp_path, text)
    with pytest.raises(DataError) as caught:
        read_csv(listing, "train")
    assert str(caught.value) == (
        f"{listing}: its first line is a clip already; put a line above it that names the columns, as in path,label"
    )


def test_csv_faults(tmp_path: Path) -> None:
    listing = write_csv(
        tmp_path,
        "path,label,split\nok.wav,real,train\na.wav,1,train\n,real,train\nb.wav,real\nc.wav,real,train,x\nok.flac,fake,train\n",
    )
    for split in (None, "train"):
        with pytest.raises(DataError, match="5 malformed lines") as caught:
            read_csv(listing, split=split)
        for number, reason in [
            (3, "label '1' is not one of bonafide"),
            (4, "no path"),
            (5, "not the 3 columns"),
            (6, "not the 3 columns"),
            (7, "utterance 'ok' stands already at"),
        ]:
            assert f"{listing}:{number}: {reason}" in str(caught.value)


def test_without_a_split_column_speakers_are_dealt_out(tmp_path: Path) -> None:
    lines = [f"{i}.wav,{'real' if i % 2 else 'fake'},speaker {i % 50}" for i in range(500)]
    listing = write_csv(tmp_path, "\n".join(["path,label,speaker", *lines]) + "\n")
    train, dev = (read_csv(listing, split) for split in ("train", "dev"))
    assert {clip.utterance for clip in train + dev} == {str(i) for i in range(500)}
    assert not {clip.speaker for clip in train} & {clip.speaker for clip in dev}
    assert 20 < len(dev) < 200
    # The same speakers go to dev whatever the order of the lines.
    shuffled = write_csv(tmp_path, "\n".join(["path,label,speaker", *lines[::-1]]) + "\n")
    assert {clip.utterance for clip in read_csv(shuffled, "dev")} == {clip.utterance for clip in dev}


def test_the_splits_of_a_table(tmp_path: Path) -> None:
    listing = write_csv(tmp_path, "path,label,split\na.wav,real,train\nb.wav,real,eval \nc.wav,fake\n")
    assert splits_there(listing) == ["eval", "train"]
    many = "".join(f"{i}.wav,real\n" for i in range(50))
    assert splits_there(write_csv(tmp_path, f"path,label\n{many}")) == ["dev", "train"]
    # Of a table that cannot be read, reading says why.
    assert splits_there(write_csv(tmp_path, "path,split\na.wav,train\n")) == []
    assert splits_there(tmp_path / "none.csv") == []


def test_csv_files_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such file"):
        read_csv(tmp_path / "none.csv")
    with pytest.raises(DataError, match=r"no column label \(or key, .*\) in the header: path, note"):
        read_csv(write_csv(tmp_path, "path,note\na.wav,real\n"))
    with pytest.raises(DataError, match="no line of split 'eval'"):
        read_csv(write_csv(tmp_path, "path,label\na.wav,real\n"), split="eval")
    with pytest.raises(DataError, match="no line of split 'test'; there are: dev, train"):
        read_csv(write_csv(tmp_path, "path,label,split\na.wav,real,train\nb.wav,real,dev\n"), split="test")
    with pytest.raises(DataError, match=r"no column label \(or .*\); path \(or file, .*\) in the header: a, b"):
        read_csv(write_csv(tmp_path, "a,b\n1,2\n"))
    with pytest.raises(DataError, match=r"clips\.csv: is empty; its first line should name the columns"):
        read_csv(write_csv(tmp_path, ""))
    with pytest.raises(DataError, match=r"clips\.csv:\d: not CSV"):
        read_csv(write_csv(tmp_path, 'path,label\n"a.wav,real\n'))
    with pytest.raises(DataError, match="holds a space"):
        read_csv(write_csv(tmp_path, "path,label,utterance\na.wav,real,an id\n"))


def test_folds_of_a_cross_validation_are_no_splits(tmp_path: Path) -> None:
    """A column `fold` of numbers says nothing of train and dev; the clips are split by themselves, as without it."""
    lines = [f"clip{i}.wav,{('bonafide', 'spoof')[i % 2]},s{i}" for i in range(40)]
    (tmp_path / "plain.csv").write_text("path,label,speaker\n" + "\n".join(lines))
    (tmp_path / "folds.csv").write_text(
        "path,label,speaker,fold\n" + "\n".join(f"{line},{i % 5}" for i, line in enumerate(lines))
    )
    for split in ("train", "dev"):
        plain, folds = (read_csv(tmp_path / name, split) for name in ("plain.csv", "folds.csv"))
        assert [clip.utterance for clip in plain] == [clip.utterance for clip in folds] != []
