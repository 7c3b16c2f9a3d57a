"""Reads hostile and mutated checkpoints in a process of its own, with an audit hook that sees what Python does.

Run as `python -m tests.weights.mutations SOURCE COUNT FOLDER`; prints one JSON object. While a file is being
read, the only thing that may happen is that this very file is opened for reading: every other audit event (a
compile, an exec, an import, a process, a socket, another file, ...) is a violation, and so are an exception that is
no CheckpointError of one line, and a read that takes more than `SECONDS_PER_FILE` of processor time.
"""

import io
import json
import pickle
import pickletools
import random
import resource
import signal
import sys
import time
import zipfile
from pathlib import Path
from types import FrameType

from aasist_jax.errors import CheckpointError
from aasist_jax.weights.torch_file import read_torch_file
from tests.weights.attacks import ATTACKS, LARGE_ATTACKS, SHELL
from tests.weights.checkpoint_bytes import Member, build_zip

SECONDS_PER_FILE = 10
MEMORY_BYTES = 2 * 2**30
GADGETS = [SHELL, b"cbuiltins\neval\n(X\x03\x00\x00\x001+1tR", b"0", b"2", b"}", b")R", b"b", b"Q", b"\x81", b"N"]


class Watch:
    """Records, while armed, every audit event but the opening of one file for reading."""

    def __init__(self) -> None:
        self.allowed: str | None = None
        self.events: list[str] = []
        sys.addaudithook(self.hear)

    def hear(self, event: str, arguments: tuple[object, ...]) -> None:
        if self.allowed is None or (event == "open" and arguments[:2] == (self.allowed, "r")):
            return
        self.events.append(f"{event} {arguments!r:.200}")


def out_of_time(_signal: int, _frame: FrameType | None) -> None:
    raise TimeoutError


def attempt(watch: Watch, path: Path) -> tuple[str, str]:
    """Read one file under watch: "read", "refused" or "violation", and why."""
    watch.events.clear()
    signal.setitimer(signal.ITIMER_PROF, SECONDS_PER_FILE)
    watch.allowed = str(path)
    try:
        tensors = read_torch_file(path)
        verdict = ("read", "")
        if not all(array.flags.owndata and array.flags.c_contiguous for array in tensors.values()):
            verdict = ("violation", "an array that is a view")
    except CheckpointError as error:
        message = str(error)
        verdict = ("refused" if message.isprintable() and len(message) < 1000 else "violation", message)
    except BaseException as error:
        verdict = ("violation", f"{type(error).__name__}: {error}")
    finally:
        watch.allowed = None
        signal.setitimer(signal.ITIMER_PROF, 0)
    return ("violation", "; ".join(watch.events)) if watch.events else verdict


def damage(data: bytes, rng: random.Random) -> bytes:
    """`data` with one to four bit flips, splices, cuts or overwritten numbers."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        if not changed:
            break
        at, length = rng.randrange(len(changed)), rng.randint(1, 64)
        match rng.randrange(7):
            case 0 | 1:
                changed[at] ^= 1 << rng.randrange(8)
            case 2:
                changed[at] = rng.choice(b"()RQb}]tuseahjqrcXKMJNG.\x80\x81\x85\x86\x87\x88\x89\x93\x00\x7f\xff")
            case 3:
                source = rng.randrange(len(changed))
                changed[at:at] = changed[source : source + length]
            case 4:
                del changed[at : at + length]
            case 5:
                changed[at : at + 4] = rng.choice([b"\xff\xff\xff\xff", b"\x00\x00\x00\x80", b"\xff\xff\xff\x7f"])
            case 6:
                if rng.random() < 0.2:
                    del changed[at:]
    return bytes(changed)


def damage_pickle(pickled: bytes, boundaries: list[int], rng: random.Random) -> bytes:
    """A pickle damaged at random, or along the boundaries of its opcodes, where the damage stays well-formed."""
    start, stop = sorted(rng.choices(boundaries, k=2))
    match rng.randrange(6):
        case 0:
            return damage(pickled, rng)
        case 1:
            return pickled[:start] + rng.choice(GADGETS) + pickled[start:]
        case 2:
            return pickled[:start] + pickled[stop:]
        case 3:
            return pickled[:stop] + pickled[start : min(stop, start + 400)] + pickled[stop:]
        case 4:
            target = rng.choice(boundaries)
            return pickled[:target] + pickled[start : min(stop, start + 60)] + pickled[target:]
        case _:
            index = rng.randrange(len(boundaries) - 1)
            number = rng.choice([-(2**31), -1, 0, 1, 255, 65536, 2**31 - 1])
            begin, end = boundaries[index], boundaries[index + 1]
            return pickled[:begin] + b"J" + number.to_bytes(4, "little", signed=True) + pickled[end:]


def damage_members(original: list[Member], boundaries: list[int], rng: random.Random) -> bytes:
    """A sound archive (checksums included) whose pickle or members are changed."""
    members = [Member(member.name, member.data) for member in original]
    one, other = rng.sample(range(len(members)), 2)
    match rng.randrange(10):
        case 0:
            members[one].data, members[other].data = members[other].data, members[one].data
        case 1:
            members[one].name = members[other].name
        case 2:
            del members[one]
        case 3:
            members[one].data = damage(members[one].data, rng)
        case _:
            pickled = next(member for member in members if member.name.endswith("/data.pkl"))
            pickled.data = damage_pickle(pickled.data, boundaries, rng)
    return build_zip(members)


def damage_file(source: bytes, rng: random.Random) -> bytes:
    """The file damaged anywhere, or in its pickle or directory, where the headers are."""
    region = rng.randrange(3)
    if region == 0:
        return damage(source, rng)
    split = min(len(source) // 2, 40_000)
    if region == 1:
        return damage(source[:split], rng) + source[split:]
    return source[:-split] + damage(source[-split:], rng)


def main(source_path: str, count: str, folder: str) -> None:
    source = Path(source_path).read_bytes()
    with zipfile.ZipFile(io.BytesIO(source)) as archive:
        original = [Member(info.filename, archive.read(info)) for info in archive.infolist()]
    pickled = next(member.data for member in original if member.name.endswith("/data.pkl"))
    boundaries = [position for _, _, position in pickletools.genops(pickled)]

    watch = Watch()
    signal.signal(signal.SIGPROF, out_of_time)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    path = Path(folder) / "mutant.pth"
    tally = {"read": 0, "refused": 0, "violation": 0}
    violations: list[str] = []
    slowest = 0.0

    def judge(label: str, data: bytes, expected_reason: str | None = None) -> None:
        nonlocal slowest
        path.write_bytes(data)
        start = time.process_time()
        verdict, why = attempt(watch, path)
        slowest = max(slowest, time.process_time() - start)
        if expected_reason is not None and (verdict != "refused" or expected_reason not in why):
            verdict, why = "violation", f"{verdict}, not refused for {expected_reason!r}: {why}"
        tally[verdict] += 1
        if verdict == "violation":
            violations.append(f"{label}: {why}")

    # Warm up what NumPy imports on first use, then show that the hook is awake.
    path.write_bytes(source)
    read_torch_file(path)
    watch.allowed = str(path)
    pickle.loads(b"cbuiltins\neval\n(X\x03\x00\x00\x001+1tR.")
    watch.allowed = None
    control = sorted({event.split()[0] for event in watch.events})

    for name, (data, reason) in (ATTACKS | LARGE_ATTACKS).items():
        judge(name, data, reason)
    attacks, tally = tally, dict.fromkeys(tally, 0)
    slowest_attack, slowest = slowest, 0.0
    for index in range(int(count)):
        rng = random.Random(f"aasist/{index}")
        # Most random damage dies at a checksum; so two thirds keep the archive sound.
        data = damage_members(original, boundaries, rng) if index % 3 else damage_file(source, rng)
        judge(f"mutation {index}", data)
    result = {
        "control": control,
        "attacks": attacks,
        "mutations": tally,
        "violations": violations[:20],
        "slowest_attack": round(slowest_attack, 2),
        "slowest_mutation": round(slowest, 2),
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
