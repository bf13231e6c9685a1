"""Write the generated files of `config/` and `docs/`: `python -m daemons.cli.generate`.

A test compares each file with what would be written, so that none drifts.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from daemons.cli.findings_page import findings_page
from daemons.cli.keyword_pages import keyword_pages
from daemons.cli.reference import configuration_page, configuration_schema
from daemons.events.schemas import documents as event_documents


def generated_files() -> Mapping[str, str]:
    """Return every generated file: path below the checkout to its text."""
    events = {f"config/events/{name}": text for name, text in event_documents().items()}
    return {
        **events,
        **keyword_pages(),
        "config/schema/arriero.schema.json": configuration_schema(),
        "docs/reference/configuration.md": configuration_page(),
        "docs/reference/findings.md": findings_page(),
    }


def write(checkout: Path) -> tuple[Path, ...]:
    """Write what differs below a checkout and return it."""
    written = []
    for name, text in generated_files().items():
        path = checkout / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            written.append(path)
    return tuple(written)


if __name__ == "__main__":
    for changed in write(Path(__file__).resolve().parents[2]):
        sys.stdout.write(f"wrote {changed}\n")
