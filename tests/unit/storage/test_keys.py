from __future__ import annotations

from pathlib import PurePosixPath
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemons.storage.keys import check_key, check_metadata, quote_key

part = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="/\x7f", min_codepoint=0x20),
    min_size=1,
    max_size=20,
).filter(lambda text: text not in {".", "..", ".arriero"})
keys = st.lists(part, min_size=1, max_size=5).map("/".join)


@given(keys)
def test_a_key_of_plain_parts_is_itself(key: str) -> None:
    assert check_key(key) == key


@given(st.text(max_size=40))
def test_what_passes_can_be_a_path_below_any_folder_and_nowhere_else(text: str) -> None:
    try:
        key = check_key(text)
    except ValueError:
        return
    root = PurePosixPath("/objects")
    assert (root / key).is_relative_to(root)
    assert str(root / key) == f"/objects/{key}"
    assert len(key.encode()) <= 1024


@given(keys)
def test_a_quoted_key_reads_back(key: str) -> None:
    quoted = quote_key(key)
    assert unquote(quoted) == key
    assert not set(quoted) & set(' ?#%"<>') - {"%"}
    assert quoted.isascii()


def test_plain_keys_are_not_quoted() -> None:
    key = "LSSTCam/20261121/MC_O_20261121_000123/MC_O_20261121_000123_R22_S11.fits"
    assert quote_key(key) == key


@given(
    st.dictionaries(
        st.from_regex(r"[a-z0-9]([a-z0-9._-]{0,10}[a-z0-9])?", fullmatch=True),
        st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E)).map(str.strip),
        max_size=5,
    )
)
def test_printable_metadata_pass_unchanged(metadata: dict[str, str]) -> None:
    assert check_metadata(metadata) == metadata


def test_metadata_may_be_absent() -> None:
    assert check_metadata(None) == {}


@pytest.mark.parametrize("name", ["", "X", "a b", "a:b", "-a", "a-", "\u00e9"])
def test_metadata_names_are_lower_case_ascii(name: str) -> None:
    with pytest.raises(ValueError, match="metadata name"):
        check_metadata({name: "x"})
