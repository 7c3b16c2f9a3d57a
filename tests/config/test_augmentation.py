"""`data_config.augmentation`: chains as JSON, and faults in them in one line."""

import json
import pickle
import re
import subprocess
import sys

import pytest

from aasist_jax.augmentation import OneOf, kind_names
from aasist_jax.augmentation.codec import CodecChange
from aasist_jax.augmentation.noise import Noise
from aasist_jax.augmentation.rawboost import RawBoost
from aasist_jax.config import DataConfig, load_config, parse_augmentation, parse_config, to_json
from aasist_jax.errors import ConfigError
from benchmarks.augmentations import CHAINS
from tests.conftest import REPOSITORY

KEY = "data_config.augmentation"
CHAIN = """[{"kind": "rawboost", "probability": 0.5, "algorithm": 3}, {"one_of": [
            {"kind": "noise", "source": "babble", "snr": [0, 5]}, {"kind": "codec"}],
            "probability": 0.25}]"""


def test_a_chain_is_read_and_written() -> None:
    config = load_config("AASIST-L", [f"{KEY}={CHAIN}"])
    assert config.data_config.augmentation == (
        RawBoost(probability=0.5, algorithm=3),
        OneOf((Noise(source="babble", snr=(0.0, 5.0)), CodecChange()), 0.25),
    )
    raw = json.loads(json.dumps(to_json(config), allow_nan=False))
    first, second = raw["data_config"]["augmentation"]
    assert (first["kind"], first["algorithm"], first["snr"]) == ("rawboost", 3, [10.0, 40.0])
    assert [each["kind"] for each in second["one_of"]] == ["noise", "codec"]
    assert parse_config(raw, "again") == config
    assert pickle.loads(pickle.dumps(config)) == config
    assert to_json(load_config("AASIST-L"))["data_config"]["augmentation"] == []
    assert DataConfig().augmentation == ()


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ("{}", ": expected a list of objects, got {}"),
        ("noise", ': expected a list of objects, got "noise"'),
        ("[1]", "[0]: expected an object, got 1"),
        ("[{}]", "[0].kind: missing; expected one of band_limit, clipping, codec, equaliser,"),
        ('[{"kind": 3}]', "[0].kind: expected a string, got 3"),
        (
            '[{"kind": "noise"}, {"kind": "raw_boost"}]',
            "[1].kind: there is no augmentation 'raw_boost'; did you mean 'rawboost'?",
        ),
        ('[{"kind": "noise", "snrs": [1, 2]}]', f"[0].snrs: unknown key; did you mean '{KEY}[0].snr'?"),
        ('[{"kind": "noise", "snr": [9, 2]}]', "[0].snr: expected two numbers, the lower one first, from -40 to 120"),
        ('[{"kind": "noise", "snr": [9]}]', "[0].snr: expected a list of 2 (a number, a number), got [9]"),
        ('[{"kind": "noise", "source": "blue"}]', "[0].source: expected 'babble' or 'brown' or 'files' or 'pink'"),
        ('[{"kind": "noise", "probability": 2}]', "[0].probability: expected a number of at least 0 and of at most 1"),
        ('[{"kind": "codec", "codecs": ["mp4"]}]', "[0].codecs[0]: expected 'aac' or 'alaw' or 'g722' or"),
        ('[{"one_of": {}}]', "[0].one_of: expected a list of objects, got {}"),
        ('[{"one_of": []}]', "[0].one_of: expected kinds of which one at least has a probability above 0"),
        ('[{"one_of": [{"kind": "noise"}], "weight": 1}]', "[0].weight: unknown key"),
        ('[{"one_of": [{"kind": "noise"}], "probability": -1}]', "[0].probability: expected a number of at least 0"),
        ('[{"one_of": [{"one_of": [{"kind": "noise"}]}]}]', "[0].one_of[0]: expected a kind, got another one_of"),
        ('[{"one_of": [{"kind": "nois"}]}]', "[0].one_of[0].kind: there is no augmentation 'nois'; did you mean"),
    ],
)
def test_faults_name_the_key_and_the_way_out(value: str, complaint: str) -> None:
    with pytest.raises(ConfigError) as error:
        load_config("AASIST-L", [f"{KEY}={value}"])
    assert str(error.value).startswith(f"AASIST-L: {KEY}{complaint}")
    assert "\n" not in str(error.value)


def test_the_chain_of_the_documentation_is_the_one_whose_cost_is_told() -> None:
    page = (REPOSITORY / "docs" / "training.md").read_text(encoding="utf-8")
    blocks = [json.loads(text) for text in re.findall(r"^```json\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)]
    (shown,) = [block["data_config"]["augmentation"] for block in blocks if "data_config" in block]
    assert shown == CHAINS["channels"]
    for chain in CHAINS.values():
        assert parse_augmentation(chain, "chain", "chain")


def test_every_kind_is_documented() -> None:
    page, reference = (REPOSITORY / "docs" / name for name in ("training.md", "api/augmentation.md"))
    for kind in kind_names():
        assert f"`{kind}`" in page.read_text(encoding="utf-8")
        assert f"::: aasist_jax.augmentation.{kind}\n" in reference.read_text(encoding="utf-8")


def test_a_misspelt_key_is_known() -> None:
    with pytest.raises(ConfigError, match=f"unknown key; did you mean '{KEY}'"):
        load_config("AASIST-L", ["data_config.augmentations=[]"])


def test_only_the_kinds_that_are_named_are_imported() -> None:
    code = (
        "import sys; from aasist_jax.config import load_config; "
        f"load_config('AASIST-L', ['{KEY}=[{{\"kind\": \"level\"}}]']); "
        "print(*sorted(m for m in sys.modules if m.startswith(('aasist_jax.augmentation.', 'scipy', 'pyroom'))))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert found == ["aasist_jax.augmentation.level", "aasist_jax.augmentation.sound"]
