"""The checkpoints of Jung et al., "AASIST: Audio anti-spoofing using integrated spectro-temporal graph attention
networks" (ICASSP 2022), from the authors' repository at one commit.
"""

from aasist_jax.models.published import PublishedWeights

_URL = "https://raw.githubusercontent.com/clovaai/aasist/a04c9863f63d44471dde8a6abcb3b082b07cd1d1/models/weights"


def _published(name: str, size: int, sha256: str, *, default: bool = False) -> PublishedWeights:
    file = f"{name}.pth"
    return PublishedWeights(name, file, size, sha256, f"{_URL}/{file}", licence="MIT", config=name, default=default)


PUBLISHED = (
    _published("AASIST", 1_281_532, "51d2d9cf0738172f61e2a384ec50a54a55363240f67c971ed55a92435bc1a1c0"),
    _published("AASIST-L", 426_428, "814331d088032bb4c3fa61cc014789eadeed464209dd094ab3a2dd6ffbdce27a", default=True),
)
