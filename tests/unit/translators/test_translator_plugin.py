"""The translators in the company of astro-metadata-translator's command and other packages."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path

from astro_metadata_translator import MetadataTranslator, ObservationInfo

from translators.inspect import inspect_file
from translators.plugin import TRANSLATORS, translator_names

WriteRaw = Callable[..., Path]


def run(*arguments: str) -> str:
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def run_python(code: str) -> str:
    return run(sys.executable, "-W", "error", "-c", textwrap.dedent(code))


def test_entry_point_registers_every_name() -> None:
    (plugin,) = entry_points(group="astro_metadata_translators", name="arriero")

    names = plugin.load()()

    assert names == translator_names()
    assert names == [
        *("LSSTCam", "LSSTComCam", "LSST_LATISS", "LSSTCamSim", "LSSTComCamSim"),
        *("LSST-TS8", "LSST-TS3", "LSST-UCDCam", "LSSTCam-imSim", "LSSTCam-PhoSim"),
        "ExampleCam",
    ]
    for translator in TRANSLATORS.values():
        assert MetadataTranslator.translators[str(translator.name)] is translator


def test_astrometadata_command_translates_a_file(write_raw: WriteRaw) -> None:
    command = str(Path(sys.executable).with_name("astrometadata"))

    printed = run(command, "-p", "arriero", "translate", str(write_raw()))

    assert "exposure_id: 2025050100123" in printed
    assert "detector_num: 94" in printed
    assert "physical_filter: r_57" in printed
    assert "Error" not in printed


def test_observation_info_finds_the_translator_by_the_header(write_raw: WriteRaw) -> None:
    header = dict(inspect_file(write_raw()).primary)

    info = ObservationInfo(header, pedantic=True)

    assert info.translator_class_name == "LsstCamTranslator"
    assert info.detector_exposure_id is not None


FOREIGN = """
    import logging, io
    log = io.StringIO()
    logging.basicConfig(stream=log, level=logging.WARNING)
    from astro_metadata_translator import FitsTranslator, MetadataTranslator

    def foreign():
        return type("LsstCamTranslator", (FitsTranslator,), {
            "__module__": "lsst.obs.lsst.translators.lsstCam",
            "name": "LSSTCam",
            "supported_instrument": "LSSTCam",
        })
"""


def test_translators_that_were_there_before_stay_registered_and_ours_are_still_used() -> None:
    printed = run_python(
        textwrap.dedent(FOREIGN)
        + textwrap.dedent("""
        theirs = foreign()
        before = list(MetadataTranslator.translators)
        from translators.plugin import TRANSLATORS
        from translators.translate import translate
        assert MetadataTranslator.translators["LSSTCam"] is theirs
        assert list(MetadataTranslator.translators)[:len(before)] == before
        assert MetadataTranslator.translators["LSSTComCam"] is TRANSLATORS["LSSTComCam"]
        header = {"INSTRUME": "lsstCam", "OBSID": "MC_O_20250501_000123", "DAYOBS": "20250501",
                  "SEQNUM": 123, "CONTRLLR": "O", "RAFTBAY": "R22", "CCDSLOT": "S11",
                  "N_STAMPS": 3}
        print(translate(header, file_name="a.fits").identity.exposure_id)
        print("log:", log.getvalue())
        """)
    )

    assert printed.split() == ["2025050100123", "log:"]


def test_translators_that_come_later_replace_ours_with_a_warning() -> None:
    printed = run_python(
        textwrap.dedent(FOREIGN)
        + textwrap.dedent("""
        import translators.plugin
        theirs = foreign()
        assert MetadataTranslator.translators["LSSTCam"] is theirs
        print(log.getvalue())
        """)
    )

    assert "Replacing" in printed


def test_importing_needs_no_network_and_no_other_package_of_ours() -> None:
    printed = run_python(
        """
        import socket, sys
        def refuse(*_):
            raise OSError("no network here")
        socket.socket.connect = refuse
        socket.getaddrinfo = refuse
        from translators.translate import translate
        from translators.inspect import inspect_file
        print(sorted(name for name in sys.modules if name in {"daemons", "headerservice"}))
        """
    )

    assert printed.strip() == "[]"
