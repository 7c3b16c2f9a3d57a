"""Downloads weights folders from the Hugging Face Hub with the optional package `huggingface_hub`.

Its settings apply: HF_HOME and HF_HUB_CACHE (the cache folder), HF_HUB_OFFLINE, HF_ENDPOINT and HF_TOKEN.
"""

import contextlib
import logging
import re
from collections.abc import Iterator
from functools import partial
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
        with _only_errors_logged():
            # Without a network a download would be tried again and again for half a minute.
            download = partial(hf_hub_download, local_files_only=not _is_reachable(repository, revision))
            folder = Path(download(repository, NEEDED_FILES[0], revision=revision)).parent
            # The folder's name is the commit, so the other files come from it even if the branch moves meanwhile.
            with contextlib.suppress(errors.EntryNotFoundError):
                download(repository, OPTIONAL_FILE, revision=folder.name)
            # The model comes last: if the connection fails before, this raises, and no calibration is lost silently.
            download(repository, NEEDED_FILES[1], revision=folder.name)
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


def _is_reachable(repository: str, revision: str | None) -> bool:
    """Whether the Hub answers at all, be it that the repository does not exist; asks once."""
    from huggingface_hub import errors, get_hf_file_metadata, hf_hub_url

    try:
        get_hf_file_metadata(hf_hub_url(repository, NEEDED_FILES[0], revision=revision))
    except (errors.HfHubHTTPError, errors.HFValidationError):
        return True
    except Exception:
        # The type depends on the HTTP library, which is not the same in every version of huggingface_hub.
        return False
    return True


@contextlib.contextmanager
def _only_errors_logged() -> Iterator[None]:
    """Context without the warnings of huggingface_hub, which tells of every attempt in lines of its own."""
    logger = logging.getLogger("huggingface_hub")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
