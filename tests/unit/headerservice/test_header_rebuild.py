"""A header is made again from the journal or from a recording, and compared."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml
from astropy.io import fits

from daemons.bus import Topic
from daemons.bus.control.memory import MemoryControlBus
from daemons.bus.recording.file import RecordingWriter, read_recording
from daemons.bus.recording.record import record
from daemons.cli.main import main
from daemons.runtime.clock import SystemClock, TaiSeconds
from headerservice.assemble import Site
from headerservice.compare import Difference, UnreadableHeaderError, compare, read_header
from headerservice.errors import JournalError
from headerservice.journal import Journal
from headerservice.rebuild import NothingKnownError, Rebuilt, from_journal, from_recording
from headerservice.render import to_fits_text, to_json
from tests.unit.headerservice.rig import CAMERA, OBS_ID, Image, Rig, cards, lsstcam

MakeRig = Callable[..., Rig]
SITE = Site("test", "TMAMCv1_SUM")


async def taken(rig: Rig, file: Path) -> dict[str, Any]:
    """Take an exposure, recorded; return its header as it was published."""
    stop, ready = asyncio.Event(), asyncio.Event()
    definitions = lsstcam()
    recording = asyncio.create_task(
        record(
            MemoryControlBus(rig.control_broker, identity="recorder"),
            [*definitions.event_topics, *definitions.telemetry_topics, *definitions.events.roles],
            RecordingWriter(file, about={}),
            clock=SystemClock(),
            ready=ready.set,
            stop=stop,
        )
    )
    await ready.wait()
    async with rig.running():
        await rig.set_the_scene(rig.t0 - 1)
        await rig.expose(Image(OBS_ID, rig.t0))
        await rig.header_of()
    stop.set()
    await recording
    return rig.stored()


def again(file: Path, obs_id: str = OBS_ID) -> Rebuilt:
    return from_recording(
        lambda: (each.message for each in read_recording(file)), obs_id, lsstcam(), site=SITE
    )


def same(document: dict[str, Any], rebuilt: Rebuilt) -> list[Difference]:
    first = read_header(yaml.dump(document).encode(), "published")
    second = read_header(rebuilt.made.stored.body, "rebuilt")
    return list(compare(first, second))


async def test_header_is_the_same_from_the_journal_and_from_a_recording(
    make_rig: MakeRig, tmp_path: Path
) -> None:
    rig = make_rig()
    document = await taken(rig, tmp_path / "night.gz")
    with closing(Journal.read_only(tmp_path / "state" / "headerservice.sqlite3")) as journal:
        old = from_journal(journal, OBS_ID, lsstcam(), site=SITE, now=rig.clock.utc())
    recorded = again(tmp_path / "night.gz")
    assert same(document, old) == []
    assert same(document, recorded) == []
    assert (old.revision, old.basis, old.made.header.missing) == (2, "journal", ())
    assert (recorded.revision, recorded.basis) == (1, "recording")
    assert len(old.made.header.hdus) == len(document)


async def test_the_same_recording_gives_the_same_bytes(make_rig: MakeRig, tmp_path: Path) -> None:
    await taken(make_rig(), tmp_path / "night.gz")
    bodies = {again(tmp_path / "night.gz").made.stored.sha256 for _ in range(3)}
    assert len(bodies) == 1


async def test_journal_is_read_while_its_service_works(make_rig: MakeRig, tmp_path: Path) -> None:
    rig = make_rig()
    async with rig.running():
        await rig.set_the_scene(rig.t0 - 1)
        await rig.expose(Image(OBS_ID, rig.t0))
        await rig.header_of()
        with closing(Journal.read_only(tmp_path / "state" / "headerservice.sqlite3")) as journal:
            old = from_journal(journal, OBS_ID, lsstcam(), site=SITE, now=rig.clock.utc())
    assert old.made.header.missing == ()


async def test_unknown_exposure_is_said_so(make_rig: MakeRig, tmp_path: Path) -> None:
    rig = make_rig()
    await taken(rig, tmp_path / "night.gz")
    with (
        closing(Journal.read_only(tmp_path / "state" / "headerservice.sqlite3")) as journal,
        pytest.raises(NothingKnownError, match="has no events of MC_O_20251121_999999"),
    ):
        from_journal(journal, "MC_O_20251121_999999", lsstcam(), site=SITE, now=rig.clock.utc())
    with pytest.raises(NothingKnownError, match="recording has no event"):
        again(tmp_path / "night.gz", "MC_O_20251121_999999")
    with pytest.raises(JournalError, match="cannot be read"):
        Journal.read_only(tmp_path / "absent.sqlite3")


async def test_exposure_without_an_end_is_partial_when_it_is_made_again(
    make_rig: MakeRig, tmp_path: Path
) -> None:
    rig = make_rig()
    await taken(rig, tmp_path / "night.gz")
    end = Topic(CAMERA, "logevent_endOfImageTelemetry")
    rebuilt = from_recording(
        lambda: (
            each.message
            for each in read_recording(tmp_path / "night.gz")
            if each.message.topic != end
        ),
        OBS_ID,
        lsstcam(),
        site=SITE,
    )
    assert rebuilt.made.header.status == "partial"
    assert "DATE-END" in rebuilt.made.header.missing


async def test_rebuilt_header_is_published_as_the_next_revision(
    make_rig: MakeRig, tmp_path: Path
) -> None:
    rig = make_rig()
    await taken(rig, tmp_path / "night.gz")
    with closing(Journal.read_only(tmp_path / "state" / "headerservice.sqlite3")) as journal:
        old = from_journal(journal, OBS_ID, lsstcam(), site=SITE, now=rig.clock.utc())
    await rig.service.open()
    try:
        stored = await rig.service.publish_again(old)
    finally:
        await rig.service.close()
    assert (stored.revision, int(stored.todo)) == (2, 0)
    assert cards(rig.stored(revision=2))["HDRREV"] == 2
    announced = [
        event.message for event in await _announced(rig) if event.message.fields["id"] == OBS_ID
    ]
    assert [message.fields["version"] for message in announced] == [1.0, 2.0]


async def _announced(rig: Rig) -> list[Any]:
    large = Topic("MTHeaderService", "logevent_largeFileObjectAvailable")
    async with rig.voice.subscribe([large], history=False, since=TaiSeconds(0)) as heard:
        return [await anext(aiter(heard)) for _ in range(2)]


# ---- comparing


def test_forms_of_one_header_are_the_same(make_rig: MakeRig, tmp_path: Path) -> None:
    asyncio.run(taken(make_rig(), tmp_path / "night.gz"))
    made = again(tmp_path / "night.gz").made
    yaml_values = read_header(made.stored.body, "a.yaml")
    json_values = read_header(to_json(made.header.hdus), "a.json")
    assert list(compare(yaml_values, json_values)) == []
    text_values = read_header(to_fits_text(made.header.hdus), "a.txt")
    assert [each for each in compare(yaml_values, text_values) if each.kind == "value"] == []


def test_fits_file_is_compared_with_the_header_that_it_was_made_of(
    make_rig: MakeRig, tmp_path: Path
) -> None:
    asyncio.run(taken(make_rig(), tmp_path / "night.gz"))
    made = again(tmp_path / "night.gz").made
    text = to_fits_text(made.header.hdus[:1]).decode()
    card = fits.Header.fromstring(text, sep="\n")
    for name in ("SIMPLE", "BITPIX", "NAXIS", "EXTEND"):
        card.remove(name, ignore_missing=True)
    file = tmp_path / "image.fits"
    image = fits.PrimaryHDU(header=card)
    image.header["CAMERA"] = "of its own"
    fits.HDUList([image, fits.ImageHDU(name="R22S11")]).writeto(file)
    header, archived = (
        read_header(content, "x") for content in (made.stored.body, file.read_bytes())
    )
    assert list(compare(header, archived, common=True)) == []
    image.header["EXPTIME"] = 99.0
    fits.HDUList([image]).writeto(file, overwrite=True)
    archived = read_header(file.read_bytes(), "x")
    assert [each.keyword for each in compare(header, archived, common=True)] == ["EXPTIME"]


@pytest.mark.parametrize("content", [b"", b"hello", b"[1, 2]", b"{", b"SIMPLE  = nonsense" * 9])
def test_what_is_no_header_is_said_so(content: bytes) -> None:
    with pytest.raises(UnreadableHeaderError, match="thing"):
        read_header(content, "thing")


def test_what_differs_is_named_and_the_rest_is_not() -> None:
    first = {"PRIMARY": {"A": 1.0, "B": "x ", "C": None, "D": True, "E": 5, "DATE": "now"}}
    second = {
        "PRIMARY": {"A": 1.0 + 1e-12, "B": "x", "C": None, "D": 1, "F": 6, "DATE": "then"},
        "R22": {"G": 1},
    }
    assert list(compare(first, second)) == [
        Difference("PRIMARY", "D", "value", True, 1),
        Difference("PRIMARY", "E", "only_first", 5, None),
        Difference("PRIMARY", "F", "only_second", None, 6),
        Difference("R22", "G", "only_second", None, 1),
    ]
    assert [each.keyword for each in compare(first, second, common=True)] == ["D"]
    assert "A" in {each.keyword for each in compare(first, second, tolerance=0)}


# ---- the command line


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    said = capsys.readouterr()
    return int(ended.value.code or 0), said.out, said.err


def configured(rig: Rig, folder: Path) -> str:
    file = folder / "arriero.yaml"
    document = {
        "site": {"name": "test", "host": "summit-1"},
        "stores": {"facility": {"url": (folder / "store").as_uri()}},
        "headerservice": {
            "state_directory": str(rig.settings.state_directory),
            "test_stand": "TMAMCv1_SUM",
        },
    }
    file.write_text(yaml.dump(document))
    return str(file)


def test_rebuild_and_diff_on_the_command_line(
    make_rig: MakeRig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rig = make_rig()
    asyncio.run(taken(rig, tmp_path / "night.gz"))
    config = configured(rig, tmp_path)
    made = tmp_path / "made.yaml"
    code, _, err = run(capsys, "-c", config, "headers", "rebuild", OBS_ID, "-o", str(made))
    assert code == 0
    assert "from the journal; it would be revision 2" in err
    recorded = tmp_path / "recorded.json"
    code, out, _ = run(
        capsys, "-c", config, "headers", "rebuild", OBS_ID, "--from", str(tmp_path / "night.gz"),
        "--format", "json", "-o", str(recorded), "--json",
    )  # fmt: skip
    assert code == 0
    assert json.loads(out)["status"] == "complete"
    for first, second in ((str(made), str(recorded)), (OBS_ID, str(made)), (made.as_uri(), OBS_ID)):
        code, out, err = run(capsys, "-c", config, "headers", "diff", first, second)
        assert (code, out.strip()) == (0, "the headers are the same"), err
    made.write_text(made.read_text().replace("value: 15.0", "value: 16.0"))
    code, out, _ = run(capsys, "-c", config, "headers", "diff", OBS_ID, str(made), "--json")
    assert code == 1
    assert "EXPTIME" in {each["keyword"] for each in json.loads(out)["differences"]}
    code, _, err = run(capsys, "-c", config, "headers", "diff", "nobody", str(made))
    assert code not in {0, 1}
    assert "there is no file nobody" in err
    code, _, err = run(capsys, "-c", config, "headers", "rebuild", OBS_ID, "--publish")
    assert code == 0
    assert "it is revision 2" in err
    code, out, _ = run(capsys, "-c", config, "headers", "rebuild", OBS_ID, "--json")
    assert json.loads(out)["revision"] == 3
