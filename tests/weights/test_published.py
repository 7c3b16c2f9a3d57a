"""Published weights: the real checkpoints, from a real server, into a cache folder; and finding what is there."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from aasist_jax.config import configuration_names, load_config
from aasist_jax.detection.detector import Detector
from aasist_jax.errors import WeightsError
from aasist_jax.weights import published
from aasist_jax.weights.published import (
    URL_VARIABLE,
    default_weights,
    fetch_weights,
    find_weights,
    list_weights,
    published_weights,
)
from tests.conftest import REPOSITORY
from tests.runtime.http_server import Behaviour, Site, serve

PUBLISHED = published_weights()


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv(URL_VARIABLE, raising=False)
    with serve() as site:
        yield site


@pytest.fixture
def official(site: Site, reference: Path) -> Site:
    for name in PUBLISHED:
        site.files[f"/weights/{name}.pth"] = (reference / "weights" / f"{name}.pth").read_bytes()
    return site


@pytest.mark.reference
@pytest.mark.parametrize("name", ["AASIST-L", pytest.param("AASIST", marks=pytest.mark.slow)])
def test_fetched_weights_are_those_converted_by_hand(
    official: Site, tmp_path: Path, reference: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The way out that the errors name ends in the same files, and where `fetch_weights` finds them."""
    monkeypatch.setenv(URL_VARIABLE, f"{official.url}/weights/")
    folder = fetch_weights(name, cache=tmp_path)
    assert folder == tmp_path / "weights" / name
    assert [entry.name for entry in folder.parent.iterdir()] == [name]
    assert json.loads((folder / "config.json").read_text())["source"]["sha256"] == PUBLISHED[name].sha256
    assert all(np.isfinite(tensor).all() for tensor in load_file(folder / "model.safetensors").values())

    by_hand = tmp_path / "other" / "weights" / name
    arguments = [sys.executable, "convert_weights.py", reference / "weights" / f"{name}.pth"]
    arguments += ["--config", name, "--output", by_hand]
    subprocess.run(arguments, cwd=REPOSITORY, check=True, stdout=subprocess.PIPE)
    for file in ("config.json", "model.safetensors"):
        assert (folder / file).read_bytes() == (by_hand / file).read_bytes()

    for cache, there in ((tmp_path, folder), (tmp_path / "other", by_hand)):
        assert fetch_weights(name, cache=cache) == there
        assert find_weights(name, cache=cache) == there
    assert len(official.seen) == 1


@pytest.mark.reference
def test_killed_run_leaves_no_half_made_weights(official: Site, tmp_path: Path) -> None:
    official.script = [Behaviour(pause=0.2)]
    command = (
        "import sys; from aasist_jax.weights.published import fetch_weights\n"
        "fetch_weights('AASIST-L', cache=sys.argv[1], url=sys.argv[2])"
    )
    arguments = [sys.executable, "-c", command, str(tmp_path), f"{official.url}/weights"]
    child = subprocess.Popen(arguments, cwd=REPOSITORY)
    deadline = time.monotonic() + 60
    while not any(part.stat().st_size for part in tmp_path.glob("weights/.AASIST-L-*/AASIST-L.pth.part")):
        assert child.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert not (tmp_path / "weights" / "AASIST-L").exists()
    with pytest.raises(WeightsError, match="run `aasist-jax fetch-weights AASIST-L`"):
        find_weights("AASIST-L", cache=tmp_path)
    fetch_weights("AASIST-L", cache=tmp_path, url=f"{official.url}/weights")
    assert load_file(find_weights("AASIST-L", cache=tmp_path) / "model.safetensors")


def test_another_process_that_was_faster_wins(tmp_path: Path) -> None:
    for name, content in (("made", "mine"), ("there", "theirs")):
        (tmp_path / name).mkdir()
        for file in ("model.safetensors", "config.json"):
            (tmp_path / name / file).write_text(content)
    published._put(tmp_path / "made", tmp_path / "there")
    assert (tmp_path / "there" / "config.json").read_text() == "theirs"
    (tmp_path / "there" / "config.json").unlink()
    with pytest.raises(OSError, match="not empty"):
        published._put(tmp_path / "made", tmp_path / "there")
    assert (tmp_path / "there" / "model.safetensors").read_text() == "theirs"


@pytest.mark.reference
def test_altered_checkpoint_is_refused(official: Site, tmp_path: Path) -> None:
    body = bytearray(official.files["/weights/AASIST-L.pth"])
    body[200_000] ^= 1
    official.files["/weights/AASIST-L.pth"] = bytes(body)
    with pytest.raises(WeightsError, match=f"SHA256 is .*, not {PUBLISHED['AASIST-L'].sha256}"):
        fetch_weights("AASIST-L", cache=tmp_path, url=f"{official.url}/weights")
    assert list((tmp_path / "weights").iterdir()) == []


@pytest.mark.reference
def test_the_sizes_are_those_of_the_checkpoints(reference: Path) -> None:
    for name, checkpoint in PUBLISHED.items():
        assert (reference / "weights" / f"{name}.pth").stat().st_size == checkpoint.size


def test_every_entry_names_a_configuration_of_the_package() -> None:
    for entry in PUBLISHED.values():
        assert entry.config in configuration_names()
        assert load_config(entry.config).model_config.nb_samp == 64600
    assert [entry.name for entry in PUBLISHED.values() if entry.default] == [default_weights()] == ["AASIST-L"]


def test_another_size_is_refused_before_the_download(site: Site, tmp_path: Path) -> None:
    site.files["/AASIST.pth"] = b"x" * 10**7
    with pytest.raises(WeightsError, match="offers 10,000,000 bytes where 1,281,532 are expected"):
        fetch_weights("AASIST", cache=tmp_path, url=site.url)


def test_unreachable_server_says_what_to_do_instead(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(URL_VARIABLE, site.url)
    with pytest.raises(WeightsError) as caught:
        fetch_weights("AASIST", cache=tmp_path)
    message = str(caught.value)
    assert "HTTP 404" in message
    output = tmp_path / "weights" / "AASIST"
    instead = f"aasist-jax convert AASIST.pth --config AASIST --output {output}"
    assert f"or get AASIST.pth by other means and run `{instead}`" in message
    assert "\n" not in message
    assert list(output.parent.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("aasist", "did you mean 'AASIST'?"),
        ("AASIST_L", "did you mean 'AASIST-L'?"),
        ("aasist-l", "did you mean 'AASIST-L'?"),
        ("AASIST l", "did you mean 'AASIST-L'?"),
        ("A.A.S.I.S.T", "did you mean 'AASIST'?"),
        ("", "there are AASIST, AASIST-L"),
        ("../AASIST", "did you mean 'AASIST'?"),
        ("AASIST/", "did you mean 'AASIST'?"),
    ],
)
def test_unknown_name(tmp_path: Path, name: str, advice: str) -> None:
    """`AASIST_L`, `aasist-l` as weights: the nearest name is suggested; case and separators are ignored."""
    with pytest.raises(WeightsError) as caught:
        fetch_weights(name, cache=tmp_path)
    assert str(caught.value) == f"no published weights are called {name!r}; {advice}"
    with pytest.raises(WeightsError) as caught:
        find_weights(name or "nothing", cache=tmp_path)
    assert str(caught.value) == f"{name or 'nothing'}: no such folder, nor weights of that name; {advice}"
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_here_yet_is_described(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(URL_VARIABLE, raising=False)
    with pytest.raises(WeightsError) as caught:
        find_weights("AASIST-L", cache=tmp_path)
    address = "https://raw.githubusercontent.com/clovaai/aasist/a04c9863f63d44471dde8a6abcb3b082b07cd1d1/models/weights"
    with pytest.raises(WeightsError, match=f"^{default_weights()}: not in"):
        find_weights(None, cache=tmp_path)
    assert str(caught.value) == (
        f"AASIST-L: not in {tmp_path / 'weights'} yet; run `aasist-jax fetch-weights AASIST-L` once, or give "
        f"download=True in Python, to fetch 426,428 bytes from {address}/AASIST-L.pth (MIT licence)"
    )


@pytest.mark.reference
def test_detector_takes_weights_by_name_and_fetches_them_when_told(
    official: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`Detector.from_pretrained("AASIST-L")` finds weights in the cache as the command does."""
    monkeypatch.setenv(URL_VARIABLE, f"{official.url}/weights")
    monkeypatch.setattr(published, "cache_folder", lambda: tmp_path / "aasist_jax")
    with pytest.raises(WeightsError, match=rf"fetch 426,428 bytes from {official.url}/weights/AASIST-L.pth"):
        Detector.from_pretrained("AASIST-L")
    assert official.seen == []
    assert [listed.folder for listed in list_weights()] == [None, None]
    fetched = Detector.from_pretrained("AASIST-L", download=True)
    again = Detector.from_pretrained("AASIST-L")
    assert Detector.from_pretrained().weights.weights_id == again.weights.weights_id
    assert len(official.seen) == 1
    folder = tmp_path / "aasist_jax" / "weights" / "AASIST-L"
    by_path = Detector.from_pretrained(folder)
    assert fetched.weights.weights_id == again.weights.weights_id == by_path.weights.weights_id
    assert [(listed.published.name, listed.folder) for listed in list_weights()] == [
        ("AASIST", None),
        ("AASIST-L", folder),
    ]


def test_cache_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "weights").write_text("a file in the way")
    with pytest.raises(WeightsError, match="cannot be written"):
        fetch_weights("AASIST", cache=tmp_path, url="http://127.0.0.1:1")


def test_folder_is_found_by_its_path(tmp_path: Path) -> None:
    assert find_weights(str(tmp_path)) == tmp_path


def test_default_addresses_are_the_authors_repository_at_one_commit() -> None:
    for entry in PUBLISHED.values():
        host, owner, repository, commit, path = entry.url.removeprefix("https://").split("/", 4)
        assert (host, owner, repository) == ("raw.githubusercontent.com", "clovaai", "aasist")
        assert len(commit) == 40
        assert path == f"models/weights/{entry.file}" == f"models/weights/{entry.name}.pth"


def test_cache_is_the_users(tmp_path: Path) -> None:
    command = "import sys; from aasist_jax.weights import published; print(published._folder('AASIST', None))\n"
    command += "assert not {'jax', 'flax', 'numpy', 'torch'} & set(sys.modules)"
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    arguments = [sys.executable, "-c", command]
    out = subprocess.run(arguments, cwd=REPOSITORY, env=environment, check=True, capture_output=True, text=True)
    if sys.platform == "linux":
        assert Path(out.stdout.strip()) == tmp_path / "aasist_jax" / "weights" / "AASIST"


@pytest.mark.parametrize("umask", [0o000, 0o002])
def test_weights_are_found_again_whatever_the_umask(official: Site, tmp_path: Path, umask: int) -> None:
    """What this user fetched is trusted: no other user may write in it."""
    before = os.umask(umask)
    try:
        folder = fetch_weights("AASIST-L", cache=tmp_path / "cache", url=f"{official.url}/weights")
    finally:
        os.umask(before)
    assert fetch_weights("AASIST-L", cache=tmp_path / "cache", url="http://127.0.0.1:1") == folder
    assert find_weights("AASIST-L", cache=tmp_path / "cache") == folder
    folder.chmod(0o777)
    with pytest.raises(WeightsError, match=r"may not be the published weights, since .* can be written by other users"):
        find_weights("AASIST-L", cache=tmp_path / "cache")
