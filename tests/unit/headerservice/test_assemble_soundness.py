"""No NaN, no infinity, no denormal and no impossible value is ever written."""

from __future__ import annotations

import json
import math
import sys
from typing import Any

import yaml
from astropy.io import fits
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from daemons.bus import ControlMessage, Topic
from daemons.runtime.clock import UtcSeconds
from headerservice import exposure as life
from headerservice.assemble import Site, assemble
from headerservice.exposure import Status
from headerservice.making import Draft, Made, make
from headerservice.quality import Method, Quality, Resolved, fixed
from headerservice.render import to_fits_text, to_json
from headerservice.resolve import Resolution, Resolver
from headerservice.series import SampleStore
from headerservice.soundness import flaw_of
from tests.unit.headerservice.rig import OBS_ID, Image, Sky, lsstcam, message, state_events

T0 = 1_763_697_637.0
NOW = UtcSeconds(T0 - 37.0)
SITE = Site("1.0", "here", wcs=True)

NUMBERS = st.floats() | st.sampled_from(
    [5e-324, 1e-310, -1e-310, -0.0, 1e308, -1e308, 1.7976931348623157e308, float("nan")]
)
BAD: st.SearchStrategy[Any] = (
    NUMBERS
    | st.integers()
    | st.just(10**400)
    | st.none()
    | st.booleans()
    | st.sampled_from(["1e400", "-1e400", "nan", "inf", "5e-324", "1e-310", "\x00", "é\n", "a:b"])
    | st.text(max_size=20)
    | st.lists(NUMBERS, max_size=8)
)


def everything() -> list[ControlMessage]:
    """Return the messages of an exposure with all that LSSTCam headers need."""
    image = Image(OBS_ID, T0)
    sky = Sky(T0)
    camera = {
        "MTCamera.logevent_startIntegration": (image.start_fields(), image.start),
        "MTCamera.logevent_startReadout": (image.readout_fields(), image.readout),
        "MTCamera.logevent_endOfImageTelemetry": (image.end_fields(), image.end),
    }
    found = [message(name, fields, at) for name, (fields, at) in camera.items()]
    found += [message(name, fields, T0 - 2) for name, fields in state_events(T0 - 2).items()]
    for at in (T0 - 1, T0 + 1, image.readout - 1, image.readout + 1):
        found += [message(name, fields, at) for name, fields in sky.telemetry(at).items()]
        found += [message(name, fields, at) for name, fields in sky.slow(at).items()]
    return found


FIELDS = sorted({(str(each.topic), name) for each in everything() for name in each.fields})


def made_of(messages: list[ControlMessage]) -> tuple[Made, Resolution]:
    definitions = lsstcam()
    samples = SampleStore(definitions)
    own: dict[Topic, ControlMessage] = {}
    for each in messages:
        if each.topic in definitions.events.roles:
            own[each.topic] = each
        else:
            samples.insert(each)
    resolution = Resolver(definitions, samples).resolve(own, {})
    exposure = life.opened(OBS_ID, now=T0)
    draft = Draft(
        exposure=exposure,
        resolution=resolution,
        definitions=definitions,
        site=SITE,
        revision=1,
        status=Status.PARTIAL if resolution.missing else Status.COMPLETE,
        now=NOW,
    )
    return make(draft), resolution


def refuse(constant: str) -> Any:
    raise AssertionError(f"{constant} was written")


def must_be_sound(made: Made) -> None:
    document = yaml.load(made.stored.body, Loader=yaml.CSafeLoader)
    assert json.loads(to_json(made.header.hdus), parse_constant=refuse) == document
    json.loads(made.stored.provenance, parse_constant=refuse)
    for cards in document.values():
        for card in cards:
            value = card["value"]
            if isinstance(value, float):
                assert math.isfinite(value), card
                assert value == 0 or abs(value) >= sys.float_info.min, card
            elif isinstance(value, str):
                assert value.isascii(), card
                assert value.isprintable(), card
    first = to_fits_text(made.header.hdus[:1]).decode("ascii").splitlines()[:-1]
    header = fits.Header.fromstring("".join(first))
    for card in document["PRIMARY"]:
        if card["keyword"] != "COMMENT":
            read = header[card["keyword"].removeprefix("HIERARCH ")]
            assert (None if isinstance(read, fits.card.Undefined) else read) == card["value"]


def test_without_bad_values_there_is_a_complete_header_with_coordinates() -> None:
    made, resolution = made_of(everything())
    assert resolution.missing == ()
    must_be_sound(made)
    (sensor,) = [hdu for hdu in made.header.hdus if hdu.name == "R22S11_PRIMARY"]
    cards = {card.keyword: card.value for card in sensor.cards}
    assert cards["CTYPE1"] == "RA---TAN"
    assert cards["CRVAL1"] == {card.keyword: card.value for card in made.header.hdus[0].cards}["RA"]
    assert json.loads(made.stored.provenance)["coordinates"] == "nominal"


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    changes=st.dictionaries(st.sampled_from(FIELDS), BAD, min_size=1, max_size=12),
    every=st.booleans(),
    value=BAD,
)
def test_whatever_the_bus_says_only_sound_values_are_written(
    changes: dict[tuple[str, str], Any], *, every: bool, value: Any
) -> None:
    messages = []
    for each in everything():
        fields = dict(each.fields)
        for name, before in each.fields.items():
            if (str(each.topic), name) in changes:
                fields[name] = changes[str(each.topic), name]
            elif every and isinstance(before, float):
                fields[name] = value
        messages.append(message(str(each.topic), fields, each.sent))
    made, _ = made_of(messages)
    must_be_sound(made)


@given(value=BAD.filter(lambda value: value is not None and not isinstance(value, list)))
def test_a_value_that_no_header_can_hold_is_left_out_and_named(value: Any) -> None:
    _, resolution = made_of_truth()
    keywords = dict(resolution.keywords)
    keywords["AIRTEMP"] = Resolved(value=value, quality=Quality.GOOD, method=Method.HELD)
    header = assemble(
        life.opened(OBS_ID, now=T0),
        _with(resolution, keywords),
        definitions=lsstcam(),
        site=SITE,
        revision=1,
        status=Status.COMPLETE,
        now=NOW,
    )
    written = {card.keyword: card.value for card in header.hdus[0].cards}
    codes = [each.code for each in header.findings]
    if flaw_of(value):
        assert written["AIRTEMP"] is None
        assert "header.impossible_value" in codes
        assert header.provenance["keywords"]["AIRTEMP"]["quality"] == "invalid"
    else:
        assert written["AIRTEMP"] is value
        assert "header.impossible_value" not in codes


_TRUTH: list[tuple[Made, Resolution]] = []


def made_of_truth() -> tuple[Made, Resolution]:
    if not _TRUTH:
        _TRUTH.append(made_of(everything()))
    return _TRUTH[0]


def _with(resolution: Resolution, keywords: dict[str, Resolved]) -> Resolution:
    return Resolution(
        instants=resolution.instants,
        keywords=keywords,
        sensors=resolution.sensors,
        image_type=resolution.image_type,
        missing=resolution.missing,
        settled=True,
        waits_for=frozenset(),
        findings=(),
    )


def test_the_summary_of_the_checks_stands_in_the_header() -> None:
    made, resolution = made_of_truth()
    cards = {card.keyword: card.value for card in made.header.hdus[0].cards}
    told = json.loads(made.stored.provenance)
    failed = [each for each in told["crosschecks"] if each["verdict"] == "failed"]
    unmade = [each for each in told["crosschecks"] if each["verdict"] == "not_checked"]
    assert cards["HDRNFAIL"] == len(failed) > 0  # this sky is a linear one, not the true one
    assert cards["HDRNOCHK"] == len(unmade) > 0
    assert set(str(cards["HDRFAIL"]).split(",")) == {each["check"] for each in failed}
    assert {each["code"] for each in told["findings"]} >= {
        f"crosscheck.{each['check']}" for each in failed
    }
    nothing_failed = {
        **resolution.keywords,
        **{name: fixed("AZEL") for name in ("TRACKSYS",)},
    }
    header = assemble(
        life.opened(OBS_ID, now=T0),
        _with(resolution, nothing_failed),
        definitions=lsstcam(),
        site=SITE,
        revision=1,
        status=Status.COMPLETE,
        now=NOW,
    )
    cards = {card.keyword: card.value for card in header.hdus[0].cards}
    assert (cards["HDRNFAIL"], cards["HDRFAIL"]) == (0, "none")
