"""What an audit has done so far, in a SQLite file: killed at any instant, it is taken up again."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from daemons.runtime.errors import UsageError
from daemons.runtime.sqlite import open_database, transaction
from translators.audit.model import Image, Item, Verdict
from translators.audit.tally import Tally

_MIGRATIONS = (
    """
    CREATE TABLE audit (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE items (
        number INTEGER PRIMARY KEY,
        place TEXT NOT NULL,
        done INTEGER NOT NULL DEFAULT 0
    );
    CREATE TABLE images (
        number INTEGER NOT NULL REFERENCES items,
        position INTEGER NOT NULL,
        file_name TEXT NOT NULL,
        instrument TEXT,
        obs_id TEXT,
        day_obs INTEGER,
        detector INTEGER,
        clean INTEGER NOT NULL,
        PRIMARY KEY (number, position)
    ) WITHOUT ROWID;
    CREATE TABLE findings (
        number INTEGER NOT NULL REFERENCES items,
        image INTEGER NOT NULL,
        position INTEGER NOT NULL,
        code TEXT NOT NULL,
        severity TEXT NOT NULL,
        sentence TEXT NOT NULL,
        hdu INTEGER,
        PRIMARY KEY (number, image, position)
    ) WITHOUT ROWID;
    """,
)
_ROWS_AT_ONCE = 10_000
_CLEAN = frozenset({"info"})


class AuditState:
    """The items of an audit and what was found of them.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    DatabaseFileError
        It is damaged, or of a newer version.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._database = open_database(path, _MIGRATIONS)

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def begin(self, asked: Mapping[str, Any], places: Iterable[str]) -> bool:
        """List what is to be done, unless that was done before; tell whether it was.

        Raises
        ------
        UsageError
            The file is of an audit of something else.
        """
        described = json.dumps(asked, sort_keys=True)
        known = self._value("asked")
        if known is not None and known != described:
            raise UsageError(
                f"{self._path} is of another audit, of {known}; name another file with --state, "
                "or give --restart to forget that one"
            )
        if self._value("listed") is not None:
            return True
        # A listing that was cut short begins anew: nothing has been looked at by then.
        with transaction(self._database):
            self._database.execute("DELETE FROM items")
            self._set("asked", described)
        numbered = enumerate(places, 1)
        while rows := list(itertools.islice(numbered, _ROWS_AT_ONCE)):
            with transaction(self._database):
                self._database.executemany("INSERT INTO items (number, place) VALUES (?, ?)", rows)
        with transaction(self._database):
            self._set("listed", "1")
        return False

    def counts(self) -> tuple[int, int]:
        """Return how many items there are, and how many are done."""
        total, done = self._database.execute(
            "SELECT count(*), coalesce(sum(done), 0) FROM items"
        ).fetchone()
        return total, done

    def pending(self) -> Iterator[Item]:
        """Yield what is not done yet, in order; items may be recorded meanwhile."""
        last = 0
        while rows := self._database.execute(
            "SELECT number, place FROM items WHERE number > ? AND NOT done ORDER BY number LIMIT ?",
            (last, _ROWS_AT_ONCE),
        ).fetchall():
            yield from (Item(number, place) for number, place in rows)
            last = rows[-1][0]

    def record(self, verdicts: Sequence[Verdict]) -> None:
        """Keep what was found, all of it or nothing."""
        with transaction(self._database):
            self._database.executemany(
                "INSERT INTO images VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    _image_row(verdict.number, position, image)
                    for verdict in verdicts
                    for position, image in enumerate(verdict.images)
                ),
            )
            self._database.executemany(
                "INSERT INTO findings VALUES (?, ?, ?, ?, ?, ?, ?)",
                (row for verdict in verdicts for row in _finding_rows(verdict)),
            )
            self._database.executemany(
                "UPDATE items SET done = 1 WHERE number = ?",
                ((verdict.number,) for verdict in verdicts),
            )

    def tally(self) -> Tally:
        """Add up what was found."""
        tally = Tally(files=self.counts()[1])
        for row in self._database.execute(
            "SELECT instrument, day_obs, count(*), sum(clean) FROM images GROUP BY 1, 2"
        ):
            tally.add_images(*row)
        for row in self._database.execute(
            "SELECT instrument, day_obs, severity, code, count(*) FROM findings "
            "JOIN images ON images.number = findings.number "
            "AND images.position = findings.image GROUP BY 1, 2, 3, 4"
        ):
            tally.add_findings(*row)
        return tally

    def lines(self, *, with_clean: bool) -> Iterator[dict[str, Any]]:
        """Yield what was found of each image, in the order of the list."""
        rows = self._database.execute(
            "SELECT items.place, images.number, images.position, file_name, instrument, obs_id, "
            "day_obs, detector, code, severity, sentence, hdu FROM images "
            "JOIN items ON items.number = images.number "
            "LEFT JOIN findings ON findings.number = images.number "
            "AND findings.image = images.position "
            "ORDER BY images.number, images.position, findings.position"
        )
        for _, group in itertools.groupby(rows, key=lambda row: row[1:3]):
            found = list(group)
            findings = [_finding_told(*row[8:]) for row in found if row[8] is not None]
            if findings or with_clean:
                place, _, _, *image = found[0][:8]
                names = ("file", "instrument", "obs_id", "day_obs", "detector")
                told = dict(zip(names, image, strict=True))
                yield {"place": place, **told, "findings": findings}

    def _value(self, name: str) -> str | None:
        row = self._database.execute("SELECT value FROM audit WHERE name = ?", (name,)).fetchone()
        return None if row is None else row[0]

    def _set(self, name: str, value: str) -> None:
        self._database.execute("INSERT OR REPLACE INTO audit VALUES (?, ?)", (name, value))


def _finding_told(code: str, severity: str, sentence: str, hdu: int | None) -> dict[str, Any]:
    told = {"code": code, "severity": severity, "sentence": sentence}
    return told if hdu is None else {**told, "hdu": hdu}


def _image_row(number: int, position: int, image: Image) -> tuple[Any, ...]:
    clean = all(finding.severity.value in _CLEAN for finding in image.findings)
    return (
        number,
        position,
        image.file_name,
        image.instrument,
        image.obs_id,
        image.day_obs,
        image.detector,
        clean,
    )


def _finding_rows(verdict: Verdict) -> Iterator[tuple[Any, ...]]:
    for place, image in enumerate(verdict.images):
        for position, finding in enumerate(image.findings):
            yield (
                verdict.number,
                place,
                position,
                finding.code,
                finding.severity.value,
                finding.sentence,
                finding.hdu,
            )
