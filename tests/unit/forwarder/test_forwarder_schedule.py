"""Which file goes next: the plan by itself, and the journal's choice against a plain model."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemons.forwarder import lanes
from daemons.forwarder.migrations import migrate, shipped_schema
from daemons.forwarder.model import FileIdentity, FileKind
from daemons.forwarder.schedule import Slots, urgency
from daemons.forwarder.sightings import record, saw

PRIORITIES = ("R??_SW?", "*", "R??_SG?")


@pytest.mark.parametrize(
    ("name", "exposure", "rank"),
    [
        ("MC_O_20250501_000123_R00_SW0.fits", "MC_O_20250501_000123", 0),
        ("MC_O_20250501_000123_R22_S11.fits.fz", "MC_O_20250501_000123", 1),
        ("MC_O_20250501_000123_R00_SG1_guider.fits", "MC_O_20250501_000123", 2),
        ("MC_O_20250501_000123_expectedSensors.json", "MC_O_20250501_000123", 1),
        ("flat-7.fits", None, 1),
    ],
)
def test_a_name_tells_exposure_and_class(name: str, exposure: str | None, rank: int) -> None:
    assert (urgency(name, PRIORITIES).exposure, urgency(name, PRIORITIES).rank) == (exposure, rank)


def test_without_a_place_for_the_others_they_go_last() -> None:
    assert urgency("MC_O_20250501_000123_R22_S11.fits", ("R00_*", "R04_*")).rank == 2
    assert urgency("MC_O_20250501_000123_R22_S11.fits", ()).rank == 0


@given(
    st.integers(1, 64),
    st.floats(0.0, 0.9),
    st.integers(0, 64),
    st.integers(0, 64),
    st.booleans(),
)
def test_slots_are_never_given_twice(
    limit: int,
    share: float,
    live: int,
    backlog: int,
    backlog_waits: bool,  # noqa: FBT001 - drawn by hypothesis
) -> None:
    slots = Slots(limit, share, live=min(live, limit), backlog=min(backlog, limit))
    owned = slots.for_backlog if backlog_waits else 0
    after = slots.begun(backlog=owned)
    begun = after.begun(live=after.for_live(backlog_waits=bool(owned)))
    assert begun.live <= limit
    assert begun.spare >= 0
    final = begun.begun(backlog=begun.spare)
    assert final.live + final.backlog <= limit + slots.backlog, "only what had begun is too much"
    if limit > 1 and share > 0 and backlog_waits and slots.live < limit:
        assert final.backlog >= 1, "the backlog never stands still"
    if not slots.backlog and not backlog_waits:
        assert begun.live == limit, "nothing is kept free for nobody"


def test_one_slot_is_for_the_newest() -> None:
    assert Slots(1, 0.5).for_backlog == 0
    assert Slots(1, 0.5).for_live(backlog_waits=True) == 1


@dataclass(frozen=True)
class Given:
    """A file of an exposure that came at an instant."""

    seq_num: int
    sensor: str
    at: float

    @property
    def path(self) -> bytes:
        return f"/drop/MC_O_20250501_{self.seq_num:06d}_R00_{self.sensor}.fits".encode()


files = st.lists(
    st.builds(
        Given,
        st.integers(1, 6),
        st.sampled_from(["S00", "S11", "SW0", "SG1"]),
        st.floats(0.0, 100.0, width=32),
    ),
    max_size=12,
    unique_by=lambda given_: given_.path,
)


def opened(path: Path | str = ":memory:") -> sqlite3.Connection:
    base = sqlite3.connect(path, isolation_level=None)
    base.row_factory = sqlite3.Row
    migrate(base, Path(str(path)), shipped_schema())
    return base


def take(base: sqlite3.Connection, arrivals: list[Given]) -> dict[int, Given]:
    numbers = {}
    for inode, one in enumerate(arrivals):
        identity = FileIdentity(1, inode, 100, 1)
        seen = saw(
            one.path, identity, FileKind.IMAGE, one.at, witnessed=True, priorities=PRIORITIES
        )
        numbers[record(base, seen, now=200.0).file_id] = one
    return numbers


@given(files, st.integers(1, 8), st.floats(0.0, 110.0), st.data())
def test_the_choice_is_that_of_a_plain_sort(
    arrivals: list[Given], limit: int, live_since: float, data: st.DataObject
) -> None:
    base = opened()
    numbers = take(base, sorted(arrivals, key=lambda one: one.at))
    excluded = data.draw(st.sets(st.sampled_from(sorted(numbers)))) if numbers else set()
    began = {
        seq: min(o.at for o in arrivals if o.seq_num == seq)
        for seq in range(1, 7)
        if any(o.seq_num == seq for o in arrivals)
    }
    ranks = {"SW0": 0, "S00": 1, "S11": 1, "SG1": 2}

    def key(number: int, *, newest: bool) -> tuple[float, int, int]:
        one = numbers[number]
        at = began[one.seq_num]
        return (-at if newest else at, ranks[one.sensor], number)

    waits = [number for number in numbers if number not in excluded]
    live = [number for number in waits if began[numbers[number].seq_num] >= live_since]
    old = [number for number in waits if number not in live]
    slots = Slots(limit, 0.3)
    owned = sorted(old, key=lambda n: key(n, newest=False))[: slots.for_backlog]
    slots = slots.begun(backlog=len(owned))
    first = sorted(live, key=lambda n: key(n, newest=True))
    first = first[: slots.for_live(backlog_waits=bool(owned))]
    slots = slots.begun(live=len(first))
    rest = sorted((n for n in old if n not in owned), key=lambda n: key(n, newest=True))
    expected = [*first, *owned, *rest[: slots.spare]]
    chosen = lanes.choose(base, Slots(limit, 0.3), live_since=live_since, exclude=excluded)
    assert [entry.id for entry in chosen] == expected
    base.close()


def test_a_file_sent_again_belongs_to_its_old_exposure() -> None:
    base = opened()
    first = Given(1, "S00", 10.0)
    newer = Given(2, "S00", 50.0)
    again = Given(1, "S11", 60.0)
    numbers = take(base, [first, newer, again])
    order = [numbers[entry.id] for entry in lanes.waiting(base, 10)]
    assert order == [newer, first, again]
    base.close()


def test_choosing_needs_no_look_at_files_that_are_stored() -> None:
    base = opened()
    queries = {
        "files_longest": "exposure_at < 5 ORDER BY exposure_at, rank, id LIMIT 3",
        "files_newest": "exposure_at >= 5 ORDER BY exposure_at DESC, rank, id LIMIT 3",
    }
    waiting = "SELECT * FROM files WHERE state IN ('discovered', 'inspected') AND"
    for index, query in queries.items():
        (plan,) = base.execute(f"EXPLAIN QUERY PLAN {waiting} {query}")
        assert index in plan["detail"]
        assert "TEMP B-TREE" not in plan["detail"]
    base.close()


def test_a_journal_of_the_first_version_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite3"
    base = sqlite3.connect(path, isolation_level=None)
    base.row_factory = sqlite3.Row
    first = (shipped_schema() / "0001_initial.sql").read_text(encoding="utf-8")
    base.executescript(f"{first}\nPRAGMA user_version = 1;")
    base.execute(
        "INSERT INTO files (path, location, device, inode, size_bytes, ctime_ns, kind, state, "
        "seen_at, changed_at) VALUES (x'61', x'61', 1, 1, 1, 1, 'image', 'discovered', 7.0, 7.0)"
    )
    base.execute("INSERT INTO exposures VALUES ('LSSTCam', 'X', 1, 20250501, 1, 7.0, NULL, NULL)")
    base.execute("INSERT INTO decisions VALUES (1, 1, 7.0, 'ann', 'reject', '[]', 'broken')")
    migrate(base, path, shipped_schema())
    (entry,) = lanes.waiting(base, 10)
    assert entry.exposure_at == 7.0
    (exposure,) = base.execute("SELECT lateness FROM exposures").fetchall()
    assert exposure["lateness"] == 3, "exposures from before are not announced as late"
    assert base.execute("SELECT why FROM decisions").fetchone()["why"] == "broken"
    assert path.with_name("journal.sqlite3.v1").exists()
    base.close()
