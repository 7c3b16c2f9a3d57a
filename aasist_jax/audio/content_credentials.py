"""Content Credentials (C2PA): a signed statement in a file of how the file was made. Read by the extra `c2pa`.

They are no evidence for the verdict: most files have none, and anyone can leave them out.
"""

import json
from dataclasses import dataclass, field
from os import PathLike
from typing import Any

LETTERS = 500
"""The most letters that are kept of one statement."""


@dataclass(frozen=True)
class Credentials:
    """What was found.

    Attributes:
        looked_for: whether the extra `c2pa` is there.
        note: what was found, in a sentence.
        says: what the active manifest says; empty without one.
    """

    looked_for: bool
    note: str
    says: dict[str, Any] = field(default_factory=dict)


def read_credentials(path: str | PathLike[str]) -> Credentials:
    """Look for Content Credentials in a file. Nothing is fetched from elsewhere."""
    try:
        import c2pa
    except ImportError:
        return Credentials(False, "Not looked for: install the extra, pip install 'aasist-jax[c2pa]'.")
    try:
        # A manifest may lie at an address: what a recording names is not called up.
        settings = c2pa.Settings.from_dict(
            {"verify": {"remote_manifest_fetch": False, "ocsp_fetch": False, "verify_trust": True}}
        )
        context = c2pa.Context(settings=settings)
        with open(path, "rb") as file:
            reader = c2pa.Reader.try_create(None, file, context=context)
            if reader is None:
                return Credentials(True, "None in the file.")
            with reader:
                manifest, state = json.loads(reader.json()), str(reader.get_validation_state())
    except (OSError, ValueError, c2pa.C2paError) as error:
        # The library raises the same errors for formats that it does not know.
        return Credentials(True, f"None that can be read ({_short(error)}).")
    return Credentials(True, f"Found; their validation says: {_short(state)}.", _statements(manifest))


def _statements(store: dict[str, Any]) -> dict[str, Any]:
    """Who signed when, with what program, and what it says of the making, from the active manifest."""
    active = store.get("manifests", {}).get(store.get("active_manifest"), {})
    signature = active.get("signature_info") or {}
    generators = [
        " ".join(str(each.get(name, "")) for name in ("name", "version")).strip()
        for each in active.get("claim_generator_info") or []
    ]
    actions = [
        " ".join(str(action[name]) for name in ("action", "digitalSourceType", "softwareAgent") if name in action)
        for assertion in active.get("assertions") or []
        if str(assertion.get("label", "")).startswith("c2pa.actions")
        for action in (assertion.get("data") or {}).get("actions", [])
    ]
    said = {
        "title": active.get("title"),
        "program": ", ".join(generators) or active.get("claim_generator"),
        "signed by": signature.get("issuer"),
        "signed at": signature.get("time"),
        "actions": "; ".join(actions),
    }
    return {name: _short(value) for name, value in said.items() if value}


def _short(value: Any) -> str:
    return str(value)[:LETTERS]
