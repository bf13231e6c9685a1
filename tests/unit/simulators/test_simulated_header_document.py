from __future__ import annotations

import pytest

from daemons.simulators.errors import HeaderDocumentError
from daemons.simulators.header_document import HeaderCard, HeaderDocument, read_header

DOCUMENT = """
PRIMARY:
- {keyword: OBJECT, value: COSMOS, comment: the target}
- {keyword: null, value: null, comment: null}
- {keyword: COMMENT, value: a remark, comment: ''}
- {keyword: RA, value: 150.1, comment: '[deg] of the target'}
- {keyword: HIERARCH SIMULATE MTDOME, value: 1, comment: simulated}
- {keyword: SEEING, value: null, comment: '[arcsec]'}
R22S11_PRIMARY:
- {keyword: CCDTEMP, value: -99.5, comment: '[deg_C]'}
- {keyword: OBJECT, value: of this sensor, comment: ''}
R22S11_Segment10:
- {keyword: CHANNEL, value: 1, comment: ''}
"""


def test_a_header_is_read() -> None:
    header = read_header(DOCUMENT)
    assert header.primary == {
        "OBJECT": HeaderCard("COSMOS", "the target"),
        "RA": HeaderCard(150.1, "[deg] of the target"),
        "SIMULATE MTDOME": HeaderCard(1, "simulated"),
        "SEEING": HeaderCard(None, "[arcsec]"),
    }
    assert header.sensors["R22S11"]["CCDTEMP"].value == -99.5
    assert not header.early


def test_what_a_sensor_has_of_its_own_comes_before_what_all_share() -> None:
    header = read_header(DOCUMENT)
    assert header.of("R22S11")["OBJECT"].value == "of this sensor"
    assert header.of("R01S00")["OBJECT"].value == "COSMOS"


@pytest.mark.parametrize("status", ["early", "complete", "partial"])
def test_an_early_header_says_so(status: str) -> None:
    header = HeaderDocument({"HDRSTAT": HeaderCard(status, "")})
    assert header.early == (status == "early")


@pytest.mark.parametrize(
    "payload",
    [
        b"\xff\xfe\x00",
        "{unbalanced: [",
        "just a text",
        "OTHER: []",
        "PRIMARY: {OBJECT: COSMOS}",
        "PRIMARY: [{value: 1}]",
        "PRIMARY: [{keyword: RA, value: [1, 2]}]",
    ],
)
def test_what_is_no_header_is_refused(payload: bytes | str) -> None:
    with pytest.raises(HeaderDocumentError, match="header"):
        read_header(payload)
