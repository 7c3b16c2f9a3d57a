"""A model may be described in sections, each a frozen type; one that may be of several types is picked by its tag."""

import dataclasses
from typing import Annotated, Any

import pytest
from msgspec import Meta, Struct

from aasist_jax.config import parse_dataclass, to_json
from aasist_jax.errors import ConfigError


class SincFrontEnd(Struct, frozen=True, tag_field="kind", tag="sinc"):
    filters: Annotated[int, Meta(ge=3)] = 70


class SpectrumFrontEnd(Struct, frozen=True, tag_field="kind", tag="spectrum"):
    bins: int
    log: bool = True

    def __post_init__(self) -> None:
        if self.bins % 2:
            raise ValueError(f"bins: expected an even number, got {self.bins}")


@dataclasses.dataclass(frozen=True)
class EncoderConfig:
    widths: tuple[int, ...] = (32, 64)
    pooling: float | None = None


@dataclasses.dataclass(frozen=True)
class ComposedConfig:
    """A front end, an encoder, any number of further front ends, and a head."""

    nb_samp: int
    front_end: SincFrontEnd | SpectrumFrontEnd
    encoder: EncoderConfig = dataclasses.field(default_factory=EncoderConfig)
    others: tuple[SincFrontEnd | SpectrumFrontEnd, ...] = ()
    head: EncoderConfig | None = None


RAW: dict[str, Any] = {
    "nb_samp": 400,
    "front_end": {"kind": "spectrum", "bins": 80, "log": "False"},
    "encoder": {"widths": [8], "pooling": 2},
    "others": [{"kind": "sinc", "filters": 20}, {"kind": "spectrum", "bins": 2}],
    "head": {"widths": []},
}


def parse(raw: Any) -> Any:
    return parse_dataclass(ComposedConfig, raw, "a.json", "model_config")


def test_sections_are_composed_and_written_again() -> None:
    config = parse(RAW)
    assert config == ComposedConfig(
        nb_samp=400,
        front_end=SpectrumFrontEnd(bins=80, log=False),
        encoder=EncoderConfig(widths=(8,), pooling=2.0),
        others=(SincFrontEnd(20), SpectrumFrontEnd(2)),
        head=EncoderConfig(()),
    )
    assert hash(config) == hash(parse(RAW))
    assert parse(to_json(config)) == config
    assert to_json(config)["front_end"] == {"kind": "spectrum", "bins": 80, "log": False}
    assert parse({"nb_samp": 1, "front_end": {"kind": "sinc"}}).head is None
    with pytest.raises(AttributeError):
        config.front_end.bins = 3


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"front_end": {"bins": 80}}, "front_end.kind: missing; expected 'sinc' or 'spectrum'"),
        ({"front_end": {"kind": "wave"}}, "front_end.kind: expected 'sinc' or 'spectrum', got \"wave\""),
        ({"front_end": {"kind": ["sinc"]}}, "front_end.kind: expected 'sinc' or 'spectrum', got [\"sinc\"]"),
        (
            {"front_end": {"kind": "sinc", "bins": 8}},
            "front_end.bins: unknown key; expected one of ['filters', 'kind']",
        ),
        ({"front_end": {"kind": "sinc", "filter": 8}}, "front_end.filter: unknown key; did you mean "),
        ({"front_end": {"kind": "sinc", "filters": 2}}, "front_end.filters: expected an integer of at least 3, got 2"),
        ({"front_end": {"kind": "spectrum"}}, "front_end.bins: missing; expected an integer"),
        ({"front_end": {"kind": "spectrum", "bins": 3}}, "front_end.bins: expected an even number, got 3"),
        ({"front_end": "sinc"}, 'front_end: expected an object, got "sinc"'),
        ({"encoder": {"widths": [1, "2"]}}, 'encoder.widths[1]: expected an integer, got "2"'),
        ({"encoder": {"pooling": "x"}}, 'encoder.pooling: expected a number or null, got "x"'),
        (
            {"others": [{"kind": "sinc"}, {"kind": "wave"}]},
            "others[1].kind: expected 'sinc' or 'spectrum', got \"wave\"",
        ),
        ({"others": [{"kind": "sinc", "filters": 1}]}, "others[0].filters: expected an integer of at least 3, got 1"),
        ({"others": {}}, "others: expected a list, each item an object, got {}"),
        ({"head": {"width": []}}, "head.width: unknown key; did you mean 'model_config.head.widths'?"),
        ({"head": 1}, "head: expected an object or null, got 1"),
        ({"enc": {"widths": []}}, "enc: unknown key; did you mean 'model_config."),
    ],
)
def test_faults_in_sections_name_the_whole_key(change: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(RAW | change)
    assert str(caught.value).startswith(f"a.json: model_config.{complaint}")
