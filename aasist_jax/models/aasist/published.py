"""The checkpoints of Jung et al., "AASIST: Audio anti-spoofing using integrated spectro-temporal graph attention
networks" (ICASSP 2022), from the authors' repository at one commit.
"""

from aasist_jax.models.published import PublishedWeights

_URL = "https://raw.githubusercontent.com/clovaai/aasist/a04c9863f63d44471dde8a6abcb3b082b07cd1d1/models/weights"

PUBLISHED = (
    PublishedWeights(
        name="AASIST",
        file="AASIST.pth",
        size=1_281_532,
        sha256="51d2d9cf0738172f61e2a384ec50a54a55363240f67c971ed55a92435bc1a1c0",
        url=f"{_URL}/AASIST.pth",
        licence="MIT",
        config="AASIST",
    ),
    PublishedWeights(
        name="AASIST-L",
        file="AASIST-L.pth",
        size=426_428,
        sha256="814331d088032bb4c3fa61cc014789eadeed464209dd094ab3a2dd6ffbdce27a",
        url=f"{_URL}/AASIST-L.pth",
        licence="MIT",
        config="AASIST-L",
        default=True,
    ),
)
