"""The two extensions that hold no data: state of the readout board, and configuration."""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import lru_cache

from daemons.simulators.fits_cards import card, seal, section
from daemons.simulators.focal_plane import Sensor
from daemons.simulators.image import Image

_BOARD: tuple[tuple[str, float, float, str], ...] = (
    *((f"TEMP{place}", -2.0, 4.0, f"[deg_C] board temperature {place}") for place in range(1, 11)),
    ("ATEMPU", -11.5, 0.2, "[deg_C] amplifier chip, upper half"),
    ("ATEMPL", -8.9, 0.2, "[deg_C] amplifier chip, lower half"),
    ("CCDTEMP", -100.0, 0.05, "[deg_C] CCD"),
    ("RTDTEMP", -105.8, 0.1, "[deg_C] sensor beside the CCD"),
    ("DIGPS_V", 5.425, 0.01, "[V] digital supply"),
    ("DIGPS_I", 656.25, 2.0, "[mA] digital supply"),
    ("ANAPS_V", 7.825, 0.01, "[V] analogue supply"),
    ("ANAPS_I", 636.0, 2.0, "[mA] analogue supply"),
    ("CLKHPS_V", 15.325, 0.01, "[V] clock supply, high"),
    ("CLKHPS_I", 144.8, 1.0, "[mA] clock supply, high"),
    ("CLKLPS_V", 13.575, 0.01, "[V] clock supply, low"),
    ("CLKLPS_I", 84.6, 1.0, "[mA] clock supply, low"),
    ("ODPS_V", 38.675, 0.01, "[V] output drain supply"),
    ("ODPS_I", 73.1, 1.0, "[mA] output drain supply"),
    ("HTRPS_V", 2.99, 0.05, "[V] heater supply"),
    ("HTRPS_W", 0.592, 0.02, "[W] heater supply"),
    ("PCKU_V", 3.289, 0.003, "[V] parallel clock, upper"),
    ("PCKL_V", -6.0, 0.003, "[V] parallel clock, lower"),
    ("SCKU_V", 3.905, 0.003, "[V] serial clock, upper"),
    ("SCKL_V", -5.399, 0.003, "[V] serial clock, lower"),
    ("RGU_V", 6.095, 0.003, "[V] reset gate, upper"),
    ("RGL_V", -4.0, 0.003, "[V] reset gate, lower"),
    ("ODV", 23.397, 0.003, "[V] output drain"),
    ("OGV", -3.421, 0.003, "[V] output gate"),
    ("RDV", 11.604, 0.003, "[V] reset drain"),
    ("GDV", 26.002, 0.003, "[V] guard drain"),
    ("GDP", 26.0, 0.0, "[V] guard drain, requested"),
    ("RDP", 11.6, 0.0, "[V] reset drain, requested"),
    ("OGP", -3.4, 0.0, "[V] output gate, requested"),
    ("ODP", 23.4, 0.0, "[V] output drain, requested"),
    ("CSGATEP", 1.0, 0.0, "[mA] current source, requested"),
    ("SCK_LOWP", -5.4, 0.0, "[V] serial clock low, requested"),
    ("SCK_HIP", 3.9, 0.0, "[V] serial clock high, requested"),
    ("PCK_LOWP", -6.0, 0.0, "[V] parallel clock low, requested"),
    ("PCK_HIP", 3.3, 0.0, "[V] parallel clock high, requested"),
    ("RG_LOWP", -4.0, 0.0, "[V] reset gate low, requested"),
    ("RG_HIP", 6.1, 0.0, "[V] reset gate high, requested"),
)
"""Keyword, nominal value, spread and comment of what is measured."""

_SUPPLIES: tuple[tuple[str, float, float, str], ...] = (
    ("POWER", 17.76, 0.05, "[W] whole board"),
    ("DIGVB", 6.3, 0.005, "[V] digital, before the regulator"),
    ("DIGIB", 677.7, 1.0, "[mA] digital, before the regulator"),
    ("DIGVA", 6.03, 0.005, "[V] digital, after the regulator"),
    ("DIGIA", 604.4, 1.0, "[mA] digital, after the regulator"),
    ("DIGVS", 5.999, 0.005, "[V] digital, after the switch"),
    ("ANAVB", 8.975, 0.005, "[V] analogue, before the regulator"),
    ("ANAIB", 628.9, 1.0, "[mA] analogue, before the regulator"),
    ("ANAVA", 8.268, 0.005, "[V] analogue, after the regulator"),
    ("ANAIA", 621.2, 1.0, "[mA] analogue, after the regulator"),
    ("ANAIS", 8.339, 0.005, "[V] analogue, after the switch"),
    ("ODVB", 40.5, 0.005, "[V] output drain, before the regulator"),
    ("ODIB", 78.3, 0.3, "[mA] output drain, before the regulator"),
    ("ODVA", 38.87, 0.005, "[V] output drain, after the regulator"),
    ("ODVA2", 38.88, 0.005, "[V] output drain, after both regulators"),
    ("ODIA", 75.2, 0.3, "[mA] output drain, after the regulator"),
    ("ODVS", 38.34, 0.005, "[V] output drain, after the switch"),
    ("CKHVB", 16.22, 0.005, "[V] clock high, before the regulator"),
    ("CKHIB", 136.5, 0.5, "[mA] clock high, before the regulator"),
    ("CKHVA", 15.4, 0.005, "[V] clock high, after the regulator"),
    ("CKHIA", 137.9, 0.5, "[mA] clock high, after the regulator"),
    ("CKHVS", 15.4, 0.005, "[V] clock high, after the switch"),
    ("CKLVB", 14.38, 0.005, "[V] clock low, before the regulator"),
    ("CKLIB", 93.07, 0.5, "[mA] clock low, before the regulator"),
    ("CKLVA", 0.729, 0.005, "[V] clock low, after the regulator"),
    ("CKLV2", 13.67, 0.005, "[V] clock low, after both regulators"),
    ("CKLIA", 91.92, 0.5, "[mA] clock low, after the regulator"),
    ("CKLVS", 13.92, 0.005, "[V] clock low, after the switch"),
    ("HTRVB", 12.32, 0.005, "[V] heater, before the regulator"),
    ("HTRIB", 175.1, 0.5, "[mA] heater, before the regulator"),
    ("HTRVA", 11.75, 0.005, "[V] heater, after the regulator"),
    ("HTRIA", 390.7, 0.5, "[mA] heater, after the regulator"),
    ("HTRVAS", 11.7, 0.005, "[V] heater, after the switch"),
    ("BSSVBS", 50.0, 0.005, "[V] back side, before the switch"),
    ("BSSIBS", 0.0776, 0.001, "[mA] back side, before the switch"),
)

_SWITCHES = tuple(
    (f"AP{chip}_{name}", value, f"amplifier chip {chip}, {meaning}")
    for name, value, meaning in (
        ("RC", 14, "time constant"),
        ("GAIN", 0, "gain"),
        ("CLMP", 0, "clamp"),
        ("AF1", 0, "gain forced to one"),
        ("TM", 0, "transparent mode"),
    )
    for chip in (0, 1)
)

_CATEGORIES = (
    ("FPDAQCS", "focal plane, data acquisition"),
    ("FPHIDCS", "focal plane, hardware ids"),
    ("FPINSCS", "focal plane, instrument"),
    ("FPLIMCS", "focal plane, limits"),
    ("FPRTCCS", "focal plane, temperature control"),
    ("FPRTCSCS", "focal plane, temperature control state"),
    ("FPRCS", "focal plane, rafts"),
    ("FPRLCS", "focal plane, limits of the rafts"),
    ("FPRPCS", "focal plane, power of the rafts"),
    ("FPSEQCS", "focal plane, sequencer"),
    ("FPTIMCS", "focal plane, timers"),
    ("RPLIMCS", "board power, limits"),
    ("RPPOWCS", "board power, power"),
    ("RPTIMCS", "board power, timers"),
)


def reb_cond(image: Image, sensor: Sensor) -> bytes:
    """Return the HDU with the state of the readout board during an image."""
    chance = random.Random(f"{image.obs_id}/{sensor.name}")  # noqa: S311 - noise, no secret
    return seal(_empty_table("REB_COND", _reb_cards(chance)), 0)[0]


def _reb_cards(chance: random.Random) -> Iterator[bytes]:
    yield from _measured(_BOARD, chance)
    for keyword, value, comment in _SWITCHES:
        yield card(keyword, value, comment)
    yield card("HVBIAS", "ON", "back side voltage")
    yield card("IDLEFLSH", 0, "flushing while idle")
    yield from _measured(_SUPPLIES, chance)


def _measured(
    table: tuple[tuple[str, float, float, str], ...], chance: random.Random
) -> Iterator[bytes]:
    for keyword, nominal, spread, comment in table:
        yield card(keyword, round(nominal + chance.uniform(-spread, spread), 4), comment)


@lru_cache(maxsize=1)
def config_cond() -> bytes:
    """Return the HDU with the checksums of the camera's configuration."""
    chance = random.Random("configuration")  # noqa: S311 - invented, no secret
    cards = [
        card(keyword, str(chance.getrandbits(32)), f"checksum of {category}")
        for keyword, category in _CATEGORIES
    ]
    return seal(_empty_table("CONFIG_COND", iter(cards)), 0)[0]


def _empty_table(name: str, cards: Iterator[bytes]) -> Iterator[bytes]:
    yield card("XTENSION", "BINTABLE", "binary table extension")
    yield card("BITPIX", 8, "bits of a data value")
    yield card("NAXIS", 2, "number of axes")
    yield card("NAXIS1", 0, "bytes of a row")
    yield card("NAXIS2", 0, "number of rows")
    yield card("PCOUNT", 0, "no heap")
    yield card("GCOUNT", 1, "one group")
    yield card("TFIELDS", 0, "number of columns")
    yield section(name)
    yield card("EXTNAME", name, "name of the extension")
    yield from cards
