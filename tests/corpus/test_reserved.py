from fnmatch import fnmatchcase
from pathlib import PurePosixPath

import pytest

from aasist_jax.corpus.large.build import packages
from aasist_jax.corpus.large.speakers import SPEAKERS, Speaker, _asterisk, _tux
from aasist_jax.corpus.large.systems import SYSTEMS
from aasist_jax.corpus.plan import ATTACKS
from aasist_jax.corpus.reserved import (
    TEST_SPEAKERS,
    recordings_of_test_speakers,
    reserved_recordings,
    reserved_systems,
)
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
        "vc_world",
        "mlsa_vc",
        "world_converted",
        "clunits_ru",
        "msu_ru_nsh_clunits",
    ):
        assert reserved_systems([name]) == [name]
    # Copies by MLSA are free.
    assert reserved_systems(["mlsa", "mlsa_copy"]) == []


def test_the_large_corpus_has_no_speaker_of_the_reference_corpus_dev_or_eval() -> None:
    assert {one.name for one in SPEAKERS} & TEST_SPEAKERS == set()
    # Allison is `ast_en` and `ast_es` there, in train. Others have the same name in both.
    sources = {one.name.split("_")[0] for one in SPEAKERS}
    assert {name.split("_")[0] for name in TEST_SPEAKERS} <= sources | {"ast"}


TEST_FILES = {
    "ast_fr": "usr/share/asterisk/sounds/fr_CA_f_June/agent-pass.g722",
    "ast_it": "usr/share/asterisk/sounds/it_IT_m_Carlo/agent-pass.g722",
    "fil_nl_m": "usr/share/games/fillets-ng/sound/airplane/nl/let-m-divna.ogg",
    **{f"klet_{of}": f"usr/share/klettres/{of}/syllab/ab.ogg" for of in ("da", "de", "it", "he", "nb", "uk")},
    **{f"ktub_{of}": f"usr/share/ktuberling/sounds/{of}/bow.ogg" for of in ("da", "de", "el", "nn", "uk", "wa")},
    **{
        f"tux_{of}": f"usr/share/tuxpaint/stamps/animals/birds/cartoon/tux_desc_{of}.ogg"
        for of in ("da", "el", "be", "ro", "ru")
    },
}
"""A recording of each speaker of the reference corpus' dev and eval."""


def reaches(pattern: str, path: str) -> bool:
    """Whether a pattern of a plan finds a path."""
    return fnmatchcase(path, pattern.replace("**/", "*"))


@pytest.mark.parametrize("speaker", sorted(TEST_SPEAKERS))
def test_no_pattern_of_the_large_corpus_reaches_a_test_speaker_under_any_name(speaker: str) -> None:
    path = TEST_FILES[speaker]
    assert recordings_of_test_speakers([path]) == [path]
    for one in SPEAKERS:
        assert not reaches(one.pattern, path), one.name


@pytest.mark.parametrize(
    "guilty",
    [
        _asterisk("ast_june", "train", "fr", "core-sounds-fr-g722", "fr_CA_f_June/*.g722"),
        _asterisk("ast_all", "train", "fr", "core-sounds-fr-g722", "*/*.g722"),
        _tux("train", "da"),
    ],
)
def test_the_guard_sees_another_name_of_a_test_speaker(guilty: Speaker) -> None:
    assert any(reaches(guilty.pattern, path) for path in TEST_FILES.values())


def test_what_the_large_corpus_uses_is_of_no_test_speaker() -> None:
    used = [one.pattern.replace("**/", "x/").replace("*", "x") for one in SPEAKERS]
    assert recordings_of_test_speakers(used) == []


def test_the_small_corpus_trains_on_one_test_speaker_as_the_documentation_says() -> None:
    trained = [voice.name for voice in VOICES if voice.split == "train"]
    guilty = [voice.name for voice in VOICES if any(reaches(voice.pattern, path) for path in TEST_FILES.values())]
    assert [name for name in guilty if name in trained] == ["june"]


def test_no_package_of_a_reserved_voice_is_downloaded() -> None:
    assert reserved_systems(packages()) == []
    assert reserved_systems(["festvox-ru", "festvox-ca-ona-hts"]) == ["festvox-ru", "festvox-ca-ona-hts"]
