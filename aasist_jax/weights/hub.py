"""Downloads weights folders from the Hugging Face Hub with the optional package `huggingface_hub`.

Its settings apply: HF_HOME and HF_HUB_CACHE (the cache folder), HF_HUB_OFFLINE, HF_ENDPOINT and HF_TOKEN.
"""

import contextlib
import re
from pathlib import Path

from aasist_jax.errors import WeightsError

HUB_PREFIX = "hf://"
NEEDED_FILES, OPTIONAL_FILE = ("config.json", "model.safetensors"), "calibration.json"


def fetch_from_hub(address: str) -> Path:
    """Return the folder in the Hub's cache that holds the weights of a repository; download them if needed.

    Only `config.json`, `model.safetensors` and, if it exists, `calibration.json` are downloaded, all from the same
    revision. Without a network, earlier downloads are used.

    Args:
        address: `hf://owner/name`, or `hf://owner/name@revision` with a branch, tag or commit.

    Raises:
        WeightsError: the extra `hub` is not installed, or there is a problem with the address, network or repository.
    """
    match = re.fullmatch(r"hf://([\w.-]+/[\w.-]+)(?:@(\S+))?", address)
    if match is None:
        raise WeightsError(f"{address}: expected hf://owner/name or hf://owner/name@revision")
    try:
        from huggingface_hub import errors, hf_hub_download
    except ImportError:
        raise WeightsError(f"{address}: needs the extra `hub`; run `pip install 'aasist-jax[hub]'`") from None

    repository, revision = match.groups()
    try:
        folder = Path(hf_hub_download(repository, NEEDED_FILES[0], revision=revision)).parent
        # The folder's name is the commit, so the other files come from it even if the branch moves in the meantime.
        with contextlib.suppress(errors.EntryNotFoundError):
            hf_hub_download(repository, OPTIONAL_FILE, revision=folder.name)
        # The model comes last: if the connection fails before, this raises, and the calibration is not lost silently.
        hf_hub_download(repository, NEEDED_FILES[1], revision=folder.name)
    except errors.LocalEntryNotFoundError:
        raise WeightsError(
            f"{address}: not in the cache of the Hugging Face Hub, and the Hub cannot be reached or HF_HUB_OFFLINE is "
            "set; fetch it once with a network"
        ) from None
    except errors.EntryNotFoundError:
        raise WeightsError(
            f"{address}: holds no weights; expected the files {' and '.join(NEEDED_FILES)} of a weights folder"
        ) from None
    except errors.RevisionNotFoundError:
        raise WeightsError(f"{address}: the repository has no revision {revision!r}") from None
    except errors.RepositoryNotFoundError:
        raise WeightsError(
            f"{address}: no such repository, or one that needs a token (HF_TOKEN) with access to it"
        ) from None
    except (errors.HfHubHTTPError, errors.HFValidationError, OSError) as error:
        raise WeightsError(f"{address}: {' '.join(str(error).split())}") from None
    return folder
