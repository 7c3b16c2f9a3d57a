"""Configurations: the official files load as they are, and every fault is one line that helps."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from aasist_jax.config import DataConfig, ExperimentConfig, OptimConfig, TrainConfig, load_config, parse_config, to_json
from aasist_jax.config.parse import parse_dataclass
from aasist_jax.errors import ConfigError
from aasist_jax.models.aasist.config import AASISTConfig
from aasist_jax.models.family import family_names
from tests.conftest import REPOSITORY

ARCHITECTURES = " or ".join(map(repr, family_names()))

AASIST_L = {
    "architecture": "AASIST",
    "nb_samp": 64600,
    "first_conv": 128,
    "filts": [70, [1, 32], [32, 32], [32, 24], [24, 24]],
    "gat_dims": [24, 32],
    "pool_ratios": [0.4, 0.5, 0.7, 0.5],
    "temperatures": [2.0, 2.0, 100.0, 100.0],
}

# Every key of the official .conf files, in their spelling and types.
OFFICIAL: dict[str, Any] = {
    "database_path": "./LA/",
    "asv_score_path": "ASVspoof2019_LA_asv_scores/ASVspoof2019.LA.asv.eval.gi.trl.scores.txt",
    "model_path": "./models/weights/AASIST-L.pth",
    "batch_size": 24,
    "num_epochs": 100,
    "loss": "CCE",
    "track": "LA",
    "eval_all_best": "True",
    "eval_output": "eval_scores_using_best_dev_model.txt",
    "cudnn_deterministic_toggle": "True",
    "cudnn_benchmark_toggle": "False",
    "model_config": AASIST_L,
    "optim_config": {
        "optimizer": "adam",
        "amsgrad": "False",
        "base_lr": 0.0001,
        "lr_min": 0.000005,
        "betas": [0.9, 0.999],
        "weight_decay": 0.0001,
        "scheduler": "cosine",
    },
}


def write(path: Path, raw: Any) -> Path:
    path.write_text(raw if isinstance(raw, str) else json.dumps(raw))
    return path


def fault(path: Path, *overrides: str) -> str:
    """The complaint about a configuration file, less the file's name."""
    with pytest.raises(ConfigError) as caught:
        load_config(path, overrides)
    message = str(caught.value)
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


def changed(key: str, value: Any) -> dict[str, Any]:
    """The official configuration with one key, dots into its sections, of another value."""
    raw = json.loads(json.dumps(OFFICIAL))
    *sections, last = key.split(".")
    target = raw
    for section in sections:
        target = target[section]
    target[last] = value
    return raw


def test_the_official_file_loads_as_it_is(tmp_path: Path) -> None:
    config = load_config(write(tmp_path / "AASIST-L.conf", OFFICIAL))
    assert config == ExperimentConfig(
        model_config=AASISTConfig(
            nb_samp=64600,
            first_conv=128,
            filts=(70, (1, 32), (32, 32), (32, 24), (24, 24)),
            gat_dims=(24, 32),
            pool_ratios=(0.4, 0.5, 0.7, 0.5),
            temperatures=(2.0, 2.0, 100.0, 100.0),
        ),
        optim_config=OptimConfig(
            optimizer="adam",
            amsgrad=False,
            base_lr=1e-4,
            lr_min=5e-6,
            betas=(0.9, 0.999),
            weight_decay=1e-4,
            scheduler="cosine",
        ),
        database_path="./LA/",
        asv_score_path=OFFICIAL["asv_score_path"],
        model_path=OFFICIAL["model_path"],
        batch_size=24,
        num_epochs=100,
        loss="CCE",
        track="LA",
        eval_all_best=True,
        eval_output=OFFICIAL["eval_output"],
        cudnn_deterministic_toggle=True,
        cudnn_benchmark_toggle=False,
        freq_aug=False,
        data_config=DataConfig(),
        train_config=TrainConfig(),
    )


@pytest.mark.reference
@pytest.mark.parametrize("name", ["AASIST", "AASIST-L"])
def test_the_shipped_configurations_are_the_published_models(name: str) -> None:
    from tests.models.aasist import official

    config = load_config(REPOSITORY / "configs" / f"{name}.json")
    published = official.golden(name).config
    assert to_json(config)["model_config"] == {"nb_samp": 64600} | published | {"architecture": "AASIST"}
    assert (config.batch_size, config.num_epochs) == (24, 100)
    assert config.optim_config == OptimConfig()


@pytest.mark.parametrize("text", ["True", "False"])
def test_truth_values_may_be_strings(tmp_path: Path, text: str) -> None:
    config = load_config(write(tmp_path / "a.conf", OFFICIAL | {"freq_aug": text, "eval_all_best": text == "True"}))
    assert config.freq_aug is config.eval_all_best is (text == "True")


@pytest.mark.parametrize(
    ("key", "value", "complaint"),
    [
        ("batchsize", 24, "batchsize: unknown key; did you mean 'batch_size'?"),
        ("zzz", 1, "zzz: unknown key; expected one of ['asv_score_path', 'batch_size', "),
        ("model_config.gat_dim", 1, "model_config.gat_dim: unknown key; did you mean 'model_config.gat_dims'?"),
        ("optim_config.steps", 1, "optim_config.steps: unknown key; "),
        ("batch_size", "24", 'batch_size: expected an integer of at least 1, got "24"'),
        ("batch_size", 24.0, "batch_size: expected an integer of at least 1, got 24.0"),
        ("batch_size", True, "batch_size: expected an integer of at least 1, got true"),
        ("batch_size", None, "batch_size: expected an integer of at least 1, got null"),
        ("batch_size", 0, "batch_size: expected an integer of at least 1, got 0"),
        ("num_epochs", -1, "num_epochs: expected an integer of at least 1, got -1"),
        ("database_path", 3, "database_path: expected a string, got 3"),
        ("loss", "BCE", "loss: expected 'CCE', got \"BCE\""),
        ("track", "XX", "track: expected 'DF' or 'LA' or 'PA', got \"XX\""),
        ("eval_all_best", "true", 'eval_all_best: expected true or false, got "true"'),
        ("cudnn_benchmark_toggle", 1, "cudnn_benchmark_toggle: expected true or false, got 1"),
        ("optim_config", [], "optim_config: expected an object, got []"),
        ("optim_config.base_lr", "1e-4", 'optim_config.base_lr: expected a number above 0, got "1e-4"'),
        ("optim_config.base_lr", 0, "optim_config.base_lr: expected a number above 0, got 0"),
        ("optim_config.lr_min", 1, "optim_config.lr_min: expected a number from 0 to base_lr, got 1.0"),
        (
            "optim_config.betas",
            [0.9],
            "optim_config.betas: expected a list of 2 (a number of at least 0 and below 1, a",
        ),
        ("optim_config.betas", [0.9, 1], "optim_config.betas[1]: expected a number of at least 0 and below 1, got 1"),
        ("optim_config.betas", [-1, 0.9], "optim_config.betas[0]: expected a number of at least 0 and below 1, got -1"),
        (
            "optim_config.betas",
            [0.9, "x"],
            'optim_config.betas[1]: expected a number of at least 0 and below 1, got "x"',
        ),
        ("optim_config.amsgrad", "True", 'optim_config.amsgrad: expected "False"'),
        ("optim_config.scheduler", "sgdr", "optim_config.scheduler: expected 'constant' or 'cosine', got \"sgdr\""),
        ("optim_config.optimizer", "sgd", "optim_config.optimizer: expected 'adam', got \"sgd\""),
        ("optim_config.weight_decay", -1, "optim_config.weight_decay: expected a number of at least 0, got -1"),
        ("optim_config.weight_decay", 10**400, "optim_config.weight_decay: expected a number of at least 0, got 1000"),
        ("model_config", "AASIST", 'model_config: expected an object, got "AASIST"'),
        (
            "model_config.architecture",
            "Aasist",
            f'model_config.architecture: expected {ARCHITECTURES}, got "Aasist"',
        ),
        ("model_config.architecture", ["AASIST"], f'model_config.architecture: expected {ARCHITECTURES}, got ["AA'),
        ("model_config.nb_samp", 2314, "model_config.nb_samp: expected at least 2315, got 2314"),
        ("model_config.nb_samp", 10**12, "model_config.nb_samp: expected at most 9600000, got 1000000000000"),
        (
            "model_config.filts",
            [10**7, [1, 2], [2, 2], [2, 2], [2, 2]],
            "model_config.filts and gat_dims: expected at",
        ),
        ("model_config.first_conv", 0, "model_config.first_conv: expected 1 to 4096, got 0"),
        ("model_config.filts", [70], "model_config.filts: expected a list of 5 (an integer, a list of 2 (an integer"),
        ("model_config.filts", [2, *AASIST_L["filts"][1:]], "model_config.filts: expected at least 3 sinc filters"),
        ("model_config.filts", [70, [2, 32], *AASIST_L["filts"][2:]], "model_config.filts: expected block 1 to have"),
        ("model_config.filts", [70, [1, 8], *AASIST_L["filts"][2:]], "model_config.filts: expected each block to take"),
        ("model_config.filts", [*AASIST_L["filts"][:4], [24, 8]], "model_config.filts: expected each block to take"),
        ("model_config.gat_dims", [0, 1], "model_config.filts and gat_dims: expected channels of at least 1"),
        ("model_config.pool_ratios", [0.5, 0, 1, 1], "model_config.pool_ratios: expected numbers above 0 and up to 1"),
        ("model_config.temperatures", [1, 1, -1, 1], "model_config.temperatures: expected 1e-06 to 1e+06, got [1.0,"),
        ("model_config.temperatures", [1, 1e-300, 1, 1], "model_config.temperatures: expected 1e-06 to 1e+06, got"),
        ("model_config.temperatures", [1, 1, 1e300, 1], "model_config.temperatures: expected 1e-06 to 1e+06, got"),
        ("data_config", {"workers": -1}, "data_config.workers: expected an integer of at least 0, got -1"),
        ("data_config", {"layout": 1}, "data_config.layout: expected a string, got 1"),
        ("train_config", {"seed": -1}, "train_config.seed: expected an integer of at least 0, got -1"),
        ("train_config", {"accumulation": 0}, "train_config.accumulation: expected an integer of at least 1, got 0"),
        ("train_config", {"class_weights": [1, 0]}, "train_config.class_weights[1]: expected a number above 0, got 0"),
        ("train_config", {"freeze": "x"}, 'train_config.freeze: expected a list, each item a string, got "x"'),
        ("train_config", {"freeze": ["x", 1]}, "train_config.freeze[1]: expected a string, got 1"),
        ("train_config", {"dtype": "float16"}, "train_config.dtype: expected 'bfloat16' or 'float32', got \"float16\""),
    ],
)
def test_faults_name_the_key_and_what_is_expected(tmp_path: Path, key: str, value: Any, complaint: str) -> None:
    assert fault(write(tmp_path / "a.json", changed(key, value))).startswith(complaint)


@pytest.mark.parametrize("layout", ["csv", "some_other"])
def test_a_corpus_of_ours_has_one_layout(tmp_path: Path, layout: str) -> None:
    raw = OFFICIAL | {"data_config": {"corpus": "quickstart", "layout": layout}}
    assert fault(write(tmp_path / "a.json", raw)) == (
        f'data_config.corpus: expected "" where data_config.layout is "{layout}"'
    )
    del raw["data_config"]["layout"]
    assert load_config(write(tmp_path / "a.json", raw)).data_config.corpus == "quickstart"


@pytest.mark.parametrize(
    ("override", "meant"),
    [
        ("base_lr=5e-5", "optim_config.base_lr"),
        ("baselr=5e-5", "optim_config.base_lr"),
        ("gat_dims=[1, 2]", "model_config.gat_dims"),
        ("optim.base_lr=5e-5", "optim_config.base_lr"),
        ("train.seed=1", "train_config.seed"),
        ("model_config.batch_size=3", "batch_size"),
        ("optim_config.schedular=cosine", "optim_config.scheduler"),
        ("train_conf={}", "train_config"),
    ],
)
def test_an_unknown_key_is_told_the_full_name_of_the_one_that_was_meant(
    tmp_path: Path, override: str, meant: str
) -> None:
    """`--set base_lr=`: the nearest full key, `optim_config.base_lr`."""
    complaint = fault(write(tmp_path / "a.json", OFFICIAL), override)
    assert complaint.endswith(f": unknown key; did you mean {meant!r}?")


@pytest.mark.parametrize(
    ("key", "complaint"),
    [
        ("model_config", f"model_config.architecture: missing; expected {ARCHITECTURES}"),
        ("model_config.architecture", f"model_config.architecture: missing; expected {ARCHITECTURES}"),
        ("model_config.nb_samp", "model_config.nb_samp: missing; expected an integer"),
        ("model_config.gat_dims", "model_config.gat_dims: missing; expected a list of 2 (an integer, an integer)"),
    ],
)
def test_missing_values_are_named(tmp_path: Path, key: str, complaint: str) -> None:
    raw = json.loads(json.dumps(OFFICIAL))
    *sections, last = key.split(".")
    del (raw[sections[0]] if sections else raw)[last]
    assert fault(write(tmp_path / "a.json", raw)) == complaint


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "not valid JSON (Expecting value: line 1 column 1 (char 0))"),
        ("{'a': 1}", "not valid JSON ("),
        ('{"a": 1,}', "not valid JSON ("),
        ('{"batch_size": 1, "batch_size": 2}', "not valid JSON (the key 'batch_size' stands twice)"),
        ('{"optim_config": {"base_lr": NaN}}', "not valid JSON (NaN is no number of JSON)"),
        ('{"optim_config": {"base_lr": -Infinity}}', "not valid JSON (-Infinity is no number of JSON)"),
        ("[" * 100_000, "not valid JSON ("),
        ('{"batch_size": ' + "9" * 5000 + "}", "not valid JSON ("),
        ("[1]", "expected a JSON object at the top, got [1]"),
        ("null", "expected a JSON object at the top, got null"),
    ],
)
def test_what_is_no_json_object_is_refused(tmp_path: Path, text: str, complaint: str) -> None:
    assert fault(write(tmp_path / "a.json", text)).startswith(complaint)


def test_an_overflowing_number_is_refused(tmp_path: Path) -> None:
    text = json.dumps(OFFICIAL).replace("0.0001", "1e999")
    assert fault(write(tmp_path / "a.json", text)) == "optim_config.base_lr: expected a number above 0, got Infinity"


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    assert fault(tmp_path / "none.json") == "cannot be read (No such file or directory); expected a JSON file"
    assert fault(tmp_path) == "cannot be read (Is a directory); expected a JSON file"
    (tmp_path / "latin.json").write_bytes(b'{"a": "\xe9"}')
    assert fault(tmp_path / "latin.json") == "cannot be read (not UTF-8 text); expected a JSON file"


def test_overrides_stand_above_the_file(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", OFFICIAL)
    config = load_config(
        path,
        [
            "optim_config.base_lr=5e-5",
            "database_path=/data/LA=2",
            "eval_all_best=false",
            "freq_aug=True",
            'train_config.freeze=["encoder/*"]',
            "train_config.seed=7",
            "batch_size=3",
            "batch_size=4",
            "asv_score_path=",
        ],
    )
    assert config == dataclasses.replace(
        load_config(path),
        optim_config=OptimConfig(base_lr=5e-5),
        database_path="/data/LA=2",
        eval_all_best=False,
        freq_aug=True,
        train_config=TrainConfig(freeze=("encoder/*",), seed=7),
        batch_size=4,
        asv_score_path="",
    )


@pytest.mark.parametrize(
    ("override", "complaint"),
    [
        ("batch_size", "--set batch_size: expected KEY=VALUE, such as optim_config.base_lr=5e-5"),
        ("=3", "--set =3: expected KEY=VALUE"),
        ("batch_size.x=3", "--set batch_size.x=3: batch_size is no section of the configuration"),
        ("model_config.filts.0=3", "--set model_config.filts.0=3: filts is no section of the configuration"),
        ("batch_sise=3", "batch_sise: unknown key; did you mean 'batch_size'?"),
        ("optim_config.betas.=3", "--set optim_config.betas.=3: betas is no section of the configuration"),
        ("optim_config.weight_decay=NaN", 'optim_config.weight_decay: expected a number of at least 0, got "NaN"'),
        ("optim_config.weight_decay=1e999", "optim_config.weight_decay: expected a number of at least 0, got Infinity"),
        ("batch_size=big", 'batch_size: expected an integer of at least 1, got "big"'),
        ("model_config=" + "[" * 100_000, 'model_config: expected an object, got "[['),
    ],
)
def test_faulty_overrides_are_named(tmp_path: Path, override: str, complaint: str) -> None:
    assert fault(write(tmp_path / "a.json", OFFICIAL), override).startswith(complaint)


def test_to_json_and_back_is_the_same_configuration(tmp_path: Path) -> None:
    config = dataclasses.replace(
        load_config(write(tmp_path / "a.json", OFFICIAL)),
        freq_aug=True,
        data_config=DataConfig(workers=3, cache="x", on_bad_file="skip"),
        train_config=TrainConfig(freeze=("a", "b"), class_weights=(0.5, 0.5), dtype="bfloat16"),
    )
    raw = json.loads(json.dumps(to_json(config), allow_nan=False))
    assert parse_config(raw, "again") == config
    assert raw["model_config"] == AASIST_L


def test_configurations_are_frozen(tmp_path: Path) -> None:
    config = load_config(write(tmp_path / "a.json", OFFICIAL))
    for section in (config, config.optim_config, config.model_config, config.data_config, config.train_config):
        with pytest.raises(dataclasses.FrozenInstanceError):
            section.seed = 1


def test_a_configuration_as_json_holds_every_key(tmp_path: Path) -> None:
    """Also those that the file left at their defaults: a run compares all of them with those of its earlier start."""
    raw = to_json(load_config("AASIST-L"))
    for config_type, section in (
        (ExperimentConfig, raw),
        (OptimConfig, raw["optim_config"]),
        (DataConfig, raw["data_config"]),
        (TrainConfig, raw["train_config"]),
    ):
        assert list(section) == [field.name for field in dataclasses.fields(config_type)]
    assert raw["train_config"]["class_weights"] == [0.1, 0.9]


@dataclasses.dataclass(frozen=True)
class _WithList:
    sizes: list[int]


def test_a_wrong_value_inside_a_list_is_told_in_a_line() -> None:
    with pytest.raises(ConfigError, match=r"^here: sizes\[0\]: Expected `int`, got `str`$"):
        parse_dataclass(_WithList, {"sizes": ["x"]}, "here")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (["train_config.folds=1"], r"train_config.folds: expected 2 or more, or 0 for none, got 1"),
        (["train_config.fold=1"], r"train_config.fold: expected an integer below folds, 0, got 1"),
        (
            ["train_config.folds=2", 'train_config.held_out_systems=["A01"]'],
            r"train_config.folds: expected 0 where held_out_systems names the systems",
        ),
        (
            ["train_config.folds=2", "train_config.selection=published"],
            r'train_config.selection: expected "dev" where systems are held out of training',
        ),
        (
            ["train_config.pairs=true", "train_config.shuffle_labels=true"],
            r"train_config.pairs: expected false where shuffle_labels is true",
        ),
        (
            ["train_config.pairs=true", 'train_config.balance=["class"]'],
            r'train_config.balance: expected no "class" where pairs is true',
        ),
        (
            ["train_config.ema=0.9", "train_config.selection=published"],
            r'train_config.selection: expected "dev" with ema or patience',
        ),
        (["train_config.ema=1"], r"train_config.ema: expected a number of at least 0 and below 1, got 1"),
        (['optim_config.rates=[["a/*",0]]'], r"optim_config.rates\[0\]\[1\]: expected a number above 0, got 0"),
        (["train_config.teacher_weight=2"], r"train_config.teacher_weight: expected a number .*of at most 1, got 2"),
        (["train_config.pairs=true", "batch_size=5"], r"batch_size: expected an even number where .* got 5"),
        (['train_config.balance=["sex"]'], r"train_config.balance\[0\]: expected 'class' or 'speaker' or 'system'"),
    ],
)
def test_choices_of_training_that_contradict_each_other(override: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config("AASIST-L", override)
