"""The configuration of the AASIST family: the official `model_config`."""

import itertools
from dataclasses import dataclass

from aasist_jax.models.family import FrameGeometry

Channels = tuple[int, int]

LARGEST_WIDTH = 4096
"""More filters, channels or features than any model of this family has; a damaged file could ask for 10**12."""

LONGEST_WINDOW = 600 * 16_000
"""The longest window: ten minutes."""

TEMPERATURES = (1e-6, 1e6)
"""The range of temperatures; by what is far smaller, attention divides to infinity in float32."""


@dataclass(frozen=True)
class AASISTConfig:
    """The official `model_config` of the AASIST family.

    Attributes:
        nb_samp: samples per window (64,600 as published: 4.0375 s).
        first_conv: taps of each sinc filter; an even number is raised to the next odd one.
        filts: number of sinc filters, then (input, output) channels of residual blocks 1, 2, 3, and 4 to 6.
        gat_dims: features of the homogeneous and of the heterogeneous graph attention layers.
        pool_ratios: share of nodes that the spectral, the temporal and all later pools keep; the fourth is unused.
        temperatures: attention temperature of the spectral, temporal and heterogeneous layers; the fourth is unused.
    """

    nb_samp: int
    first_conv: int
    filts: tuple[int, Channels, Channels, Channels, Channels]
    gat_dims: tuple[int, int]
    pool_ratios: tuple[float, float, float, float]
    temperatures: tuple[float, float, float, float]

    def __post_init__(self) -> None:
        """Check the ranges, and that the channels of consecutive blocks match."""
        filters, *blocks = self.filts
        if not 1 <= self.first_conv <= LARGEST_WIDTH:
            raise ValueError(f"first_conv: expected 1 to {LARGEST_WIDTH}, got {self.first_conv}")
        if max(filters, *itertools.chain(*blocks), *self.gat_dims) > LARGEST_WIDTH:
            raise ValueError(f"filts and gat_dims: expected at most {LARGEST_WIDTH} filters, channels and features")
        if self.nb_samp > LONGEST_WINDOW:
            raise ValueError(f"nb_samp: expected at most {LONGEST_WINDOW}, got {self.nb_samp}")
        if filters < 3:
            raise ValueError(f"filts: expected at least 3 sinc filters (they are pooled by 3), got {filters}")
        if min(self.gat_dims) < 1 or min(min(pair) for pair in blocks) < 1:
            raise ValueError("filts and gat_dims: expected channels of at least 1")
        if blocks[0][0] != 1:
            raise ValueError(f"filts: expected block 1 to have one input channel, got {blocks[0][0]}")
        chain = [*blocks, blocks[3]]
        for before, after in itertools.pairwise(chain):
            if before[1] != after[0]:
                raise ValueError(
                    "filts: expected each block to take the output channels of the block before it "
                    f"(the last block repeats), got {blocks}"
                )
        if not all(0 < ratio <= 1 for ratio in self.pool_ratios):
            raise ValueError(f"pool_ratios: expected numbers above 0 and up to 1, got {list(self.pool_ratios)}")
        lowest, highest = TEMPERATURES
        if not all(lowest <= temperature <= highest for temperature in self.temperatures):
            raise ValueError(f"temperatures: expected {lowest:g} to {highest:g}, got {list(self.temperatures)}")
        if self.frames(self.nb_samp) < 1:
            raise ValueError(f"nb_samp: expected at least {self.shortest_input}, got {self.nb_samp}")

    @property
    def channels(self) -> tuple[int, ...]:
        """Output channels of the six residual blocks."""
        _, *blocks = self.filts
        return tuple(pair[1] for pair in [*blocks, blocks[3], blocks[3]])

    @property
    def shortest_input(self) -> int:
        """The fewest samples that give one temporal node."""
        return self.frame_geometry.tail + self.frame_geometry.stride

    @property
    def frame_geometry(self) -> FrameGeometry:
        """The temporal nodes as frames of a recording.

        A block pools three time steps of its input into one, and its convolutions also reach two steps further on
        either side. Over all blocks that adds up to 3 ** blocks - 1 steps of the front-end's output on either side,
        less than the 3 ** blocks steps of one frame, so one frame of context suffices.
        """
        return FrameGeometry(stride=encoder_stride(len(self.channels)), tail=_taps(self.first_conv) - 1, context=1)

    def frames(self, samples: int) -> int:
        """Count the temporal nodes of an input of `samples`."""
        return encoded_frames(samples, self.first_conv, len(self.channels))


def encoder_stride(blocks: int) -> int:
    """Samples from one time step of the encoder's output to the next."""
    return 3 ** (blocks + 1)


def encoded_frames(samples: int, first_conv: int, blocks: int) -> int:
    """Count the time steps of the encoder's output for `samples`; 0 or less means the input is too short."""
    return (samples - _taps(first_conv) + 1) // encoder_stride(blocks)


def _taps(first_conv: int) -> int:
    # Imported here because that file imports JAX, and a family is registered without it.
    from aasist_jax.features.sinc import sinc_taps

    return sinc_taps(first_conv)


@dataclass(frozen=True)
class DropoutRates:
    """Published dropout probabilities: graph-layer inputs, pool scores, branch outputs, before the output layer."""

    graph: float = 0.2
    pool: float = 0.3
    branch: float = 0.2
    output: float = 0.5
