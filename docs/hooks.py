"""Show README.md, CONTRIBUTING.md and CHANGELOG.md as pages of the site, so that their text stands in one place."""

from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

REPOSITORY = Path(__file__).resolve().parent.parent
PAGES = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}


def on_files(files: Files, /, *, config: Any) -> Files:
    """Add the pages to what MkDocs found in docs/; MkDocs calls this."""
    for source, page in PAGES.items():
        path = REPOSITORY / source
        text = path.read_text(encoding="utf-8") if path.is_file() else f"There is no {source} yet."
        files.append(File.generated(config, page, content=_links_from_docs(text)))
    return files


def _links_from_docs(text: str) -> str:
    # In the repository these files stand above docs/, on the site beside its pages.
    text = text.replace("](docs/", "](")
    for source, page in PAGES.items():
        text = text.replace(f"]({source}", f"]({page}")
    return text
