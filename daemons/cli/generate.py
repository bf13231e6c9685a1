"""Write the generated files of `config/`: `python -m daemons.cli.generate`.

A test compares each file with what would be written, so that none drifts.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from daemons.events.schemas import documents as event_documents


def generated_files() -> Mapping[str, str]:
    """Return every generated file: path below `config/` to its text."""
    return {f"events/{name}": text for name, text in event_documents().items()}


def write(config: Path) -> tuple[Path, ...]:
    """Write what differs below `config` and return it."""
    written = []
    for name, text in generated_files().items():
        path = config / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            written.append(path)
    return tuple(written)


if __name__ == "__main__":
    for changed in write(Path(__file__).resolve().parents[2] / "config"):
        sys.stdout.write(f"wrote {changed}\n")
