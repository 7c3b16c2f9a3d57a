"""Weights folders in repositories of the Hugging Face Hub, by the optional package `huggingface_hub`.

Its own settings hold: HF_HOME and HF_HUB_CACHE (where fetched files are kept), HF_HUB_OFFLINE, HF_ENDPOINT, HF_TOKEN.
"""

import contextlib
import re
from pathlib import Path

from aasist_jax.errors import WeightsError

HUB_PREFIX = "hf://"
NEEDED_FILES, OPTIONAL_FILE = ("config.json", "model.safetensors"), "calibration.json"


def fetch_from_hub(address: str) -> Path:
    """Return the folder, in the Hub's cache, of the weights in a repository; what is not there yet is fetched.

    Only `config.json`, `model.safetensors` and, where there is one, `calibration.json` are fetched, all of the same
    revision. Without a network, what was fetched before is used.

    Args:
        address: `hf://owner/name`, or `hf://owner/name@revision` with a branch, tag or commit.

    Raises:
        WeightsError: the extra `hub` is not installed, or the address, the network or the repository is at fault.
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
        # The folder is called by its commit: should the branch move meanwhile, the other files are still of this one.
        with contextlib.suppress(errors.EntryNotFoundError):
            hf_hub_download(repository, OPTIONAL_FILE, revision=folder.name)
        # Last, so that a connection that broke before it is told here, and no calibration is lost by it.
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
