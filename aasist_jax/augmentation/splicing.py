"""Splices: pieces of the clip in another order, joined with cross-fades."""

from typing import Annotated

import numpy as np
from msgspec import Meta

from aasist_jax.audio.limits import SAMPLE_RATE
from aasist_jax.augmentation import Augmentation, Changed, Clips, Range, check_range, uniform
from aasist_jax.augmentation.sound import Wave

_Count = Annotated[int, Meta(ge=2, le=100)]


class Splicing(Augmentation, frozen=True, kw_only=True, tag="splicing"):
    """The clip is cut at random places, and the pieces are put together in a random order; the length stays.

    Attributes:
        pieces: fewest and most of them.
        milliseconds: length of a cross-fade; 0 for none.
    """

    pieces: tuple[_Count, _Count] = (2, 4)
    milliseconds: Range = (0.0, 20.0)

    def __post_init__(self) -> None:
        """Check ranges."""
        check_range("pieces", self.pieces, 2, 100)
        check_range("milliseconds", self.milliseconds, 0, 500, "ms")

    def change(self, wave: Wave, rng: np.random.Generator, clips: Clips) -> Changed:
        """Cut and join."""
        count = int(rng.integers(self.pieces[0], self.pieces[1] + 1))
        fade = uniform(rng, self.milliseconds)
        cuts = np.sort(rng.integers(0, wave.size + 1, count - 1))
        edges = np.concatenate([[0], cuts, [wave.size]])
        order = rng.permutation(count)
        joined = splice(wave, edges, order, round(fade * SAMPLE_RATE / 1000))
        return Changed(joined, {"order": "-".join(str(piece + 1) for piece in order), "fade_ms": fade})


def splice(wave: Wave, edges: np.ndarray, order: np.ndarray, fade: int) -> Wave:
    """Put the pieces between the edges together in an order.

    At a join the sound that follows the end of the earlier piece fades out while the later piece fades in; after the
    end of the wave it goes on backwards. Sound that goes on as before is not faded.
    """
    longer = np.pad(wave, (0, fade), "symmetric")
    joined, at, last = wave.copy(), 0, -1
    for piece in order:
        start, end = int(edges[piece]), int(edges[piece + 1])
        if start == end:
            continue
        joined[at : at + end - start] = wave[start:end]
        length = min(fade, end - start)
        if last not in (-1, start) and length:
            ramp = (np.arange(length) + 0.5) / length
            joined[at : at + length] += (1 - ramp) * (longer[last : last + length] - wave[start : start + length])
        at, last = at + end - start, end
    return joined


AUGMENTATION = Splicing
