"""Official weights: the real checkpoints, from a real server, into a cache folder."""

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

from aasist_jax.config import load_config
from aasist_jax.errors import WeightsError
from aasist_jax.weights import published as pretrained
from aasist_jax.weights.published import CHECKPOINTS, URL_VARIABLE, fetch_weights, find_weights
from tests.runtime.http_server import Behaviour, Site, serve

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv(URL_VARIABLE, raising=False)
    with serve() as site:
        yield site


@pytest.fixture
def official(site: Site, reference: Path) -> Site:
    for name in CHECKPOINTS:
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
    assert json.loads((folder / "config.json").read_text())["source"]["sha256"] == CHECKPOINTS[name].sha256
    assert all(np.isfinite(tensor).all() for tensor in load_file(folder / "model.safetensors").values())

    by_hand = tmp_path / "other" / "weights" / name
    arguments = [sys.executable, "convert_weights.py", reference / "weights" / f"{name}.pth"]
    arguments += ["--config", f"configs/{name}.json", "--output", by_hand]
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
        "import sys; from aasist_jax.pretrained import fetch_weights\n"
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
    pretrained._put(tmp_path / "made", tmp_path / "there")
    assert (tmp_path / "there" / "config.json").read_text() == "theirs"
    (tmp_path / "there" / "config.json").unlink()
    with pytest.raises(OSError, match="not empty"):
        pretrained._put(tmp_path / "made", tmp_path / "there")
    assert (tmp_path / "there" / "model.safetensors").read_text() == "theirs"


@pytest.mark.reference
def test_altered_checkpoint_is_refused(official: Site, tmp_path: Path) -> None:
    body = bytearray(official.files["/weights/AASIST-L.pth"])
    body[200_000] ^= 1
    official.files["/weights/AASIST-L.pth"] = bytes(body)
    with pytest.raises(WeightsError, match=f"SHA256 is .*, not {CHECKPOINTS['AASIST-L'].sha256}"):
        fetch_weights("AASIST-L", cache=tmp_path, url=f"{official.url}/weights")
    assert list((tmp_path / "weights").iterdir()) == []


@pytest.mark.reference
def test_the_sizes_are_those_of_the_checkpoints(reference: Path) -> None:
    for name, checkpoint in CHECKPOINTS.items():
        assert (reference / "weights" / f"{name}.pth").stat().st_size == checkpoint.size


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_model_configs_are_those_of_the_published_configurations(name: str, tmp_path: Path) -> None:
    ours = tmp_path / "config.json"
    ours.write_text(json.dumps({"model_config": CHECKPOINTS[name].model_config}))
    assert load_config(ours).model_config == load_config(REPOSITORY / "configs" / f"{name}.json").model_config


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
    instead = f"python convert_weights.py AASIST.pth --config configs/AASIST.json --output {output}"
    assert f"or get AASIST.pth by other means and run `{instead}`" in message
    assert "\n" not in message
    assert list(output.parent.iterdir()) == []


@pytest.mark.parametrize("name", ["aasist", "", "../AASIST", "AASIST/"])
def test_unknown_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(WeightsError, match="there are AASIST, AASIST-L"):
        fetch_weights(name, cache=tmp_path)
    with pytest.raises(WeightsError, match="not one of AASIST, AASIST-L"):
        find_weights(name or "nothing", cache=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_cache_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "weights").write_text("a file in the way")
    with pytest.raises(WeightsError, match="cannot be written"):
        fetch_weights("AASIST", cache=tmp_path, url="http://127.0.0.1:1")


def test_folder_is_found_by_its_path(tmp_path: Path) -> None:
    assert find_weights(str(tmp_path)) == tmp_path


def test_default_address_is_the_authors_repository_at_one_commit() -> None:
    host, owner, repository, commit, path = pretrained.WEIGHTS_URL.removeprefix("https://").split("/", 4)
    assert (host, owner, repository) == ("raw.githubusercontent.com", "clovaai", "aasist")
    assert len(commit) == 40
    assert path == "models/weights"


def test_cache_is_the_users(tmp_path: Path) -> None:
    command = "from aasist_jax import pretrained, download; import sys; print(pretrained._folder('AASIST', None))\n"
    command += "assert not {'jax', 'flax', 'numpy', 'torch'} & set(sys.modules)"
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    arguments = [sys.executable, "-c", command]
    out = subprocess.run(arguments, cwd=REPOSITORY, env=environment, check=True, capture_output=True, text=True)
    if sys.platform == "linux":
        assert Path(out.stdout.strip()) == tmp_path / "aasist_jax" / "weights" / "AASIST"
