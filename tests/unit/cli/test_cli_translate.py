"""`arriero translate`, as a person or a program uses it."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from astro_metadata_translator import ObservationInfo
from astro_metadata_translator import indexing as theirs
from astropy.io import fits

from daemons.cli.main import main

NAME = "MC_O_20250501_000123_R22_S11.fits"
HEADER = {
    "IMGTYPE": "OBJECT",
    "OBSID": "MC_O_20250501_000123",
    "DATE-OBS": "2025-05-02T04:12:47.100",
    "DATE-BEG": "2025-05-02T04:12:47.100",
    "MJD-BEG": 60797.1755451388,
    "DATE-END": "2025-05-02T04:13:17.600",
    "GROUPID": "2025-05-02T04:12:40.123",
    "TIMESYS": "TAI",
    "INSTRUME": "lsstCam",
    "TELESCOP": "Simonyi Survey Telescope",
    "RASTART": 187.501,
    "DECSTART": 8.251,
    "ROTPA": 33.25,
    "ROTCOORD": "sky",
    "ELSTART": 52.5,
    "AZSTART": 12.25,
    "ELEND": 52.6,
    "AZEND": 12.5,
    "AMSTART": 1.26,
    "TRACKSYS": "RADEC",
    "RADESYS": "ICRS",
    "OBJECT": "Virgo",
    "VIGN_MIN": "NO",
    "CONTRLLR": "O",
    "DAYOBS": "20250501",
    "SEQNUM": 123,
    "PROGRAM": "BLOCK-365",
    "REASON": "Survey",
    "CURINDEX": 1,
    "MAXINDEX": 2,
    "LSST_NUM": "E2V-CCD250-382",
    "RAFTBAY": "R22",
    "CCDSLOT": "S11",
    "FILTER": "r_57",
    "EXPTIME": 30.0,
    "DARKTIME": 30.5,
    "SHUTTIME": 30.004,
    "AIRTEMP": 9.5,
    "PRESSURE": 74500.0,
    "HUMIDITY": 31.0,
}


@dataclass
class Ran:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Arriero = Callable[..., Ran]


@pytest.fixture
def arriero(capfd: pytest.CaptureFixture[str]) -> Arriero:
    def run(*arguments: object) -> Ran:
        with pytest.raises(SystemExit) as ended:
            main([str(each) for each in arguments])
        printed = capfd.readouterr()
        return Ran(int(ended.value.code or 0), printed.out, printed.err)

    return run


def write_fits(path: Path, **changes: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    hdu = fits.PrimaryHDU()
    hdu.header.update(HEADER | changes)
    hdu.writeto(path)
    return path


@pytest.fixture
def night(tmp_path: Path) -> Path:
    folder = tmp_path / "20250501"
    write_fits(folder / NAME)
    write_fits(folder / NAME.replace("S11", "S12"), CCDSLOT="S12")
    return folder


def test_one_file_is_told_with_every_property_and_its_unit(night: Path, arriero: Arriero) -> None:
    ran = arriero("translate", night / NAME)

    assert (ran.code, ran.err) == (0, "")
    told = {" ".join(line.split()) for line in ran.out.splitlines()}
    assert told >= {
        "exposure_id 2025050100123",
        "detector_num 94",
        "datetime_begin 2025-05-02T04:12:47.100",
        "altaz_begin az 12.2500 deg, alt 52.5000 deg",
        "exposure_time 30.004 s",
        "temperature 282.65 K",
        "tracking_radec 187.5010, +8.2510",
    }


def test_folder_is_a_table_with_a_row_for_each_file(night: Path, arriero: Arriero) -> None:
    ran = arriero("translate", night.parent)

    heading, *rows = ran.out.splitlines()
    assert heading.split()[:4] == ["file", "observation", "day", "seq"]
    assert [row.split()[:5] for row in rows] == [
        [NAME.replace("S11", slot), "MC_O_20250501_000123", "20250501", "123", f"R22_{slot}"]
        for slot in ("S11", "S12")
    ]


def test_json_has_what_astro_metadata_translator_makes(night: Path, arriero: Arriero) -> None:
    (told,) = arriero("translate", night / NAME, "--json").json

    assert told["file"] == str(night / NAME)
    assert told["translator"] == "LSSTCam"
    assert told["findings"] == []
    theirs = json.loads(ObservationInfo(dict(HEADER), pedantic=True).to_json())
    assert told["observation"] == {k: theirs[k] for k in sorted(theirs) if k[0] != "_"}


def test_properties_can_be_chosen_in_every_form(night: Path, arriero: Arriero) -> None:
    chosen = ("-p", "exposure_id,object", "-p", "ext_nothing")
    expected = {"exposure_id": 2025050100123, "object": "Virgo", "ext_nothing": None}

    as_json = arriero("translate", night / NAME, "--json", *chosen).json
    as_yaml = yaml.safe_load(arriero("translate", night / NAME, "--yaml", *chosen).out)
    as_table = arriero("translate", night / NAME, *chosen).out.splitlines()

    assert as_json == as_yaml
    assert as_json[0]["observation"] == expected
    assert as_table[0].split() == ["file", "exposure_id", "object", "ext_nothing"]
    assert as_table[1].split() == [NAME, "2025050100123", "Virgo", "-"]


def test_property_that_does_not_exist_is_refused(night: Path, arriero: Arriero) -> None:
    ran = arriero("translate", night / NAME, "-p", "exposure")

    assert ran.code == 64
    assert "no such property: exposure; there are altaz_begin" in ran.err


def test_pattern_chooses_files_in_folders(night: Path, arriero: Arriero) -> None:
    told = arriero("translate", night, "--json", "--pattern", "*_S12*").json

    assert [each["observation"]["detector_num"] for each in told] == [95]


def test_bad_file_is_told_and_the_next_goes_on(night: Path, arriero: Arriero) -> None:
    (night / "a.fits").write_text("junk")
    write_fits(night / "b.fits", INSTRUME="NoSuchCamera")

    ran = arriero("translate", night)

    assert ran.code == 1
    assert len(ran.out.splitlines()) == 3
    first, second = ran.err.splitlines()
    assert first.startswith(f"{night}/a.fits: error file.unreadable: ")
    assert second.startswith(f"{night}/b.fits: error translation.unknown_instrument: ")


def test_findings_are_in_the_json_of_a_file(night: Path, arriero: Arriero) -> None:
    (night / "a.fits").write_text("junk")

    ran = arriero("translate", night / "a.fits", "--json")

    assert ran.code == 1
    (told,) = ran.json
    assert told["observation"] is None
    assert told["findings"][0]["code"] == "file.unreadable"


def test_relaxed_leaves_out_what_cannot_be_made_and_pedantic_fails(
    tmp_path: Path, arriero: Arriero
) -> None:
    path = write_fits(tmp_path / NAME, ROTPA="n/a", FOCUSZ="high")

    relaxed = arriero("translate", path, "--json")
    pedantic = arriero("translate", path, "--json", "--mode", "pedantic")

    assert (relaxed.code, pedantic.code) == (0, 1)
    (told,) = relaxed.json
    assert "focus_z" not in told["observation"]
    assert {"translation.property"} == {finding["code"] for finding in told["findings"]}
    (failed,) = pedantic.json
    assert failed["observation"] is None
    assert "focus_z" in failed["findings"][0]["sentence"]
    assert "boresight_rotation_angle" in failed["findings"][0]["sentence"]


def test_quiet_prints_only_what_is_wrong(night: Path, arriero: Arriero) -> None:
    assert arriero("translate", night, "--quiet") == Ran(0, "", "")
    (night / "a.fits").write_text("junk")
    ran = arriero("translate", night, "-q")
    assert (ran.code, ran.out) == (1, "")
    assert "a.fits" in ran.err


def test_translator_can_be_named(tmp_path: Path, arriero: Arriero) -> None:
    path = write_fits(tmp_path / NAME, INSTRUME="unknown")

    assert arriero("translate", path).code == 1
    assert arriero("translate", path, "--translator", "LSSTCam").code == 0
    ran = arriero("translate", path, "--translator", "NoSuch")
    assert ran.code == 1
    assert "no translator is called 'NoSuch'" in ran.err


def test_file_wrapped_in_gzip_and_file_uri(night: Path, arriero: Arriero) -> None:
    wrapped = night / f"{NAME}.gz"
    wrapped.write_bytes(gzip.compress((night / NAME).read_bytes()))

    one, other = arriero("translate", wrapped, (night / NAME).as_uri(), "--json").json

    assert one["observation"] == other["observation"]


def test_uri_of_no_configured_store_is_refused(arriero: Arriero) -> None:
    ran = arriero("translate", "s3://nowhere/a.fits")

    assert ran.code == 1
    assert "no store of the configuration is s3://nowhere" in ran.err


def test_sidecars_are_read_by_astro_metadata_translator(night: Path, arriero: Arriero) -> None:
    assert arriero("translate", night, "-q", "--sidecar").code == 0

    found = theirs.read_sidecar(str(night / NAME.replace(".fits", ".json")))

    assert {key: found[key] for key in HEADER} == HEADER


def test_indexes_are_read_by_astro_metadata_translator(night: Path, arriero: Arriero) -> None:
    ran = arriero("translate", night, "-q", "--index", "--content", "translated")
    assert (ran.code, ran.err) == (0, "")

    group = theirs.read_index(str(night / "_index.json"))

    assert [info.detector_num for info in group] == [94, 95]


def test_index_and_sidecars_are_taken_as_input(
    night: Path, tmp_path: Path, arriero: Arriero
) -> None:
    into = tmp_path / "made"
    arriero("translate", night, "-q", "--index", "--sidecar", "--into", into)

    by_index = arriero("translate", into / "_index.json", "--json").json
    by_sidecar = arriero("translate", into, "--json").json
    by_file = arriero("translate", night, "--json").json

    assert [each["observation"] for each in by_index] == [each["observation"] for each in by_file]
    assert [each["observation"] for each in by_sidecar] == [each["observation"] for each in by_file]


def test_sidecar_that_says_something_else_is_not_overwritten(night: Path, arriero: Arriero) -> None:
    sidecar = night / NAME.replace(".fits", ".json")
    sidecar.write_text('{"OBSID": "as the camera wrote it"}')

    refused = arriero("translate", night / NAME, "-q", "--sidecar")

    assert refused.code == 1
    assert "sidecar.exists" in refused.err
    assert sidecar.read_text() == '{"OBSID": "as the camera wrote it"}'
    assert arriero("translate", night / NAME, "-q", "--sidecar", "--overwrite").code == 0
    assert arriero("translate", night / NAME, "-q", "--sidecar").code == 0
    assert json.loads(sidecar.read_text())["OBSID"] == "MC_O_20250501_000123"


def test_header_cannot_be_made_from_a_translated_record(
    night: Path, tmp_path: Path, arriero: Arriero
) -> None:
    into = tmp_path / "made"
    arriero("translate", night, "-q", "--sidecar", "--content", "translated", "--into", into)

    ran = arriero("translate", into, "-q", "--index")

    assert ran.code == 1
    assert "sidecar.no_header" in ran.err
    assert not (into / "_index.json").exists()


def test_forms_exclude_each_other(night: Path, arriero: Arriero) -> None:
    assert arriero("translate", night, "--json", "--yaml").code == 64


def test_nothing_to_translate_is_an_empty_list(tmp_path: Path, arriero: Arriero) -> None:
    assert arriero("translate", tmp_path, "--json").json == []
    assert yaml.safe_load(arriero("translate", tmp_path, "--yaml").out) is None
    assert arriero("translate", tmp_path).out == "no header was translated\n"


def test_corrected_copy_is_not_corrected_again(tmp_path: Path, arriero: Arriero) -> None:
    night = {"DAYOBS": "20250415", "OBSID": "MC_O_20250415_000060", "SEQNUM": 60, "ROTPA": 100.0}
    name = "MC_O_20250415_000060_R22_S11.fits"
    written = write_fits(tmp_path / "written" / name, **night)
    copy = write_fits(
        tmp_path / "copy" / name, **night, **{"HIERARCH ASTRO METADATA FIX MODIFIED": True}
    )

    told = arriero("translate", written, copy, "--json", "-p", "boresight_rotation_angle").json

    assert [each["observation"]["boresight_rotation_angle"] for each in told] == [10.0, 100.0]
