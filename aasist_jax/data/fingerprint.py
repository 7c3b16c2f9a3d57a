"""Fingerprints of data sets, to check that a data set is still the one that a run or a cache was made from."""

import hashlib
import json
from collections.abc import Sequence

from aasist_jax.data.utterances import Utterance
from aasist_jax.errors import DataError


def fingerprint(utterances: Sequence[Utterance], *, exact: bool = False) -> str:
    """SHA-256 over the clips' ids, labels, attacks, speakers and file sizes, in order, as 64 hexadecimal digits.

    It stays the same when the data set moves to another folder or machine.

    Args:
        utterances: the clips.
        exact: include the paths and modification times, so that the fingerprint identifies exactly these files.

    Raises:
        DataError: a clip's file is missing.
    """
    digest = hashlib.sha256()
    for utterance in utterances:
        try:
            status = utterance.path.stat()
        except OSError as error:
            raise DataError(f"{utterance.origin}: {utterance.path}: {error.strerror}") from error
        fields = [utterance.utterance, utterance.label, utterance.attack, utterance.speaker, status.st_size]
        if exact:
            fields += [str(utterance.path.absolute()), status.st_mtime_ns]
        digest.update(json.dumps(fields).encode() + b"\n")
    return digest.hexdigest()
