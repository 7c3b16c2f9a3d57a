from pathlib import PurePosixPath

import pytest

from aasist_jax.corpus.large.speakers import SPEAKERS
from aasist_jax.corpus.large.systems import SYSTEMS
from aasist_jax.corpus.plan import ATTACKS
from aasist_jax.corpus.reserved import TEST_SPEAKERS, reserved_recordings, reserved_systems
from aasist_jax.corpus.speech import VOICES

RESERVED_FILES = (
    "usr/share/games/fillets-ng/sound/airplane/cs/let-v-divna.ogg",
    "usr/share/asterisk/sounds/ru_RU_f_IvrvoiceRU/agent-pass.g722",
    "usr/share/ktuberling/sounds/gl/bow.ogg",
    "usr/share/ktuberling/sounds/ru/bow.ogg",
    "usr/share/ktuberling/sounds/sl/bow.ogg",
    "usr/share/klettres/ru/alpha/a-0.ogg",
    "usr/share/klettres/ar/alpha/a.ogg",
    "usr/share/klettres/en_GB/syllab/ab.ogg",
    "usr/share/festival/voices/russian/msu_ru_nsh_clunits/wav/a.wav",
)
"""A file of each reserved voice, as it lies in its package."""


def patterns() -> dict[str, str]:
    """Where the recordings of each voice of every plan are; for a game, the large file."""
    return {voice.name: voice.pattern for voice in VOICES} | {one.name: one.pattern for one in SPEAKERS}


@pytest.mark.parametrize("path", RESERVED_FILES)
def test_no_plan_reaches_a_reserved_recording(path: str) -> None:
    assert reserved_recordings([path]) == [path]
    for name, pattern in patterns().items():
        assert not PurePosixPath(path).match(pattern.replace("**/", "")), name


def test_the_recordings_that_are_used_are_not_reserved() -> None:
    used = [pattern.replace("**/", "x/").replace("*", "x") for pattern in patterns().values()]
    assert reserved_recordings(used) == []


def test_no_plan_has_a_reserved_system_or_voice() -> None:
    names = [attack.name for attack in ATTACKS] + [system.name for system in SYSTEMS]
    voices = [voice for attack in ATTACKS for of in attack.voices.values() for voice, _ in of]
    voices += [voice for system in SYSTEMS for of in system.voices.values() for voice, _ in of]
    assert reserved_systems([*names, *voices]) == []
    for name in (
        "kokoro_ja",
        "hifigan_universal",
        "upc_ca_ona_hts",
        "world_conversion",
        "mlsa_conversion",
        "rubberband",
    ):
        assert reserved_systems([name]) == [name]


def test_the_large_corpus_has_no_speaker_of_the_reference_corpus_dev_or_eval() -> None:
    assert {one.name for one in SPEAKERS} & TEST_SPEAKERS == set()
    # Allison is `ast_en` and `ast_es` there, in train. Others have the same name in both.
    sources = {one.name.split("_")[0] for one in SPEAKERS}
    assert {name.split("_")[0] for name in TEST_SPEAKERS} <= sources | {"ast"}
