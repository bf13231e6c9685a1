"""From an image to its object key."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemons.forwarder.errors import PlacementError
from daemons.forwarder.placing import check_template, place, place_beside, run_of
from daemons.forwarder.reading import sidecar_name
from daemons.storage.keys import check_key, quote_key
from translators.identity import ImageIdentity, ImageKind

DEFAULT = "{instrument}/{day_obs}/{obs_id}/{file}"
IMAGE = ImageIdentity(
    instrument="LSSTCam",
    obs_id="MC_O_20250501_000123",
    exposure_id=2025050100123,
    day_obs=20250501,
    seq_num=123,
    detector=94,
    detector_name="R22_S11",
    kind=ImageKind.SCIENCE,
    dataset_type="raw",
    run="LSSTCam/raw/all",
)


def test_default_template_gives_the_layout_that_prompt_processing_reads() -> None:
    key = place(DEFAULT, IMAGE, b"MC_O_20250501_000123_R22_S11.fits")
    assert key == "LSSTCam/20250501/MC_O_20250501_000123/MC_O_20250501_000123_R22_S11.fits"


def test_every_field_can_be_used() -> None:
    template = (
        "{instrument}/{detector:03d}/{exposure_id}/{seq_num}/{dataset_type}/"
        "{detector_name}/{day_obs}/{obs_id}/{file}"
    )
    check_template(template)
    assert place(template, IMAGE, b"x.fits") == (
        "LSSTCam/094/2025050100123/123/raw/R22_S11/20250501/MC_O_20250501_000123/x.fits"
    )


@pytest.mark.parametrize(
    "template",
    [
        "{instrument}/{night}/{file}",
        "{instrument}/{obs_id}",
        "/{file}",
        "{instrument}//{file}",
        "{instrument/{file}",
    ],
)
def test_templates_that_cannot_work_are_refused(template: str) -> None:
    with pytest.raises(ValueError, match=r"`"):
        check_template(template)


@pytest.mark.parametrize(
    "name", [b"a b.fits", b"caf\xe9.fits", b"..", b".x.fits", b"a%20.fits", b"a\n.fits", b""]
)
def test_names_that_a_consumer_would_have_to_unquote_cannot_be_placed(name: bytes) -> None:
    with pytest.raises(PlacementError, match="rename the file"):
        place(DEFAULT, IMAGE, name)


def test_header_values_cannot_lead_out_of_their_folder() -> None:
    for obs_id in ("../../etc", "a/b", "", "a b"):
        with pytest.raises(PlacementError, match="observation id"):
            place(DEFAULT, replace(IMAGE, obs_id=obs_id), b"x.fits")


@given(st.binary(min_size=1, max_size=300), st.text(max_size=300))
def test_a_key_that_is_given_is_valid_everywhere_and_needs_no_quoting(
    name: bytes, obs_id: str
) -> None:
    try:
        key = place(DEFAULT, replace(IMAGE, obs_id=obs_id), name)
    except PlacementError:
        return
    assert check_key(key) == key
    assert quote_key(key) == key
    assert key.endswith("/" + name.decode())


def test_attachment_goes_into_the_folder_of_the_images() -> None:
    assert place_beside("LSSTCam/20250501/X/X_R22_S11.fits", b"X_list.json") == (
        "LSSTCam/20250501/X/X_list.json"
    )
    assert place_beside("X_R22_S11.fits", b"X_list.json") == "X_list.json"


def test_run_follows_the_dataset_type() -> None:
    runs = {"raw": "{instrument}/raw/all", "guider_raw": "{instrument}/raw/guider"}
    assert run_of(runs, IMAGE) == "LSSTCam/raw/all"
    assert run_of(runs, replace(IMAGE, dataset_type="guider_raw")) == "LSSTCam/raw/guider"
    assert run_of({}, replace(IMAGE, run="its/own")) == "its/own"


@pytest.mark.parametrize(
    ("image", "sidecar"),
    [
        (b"/d/a.fits", b"/d/a.json"),
        (b"/d/a.fits.fz", b"/d/a.json"),
        (b"/d/a.b.fits", b"/d/a.b.json"),
        (b"a.fits.gz", b"a.json"),
        (b"/d/a", b"/d/a.json"),
    ],
)
def test_sidecar_has_the_name_of_its_image(image: bytes, sidecar: bytes) -> None:
    assert sidecar_name(image) == sidecar
