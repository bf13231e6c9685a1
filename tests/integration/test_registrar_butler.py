"""Images in a real Butler repository, on SQLite and on PostgreSQL."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from lsst.daf.butler import Butler

from daemons.events import ImageStored
from daemons.registrar.errors import ButlerUnavailableError, RepositoryError
from daemons.registrar.journal import Reason, RegistrarJournal
from daemons.registrar.opening import open_repository
from daemons.registrar.register import Outcome, register_batch
from daemons.registrar.report import registered_files
from daemons.registrar.repository import Repository
from daemons.registrar.settings import RegistrarSettings
from daemons.runtime.secrets import SecretRef
from tests.support.facts import image_stored, lsstcam_header
from tests.support.servers import Postgres

FORMATTER = "lsst.obs.lsst.rawFormatter.LsstCamRawFormatter"


@pytest.fixture(
    params=["sqlite", pytest.param("postgresql", marks=pytest.mark.server)], name="settings"
)
def _settings(request: pytest.FixtureRequest, tmp_path: Path) -> RegistrarSettings:
    database = None
    if request.param == "postgresql":
        postgres: Postgres = request.getfixturevalue("postgres")
        database = postgres.create_database(f"butler_{uuid4().hex[:8]}")
    return RegistrarSettings(
        repository=str(tmp_path / "repository"),
        database=database,
        journal=tmp_path / "registrar.sqlite3",
    )


@pytest.fixture(name="repository")
def _repository(settings: RegistrarSettings) -> Iterator[Repository]:
    repository = open_repository(settings)
    yield repository
    repository.close()


@pytest.fixture(name="journal")
def _journal(tmp_path: Path) -> Iterator[RegistrarJournal]:
    journal = RegistrarJournal(tmp_path / "registrar-journal.sqlite3")
    yield journal
    journal.close()


def images(*sensors: str, **cards: object) -> list[ImageStored]:
    return [image_stored(lsstcam_header(sensor=sensor, **cards)) for sensor in sensors]


def guider() -> ImageStored:
    header = lsstcam_header(raft="R00", sensor="SG0", IMGTYPE="UNKNOWN", N_STAMPS=100)
    for card in [name for name in header if name.startswith(("DATE", "MJD"))]:
        del header[card]
    return image_stored(header, guider=True)


def names(outcome: Outcome) -> set[str]:
    return {each.image.detector_name for each in outcome.registered}


def test_an_exposure_is_registered_as_real_repositories_hold_it(
    settings: RegistrarSettings, repository: Repository, journal: RegistrarJournal
) -> None:
    batch = images("S11", "S12", "S00")

    outcome = register_batch(repository, journal, batch)

    assert names(outcome) == {"R22_S11", "R22_S12", "R22_S00"}
    with Butler.from_config(settings.repository, writeable=False) as butler:
        (instrument,) = butler.query_dimension_records("instrument")
        assert instrument.class_name == "lsst.obs.lsst.LsstCam"
        assert (instrument.visit_system, instrument.exposure_max) == (2, 7050123199999)
        assert len(butler.query_dimension_records("detector", instrument="LSSTCam")) == 205
        (exposure,) = butler.query_dimension_records("exposure", instrument="LSSTCam")
        refs = butler.query_datasets("raw", collections="LSSTCam/raw/all")
        assert {ref.id for ref in refs} == {image.file_id for image in batch}
        assert {ref.datasetType.storageClass_name for ref in refs} == {"Exposure"}
        assert {str(butler.getURI(ref)) for ref in refs} == {image.uri for image in batch}
    assert exposure.id == 2025050100123
    assert exposure.obs_id == "MC_O_20250501_000123"
    assert exposure.day_obs == 20250501
    assert exposure.physical_filter == "r_57"
    assert exposure.observation_type == "science"
    assert exposure.exposure_time == 30.0
    assert exposure.group == "2025-05-02T01:02:03.143"
    assert exposure.tracking_ra == pytest.approx(150.1)
    assert exposure.sky_angle == pytest.approx(12.5)
    assert exposure.zenith_angle == pytest.approx(33.0)
    assert exposure.can_see_sky is True
    assert exposure.timespan.begin.scale == "tai"
    assert exposure.timespan.begin.isot.startswith("2025-05-02T01:03:04.123")


def test_the_formatter_is_stored_by_its_real_name_with_the_size(
    tmp_path: Path, journal: RegistrarJournal
) -> None:
    settings = RegistrarSettings(repository=str(tmp_path / "plain"), journal=tmp_path / "j")
    repository = open_repository(settings)
    register_batch(repository, journal, images("S11"))
    repository.close()

    with sqlite3.connect(tmp_path / "plain" / "gen3.sqlite3") as database:
        rows = database.execute(
            "SELECT formatter, storage_class, file_size FROM file_datastore_records"
        ).fetchall()
    database.close()

    assert rows == [(FORMATTER, "Exposure", 1_000_000)]


def test_the_same_images_again_are_known_and_change_nothing(
    settings: RegistrarSettings, repository: Repository, journal: RegistrarJournal
) -> None:
    register_batch(repository, journal, images("S11", "S12"))
    before = registered_files(settings)

    outcome = register_batch(repository, journal, images("S12", "S11", "S10"))

    assert {each.image.detector_name: each.already_known for each in outcome.registered} == {
        "R22_S10": False,
        "R22_S11": True,
        "R22_S12": True,
    }
    assert set(before) < set(registered_files(settings))
    assert len(registered_files(settings)) == 3


def test_another_file_under_the_same_identity_is_a_conflict_and_is_kept_out(
    settings: RegistrarSettings, repository: Repository, journal: RegistrarJournal
) -> None:
    register_batch(repository, journal, images("S11"))
    other = image_stored(uri="s3://elsewhere/other.fits")

    outcome = register_batch(repository, journal, [other])

    (refusal,) = outcome.refused
    assert refusal.code == "butler.conflict"
    assert "rubin-summit" in refusal.sentence
    (known,) = registered_files(settings)
    assert known.uri.startswith("s3://rubin-summit/")
    assert [each.code for each in journal.waiting(Reason.REFUSED)] == ["butler.conflict"]


def test_a_later_header_that_differs_does_not_replace_the_exposure_record(
    settings: RegistrarSettings, repository: Repository, journal: RegistrarJournal
) -> None:
    register_batch(repository, journal, images("S11"))

    outcome = register_batch(repository, journal, images("S12", OBJECT="elsewhere"))

    assert names(outcome) == {"R22_S12"}
    with Butler.from_config(settings.repository, writeable=False) as butler:
        (exposure,) = butler.query_dimension_records("exposure", instrument="LSSTCam")
    assert exposure.target_name == "COSMOS"


def test_one_bad_image_does_not_take_the_others_with_it(
    repository: Repository, journal: RegistrarJournal
) -> None:
    good = images("S11", "S12")
    bad = good[1].model_copy(update={"run": good[1].run, "file_id": uuid4()})

    outcome = register_batch(repository, journal, [good[0], bad])

    assert names(outcome) == {"R22_S11"}
    (refusal,) = outcome.refused
    assert "same run name" in refusal.sentence
    assert [each.image.file_id for each in journal.waiting(Reason.REFUSED)] == [bad.file_id]


def test_a_guider_waits_for_its_exposure_and_is_registered_with_it(
    settings: RegistrarSettings, repository: Repository, journal: RegistrarJournal
) -> None:
    first = register_batch(repository, journal, [guider()])
    assert [image.detector_name for image in first.held] == ["R00_SG0"]
    assert [each.image.detector for each in journal.waiting(Reason.HELD)] == [189]

    second = register_batch(repository, journal, images("S11"))

    assert names(second) == {"R22_S11", "R00_SG0"}
    assert journal.waiting(Reason.HELD) == ()
    assert {each.dataset_type for each in registered_files(settings)} == {"raw", "guider_raw"}


def test_an_unknown_filter_is_added_or_refused_as_the_settings_say(
    settings: RegistrarSettings, journal: RegistrarJournal
) -> None:
    strict = open_repository(settings.model_copy(update={"unknown_filters": "refuse"}))
    outcome = register_batch(strict, journal, images("S11", FILTER="SDSSi", FILTER2="ND_OD1.0"))
    assert "SDSSi~ND_OD1.0" in outcome.refused[0].sentence
    strict.close()

    lenient = open_repository(settings)
    outcome = register_batch(lenient, journal, images("S11", FILTER="SDSSi", FILTER2="ND_OD1.0"))
    assert names(outcome) == {"R22_S11"}
    assert journal.waiting(Reason.REFUSED) == (), "what is registered waits no longer"
    lenient.close()


def test_an_image_without_a_translated_header_is_refused_with_the_reason(
    repository: Repository, journal: RegistrarJournal
) -> None:
    bare = image_stored().model_copy(update={"observation": None})
    (refusal,) = register_batch(repository, journal, [bare]).refused
    assert "without the translated header" in refusal.sentence


def test_a_header_without_a_time_is_refused_and_names_what_is_missing(
    repository: Repository, journal: RegistrarJournal
) -> None:
    image = image_stored()
    assert image.observation is not None
    partial = {key: value for key, value in image.observation.items() if key != "datetime_begin"}
    bare = image.model_copy(update={"observation": partial})
    (refusal,) = register_batch(repository, journal, [bare]).refused
    assert "datetime_begin" in refusal.sentence


def test_an_absent_repository_is_said_when_it_must_not_be_made(tmp_path: Path) -> None:
    settings = RegistrarSettings(repository=str(tmp_path / "none"), create=False)
    with pytest.raises(RepositoryError, match="no Butler repository"):
        open_repository(settings)


def test_a_database_that_is_away_is_unavailable_not_refused(tmp_path: Path) -> None:
    settings = RegistrarSettings(
        repository=str(tmp_path / "repository"),
        database="postgresql+psycopg://nobody@127.0.0.1:9/none?connect_timeout=2",
    )
    with pytest.raises(ButlerUnavailableError, match="repository"):
        open_repository(settings)


@pytest.mark.server
def test_the_password_of_the_database_is_never_written_into_the_repository(
    tmp_path: Path, postgres: Postgres, journal: RegistrarJournal
) -> None:
    secret = tmp_path / "password"
    secret.touch(mode=0o600)
    secret.write_text("open-sesame")
    settings = RegistrarSettings(
        repository=str(tmp_path / "repository"),
        database=postgres.create_database(f"butler_{uuid4().hex[:8]}"),
        database_password=SecretRef(file=secret),
        journal=tmp_path / "registrar.sqlite3",
    )
    repository = open_repository(settings)
    assert names(register_batch(repository, journal, images("S11"))) == {"R22_S11"}
    repository.close()

    written = [path for path in (tmp_path / "repository").rglob("*") if path.is_file()]
    assert (tmp_path / "repository" / "butler.yaml") in written
    assert not [path for path in written if b"open-sesame" in path.read_bytes()]
    assert len(registered_files(settings)) == 1
