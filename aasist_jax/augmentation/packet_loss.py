"""Lost packets of a call over the Internet, and what a receiver puts in their place."""

from typing import Annotated, Literal

import numpy as np
from jaxtyping import Bool
from msgspec import Meta

from aasist_jax.audio.limits import SAMPLE_RATE
from aasist_jax.augmentation import Augmentation, Changed, Clips, Range, check_range, one, uniform
from aasist_jax.augmentation.sound import Wave

Concealment = Literal["zeros", "repeat"]
_FADE = 0.5  # gain of a repeated packet, for every packet that is lost in a row


class PacketLoss(Augmentation, frozen=True, kw_only=True, tag="packet_loss"):
    """Packets that are lost in bursts, by a chain of two states (Gilbert, 1960).

    Attributes:
        milliseconds: length of a packet.
        loss: share of the packets that is lost, in the long run.
        burst: mean number of packets that are lost in a row.
        concealment: what is heard in their place: nothing, or the last packet again, ever softer.
    """

    milliseconds: Annotated[int, Meta(ge=5, le=120)] = 20
    loss: Range = (0.01, 0.15)
    burst: Range = (1.0, 4.0)
    concealment: tuple[Concealment, ...] = ("zeros", "repeat")

    def __post_init__(self) -> None:
        """Check ranges."""
        check_range("loss", self.loss, 0, 0.5)
        check_range("burst", self.burst, 1, 50, "packets")
        if not self.concealment:
            raise ValueError("concealment: expected 'zeros' or 'repeat' or both")

    def change(self, wave: Wave, rng: np.random.Generator, clips: Clips) -> Changed:
        """Lose packets."""
        loss, burst, concealment = uniform(rng, self.loss), uniform(rng, self.burst), one(rng, self.concealment)
        packet = self.milliseconds * SAMPLE_RATE // 1000
        packets = np.pad(wave, (0, -wave.size % packet)).reshape(-1, packet)
        lost = lost_packets(len(packets), loss, burst, rng)
        for number in np.flatnonzero(lost):
            if concealment == "zeros" or number == 0:
                packets[number] = 0
            else:
                # Where that one was lost as well, it is itself a copy, and this one is softer.
                packets[number] = packets[number - 1] * (_FADE if lost[number - 1] else 1.0)
        drawn = {"loss": loss, "burst": burst, "concealment": concealment, "lost_packets": int(lost.sum())}
        return Changed(packets.ravel()[: wave.size], drawn)

    @classmethod
    def examples(cls) -> tuple[Augmentation, ...]:
        """Both concealments."""
        return cls(loss=(0.1, 0.1), concealment=("zeros",)), cls(loss=(0.1, 0.1), concealment=("repeat",))


def lost_packets(count: int, loss: float, burst: float, rng: np.random.Generator) -> Bool[np.ndarray, "packets"]:
    """Which packets are lost: a share of `loss` in the long run, `burst` in a row on average."""
    draws = rng.random(count + 1)
    ends = 1 / burst
    begins = min(1.0, loss / (1 - loss) * ends)
    lost = np.zeros(count, bool)
    state = bool(draws[count] < loss)
    for number in range(count):
        state = bool(draws[number] >= ends) if state else bool(draws[number] < begins)
        lost[number] = state
    return lost


AUGMENTATION = PacketLoss
