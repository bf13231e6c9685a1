"""How an audit tells how far it is."""

from __future__ import annotations

import os
import pty
from contextlib import suppress

import pytest

from daemons.cli.audit_progress import AuditProgress


def test_sentence_counts_what_was_done_before_but_not_in_the_rate() -> None:
    progress = AuditProgress(100, 20, quiet=True)

    progress.advance(30)

    assert progress.sentence.startswith("50 of 100 files, ")
    assert progress.sentence.endswith(" to go")
    progress.advance(50)
    assert progress.sentence.startswith("100 of 100 files, ")
    assert "to go" not in progress.sentence


def test_quiet_tells_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    with AuditProgress(2, 0, quiet=True) as progress:
        progress.advance(2)

    assert capfd.readouterr() == ("", "")


def everything(terminal: int) -> str:
    """Return what was written to a terminal that nobody has open any more."""
    shown = b""
    with suppress(OSError), os.fdopen(terminal, "rb", buffering=0) as opened:
        while part := opened.read(65536):
            shown += part
    return shown.decode()


def test_terminal_has_a_bar_with_count_and_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = pty.openpty()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.delenv("NO_COLOR", raising=False)
    with os.fdopen(theirs, "w") as terminal:
        monkeypatch.setattr("sys.stderr", terminal)
        with AuditProgress(4, 1, quiet=False) as progress:
            progress.advance(3)
    shown = everything(ours)

    assert "audit" in shown
    assert "4/4" in shown
    assert "/s" in shown
