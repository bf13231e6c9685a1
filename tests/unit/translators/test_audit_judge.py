"""What an audit says of headers, and how its work is cut into batches."""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from translators.audit.judge import judge_batch
from translators.audit.model import Image, Item, batches_of
from translators.audit.tally import Tally
from translators.findings import Severity
from translators.headerfile import read_entries
from translators.index import index_bytes
from translators.record import record_of
from translators.sidecar import Content, sidecar_bytes, translated_sidecar_bytes

Cards = dict[str, Any]
WriteRaw = Callable[..., Path]
DECAM: Cards = {
    "INSTRUME": "DECam",
    "TELESCOP": "CTIO 4.0-m telescope",
    "OBSID": "ct4m20130901t060255",
    "EXPNUM": 229388,
    "CCDNUM": 25,
    "DATE-OBS": "2013-09-01T06:02:55.754",
    "TIMESYS": "UTC",
    "EXPTIME": 200.0,
    "EXPREQ": 200.0,
    "DARKTIME": 201.15,
    "FILTER": "z DECam SDSS c0004 9260.0 1520.0",
    "OBSTYPE": "object",
    "OBJECT": "DES supernova hex SN-X3",
    "PROPID": "2012B-0001",
    "RA": "02:25:40.000",
    "DEC": "-04:36:00.000",
    "TELRA": "02:25:40.000",
    "TELDEC": "-04:36:00.000",
    "RADESYS": "FK5",
    "ZD": 45.0,
    "AZ": 60.0,
    "AIRMASS": 1.4,
    "DETECTOR": "S3-111_107419-8-3",
    "DETPOS": "S3",
    "DTACQNAM": "/data_local/images/DTS/2012B-0001/DECam_00229388.fits.fz",
    "OBS-LAT": "-30:10:10.73",
    "OBS-LONG": "70:48:23.49",
    "OBS-ELEV": 2215.0,
}
NAME = "MC_O_20250501_000123_R22_S11"


def judged(path: Path) -> tuple[Image, ...]:
    (verdict,) = judge_batch((Item(7, str(path)),))
    assert verdict.number == 7
    return verdict.images


def codes(image: Image) -> set[str]:
    return {f.code for f in image.findings if f.severity is Severity.ERROR}


def test_fits_file_and_its_sidecar_have_the_same_verdict(
    write_raw: WriteRaw, sky_header: Cards, tmp_path: Path
) -> None:
    sidecar = tmp_path / f"{NAME}.json"
    sidecar.write_bytes(sidecar_bytes(sky_header))

    (by_file,) = judged(write_raw())
    (by_sidecar,) = judged(sidecar)

    assert by_file == by_sidecar
    assert (by_file.instrument, by_file.obs_id) == ("LSSTCam", "MC_O_20250501_000123")
    assert (by_file.day_obs, by_file.detector) == (20250501, 94)
    assert codes(by_file) == set()


def test_translated_sidecar_is_checked_too(write_raw: WriteRaw, tmp_path: Path) -> None:
    record = record_of(read_entries(write_raw())[0])
    sidecar = tmp_path / f"{NAME}.json"
    sidecar.write_bytes(translated_sidecar_bytes(record.values))

    (image,) = judged(sidecar)

    assert (image.instrument, image.day_obs, image.detector) == ("LSSTCam", 20250501, 94)


def test_translated_sidecar_that_is_none_is_an_error(tmp_path: Path) -> None:
    sidecar = tmp_path / f"{NAME}.json"
    sidecar.write_text('{"__CONTENT__": "translated", "exposure_id": "many"}')

    (image,) = judged(sidecar)

    assert codes(image) == {"translation.failed"}
    assert (image.instrument, image.day_obs) == (None, 20250501)


def test_camera_of_astro_metadata_translator_is_audited(tmp_path: Path) -> None:
    sidecar = tmp_path / "c4d.json"
    sidecar.write_bytes(sidecar_bytes(DECAM))

    (image,) = judged(sidecar)

    assert (image.instrument, image.obs_id) == ("DECam", "ct4m20130901t060255")
    assert (image.day_obs, image.detector) == (20130831, 25)


def test_header_that_nobody_knows_is_an_error(tmp_path: Path) -> None:
    sidecar = tmp_path / "x.json"
    sidecar.write_bytes(sidecar_bytes({"INSTRUME": "NoSuchCamera"}))

    (image,) = judged(sidecar)

    assert codes(image) == {"translation.unknown_instrument"}


def test_index_has_an_image_for_each_of_its_files(sky_header: Cards, tmp_path: Path) -> None:
    path = tmp_path / "_index.json"
    files = {
        f"MC_O_20250501_000123_R22_{slot}.fits": sky_header | {"CCDSLOT": slot}
        for slot in ("S11", "S12")
    }
    path.write_bytes(index_bytes(files, Content.METADATA))

    assert [image.detector for image in judged(path)] == [94, 95]


def test_header_of_another_image_is_an_error(sky_header: Cards, tmp_path: Path) -> None:
    path = tmp_path / "MC_O_20250501_000123_R22_S12.json"
    path.write_bytes(sidecar_bytes(sky_header))

    (image,) = judged(path)

    assert "identity.file_name_disagrees" in codes(image)


def test_file_that_cannot_be_read_is_an_error_of_its_own(tmp_path: Path) -> None:
    (image,) = judged(tmp_path / f"{NAME}.json")

    assert codes(image) == {"file.unreadable"}
    assert image.obs_id == "MC_O_20250501_000123"


def test_opener_with_errors_of_its_own_does_not_end_the_audit() -> None:
    class StoreGoneError(Exception):
        code = "store.unavailable"

    def opened(_place: str) -> BinaryIO:
        raise StoreGoneError("the store is out of reach")

    (verdict,) = judge_batch((Item(1, "s3://bucket/a.json"),), opened=opened)

    assert codes(verdict.images[0]) == {"store.unavailable"}


@pytest.mark.filterwarnings("ignore::erfa.ErfaWarning")
@given(
    st.dictionaries(
        st.sampled_from(
            ["INSTRUME", "TELESCOP", "OBSID", "DAYOBS", "SEQNUM", "EXPTIME", "MJD-BEG"]
        ),
        st.sampled_from(["lsstCam", "LATISS", "DECam", "20250501", 1, -5, 1e300, True, None, ""]),
    )
)
def test_any_header_has_a_verdict(header: Cards) -> None:
    content = sidecar_bytes(header)
    (verdict,) = judge_batch((Item(1, "a.json"),), opened=lambda _: io.BytesIO(content))

    assert len(verdict.images) == 1
    assert "audit.failed" not in {finding.code for finding in verdict.images[0].findings}


@given(st.lists(st.integers(0, 12), max_size=60), st.integers(1, 7))
def test_batches_keep_all_items_in_order_and_exposures_whole(
    exposures: list[int], size: int
) -> None:
    items = [
        Item(number, f"/n/MC_O_20250501_{exposure:06d}_R22_S11.json")
        for number, exposure in enumerate(sorted(exposures))
    ]

    batches = list(batches_of(items, size))

    assert [item for batch in batches for item in batch] == items
    assert all(one[-1].place != other[0].place for one, other in itertools.pairwise(batches))
    for batch in batches:
        last = [item for item in batch if item.place == batch[-1].place]
        assert len(batch) - len(last) < size


def test_batches_ask_for_no_more_items_than_they_hold() -> None:
    asked = []

    def items() -> Any:
        for number in range(1000):
            asked.append(number)
            yield Item(number, f"/n/{number}.json")

    next(iter(batches_of(items(), 10)))

    assert len(asked) <= 11


@given(st.permutations(range(6)))
def test_tally_is_the_same_whatever_the_order(order: list[int]) -> None:
    def tally(numbers: list[int]) -> dict[str, Any]:
        made = Tally(files=6)
        for number in numbers:
            made.add_images("LSSTCam" if number % 2 else None, 20250501 + number % 3, 5, number)
            made.add_findings("LSSTCam", None, "error", f"a.b{number % 2}", number)
        return made.as_json()

    assert tally(order) == tally(list(range(6)))
    assert tally(order)["images"] == 30
