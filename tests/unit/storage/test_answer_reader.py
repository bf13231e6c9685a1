from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemons.storage.answers import Answer, AnswerReader, MalformedAnswerError


def read(*pieces: bytes, bodiless: bool = False) -> Answer | None:
    reader = AnswerReader(bodiless=bodiless)
    for piece in pieces:
        if reader.feed(piece):
            return reader.answer
    return reader.answer


OK = b'HTTP/1.1 200 OK\r\nETag: "abc"\r\nContent-Length: 5\r\n\r\nhello'
CHUNKED = (
    b"HTTP/1.1 503 Slow Down\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"6\r\n<Code>\r\n8;x=y\r\nSlowDown\r\n7\r\n</Code>\r\n0\r\nTrailer: x\r\n\r\n"
)


def test_a_counted_answer_is_read_to_its_length() -> None:
    answer = read(OK)
    assert answer is not None
    assert (answer.status, answer.body, answer.closes) == (200, b"hello", False)
    assert answer.headers["etag"] == '"abc"'


def test_a_chunked_answer_is_put_together_and_its_xml_is_understood() -> None:
    answer = read(CHUNKED)
    assert answer is not None
    assert (answer.status, answer.element("Code"), answer.closes) == (503, "SlowDown", False)


@given(whole=st.sampled_from([OK, CHUNKED]), cuts=st.lists(st.integers(1, 100), max_size=12))
def test_pieces_of_any_size_make_the_same_answer(whole: bytes, cuts: list[int]) -> None:
    places = sorted({cut for cut in cuts if cut < len(whole)})
    pieces = [whole[a:b] for a, b in zip([0, *places], [*places, len(whole)], strict=True)]
    assert read(*pieces) == read(whole)


@given(st.binary(min_size=1, max_size=300))
def test_whatever_comes_is_an_answer_or_malformed_or_unfinished(noise: bytes) -> None:
    reader = AnswerReader()
    try:
        complete = reader.feed(noise)
    except MalformedAnswerError:
        return
    assert complete == (reader.answer is not None)


def test_interim_answers_are_passed_over() -> None:
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
    assert read(interim) is None
    answer = read(interim + OK)
    assert answer is not None
    assert answer.status == 200


def test_an_answer_to_head_has_no_body_whatever_it_says() -> None:
    answer = read(b"HTTP/1.1 200 OK\r\nContent-Length: 19500000\r\n\r\n", bodiless=True)
    assert answer is not None
    assert (answer.body, answer.closes) == (b"", False)


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\n",
    ],
)
def test_a_connection_that_ends_or_says_too_much_is_not_used_again(head: bytes) -> None:
    answer = read(head)
    assert answer is not None
    assert answer.closes


def test_without_a_length_the_end_of_the_connection_ends_the_answer() -> None:
    head = b"HTTP/1.1 200 OK\r\n\r\nall"
    assert read(head) is None
    answer = read(head, b"")
    assert answer is not None
    assert (answer.body, answer.closes) == (b"all", True)


@pytest.mark.parametrize(
    "pieces",
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n",),
        (b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",),
        (b"x" * 70_000,),
        (b"",),
        (OK[:-1], b""),
        (CHUNKED[:-2], b""),
    ],
)
def test_what_is_no_answer_or_cut_off_is_malformed(pieces: tuple[bytes, ...]) -> None:
    with pytest.raises(MalformedAnswerError):
        read(*pieces)


def test_entities_in_xml_are_resolved() -> None:
    body = b"<Error><Message>a &lt;b&gt; &amp; c</Message></Error>"
    answer = read(b"HTTP/1.1 400 Bad\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    assert answer is not None
    assert answer.element("Message") == "a <b> & c"
    assert answer.element("Code") == ""
