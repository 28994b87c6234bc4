"""Header blocks: ours read by hpack, hpack's read by us; what no answer may say."""

from __future__ import annotations

import logging

import hpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quicsql_client.transports.fields import RequestEncoder, SectionDecoder
from quicsql_client.transports.frames import ConnectionBreach, ErrorCode, StreamBreach
from quicsql_client.wire.messages import Request

from .fix_frames import OK, literal

names = st.text("abcdefghijklmnopqrstuvwxyz0123456789-_!#$%&'*+.^`|~", min_size=1, max_size=300)
visible = [chr(code) for code in (*range(0x21, 0x7F), *range(0x80, 0x100))]
values = st.text(st.sampled_from([*visible, " ", "\t"]), max_size=300).map(lambda v: v.strip(" \t"))
fields = st.lists(st.tuples(names, values), max_size=8)
targets = st.text("/abc?=&%20-._~", max_size=400).map(lambda t: "/" + t)


def reader() -> hpack.Decoder:
    """As a server whose table we were never told to be smaller."""
    return hpack.Decoder(max_header_list_size=1 << 20)


def encoded(*requests: Request) -> list[bytes]:
    encoder = RequestEncoder("db:1", "https")
    return [encoder.encode(request) for request in requests]


@given(targets, fields, st.binary(max_size=3), st.sampled_from(["GET", "POST", "HEAD", "PATCH"]))
def test_hpack_reads_what_we_write(
    target: str, headers: list[tuple[str, str]], body: bytes, method: str
) -> None:
    request = Request(method, target, tuple(headers), body)
    decoder = reader()
    for block in encoded(request, request):
        found = [(bytes(n), bytes(v)) for n, v in decoder.decode(block, raw=True)]
        length = [("content-length", str(len(body)))] if body or method[0] == "P" else []
        wanted = [
            (":method", method),
            (":scheme", "https"),
            (":authority", "db:1"),
            (":path", target),
            ("accept-encoding", "identity"),
            *length,
            *headers,
        ]
        assert found == [(n.encode(), v.encode("latin-1")) for n, v in wanted]


@pytest.mark.parametrize("size", [0, 1, 126, 127, 128, 254, 255, 256, 16384, 50_000])
def test_texts_of_any_length(size: int) -> None:
    headers = (("accept", "x" * size), ("a" * (size + 1), "y"))
    found = list(reader().decode(encoded(Request("GET", "/", headers))[0], raw=True))
    assert [(bytes(n).decode(), bytes(v).decode()) for n, v in found[-2:]] == [*headers]
    encoder = hpack.Encoder()
    encoder.header_table_size = 0
    for is_huffman in (False, True):
        block = encoder.encode([(":status", "200"), ("a", "x" * size)], huffman=is_huffman)
        assert SectionDecoder().decode(block).headers == (("a", "x" * size),)


def test_the_table_is_declined_once() -> None:
    first, second = encoded(Request("GET", "/"), Request("GET", "/"))
    assert first == b"\x20" + second


@pytest.mark.parametrize("size", [0, 100, 4096, 65536])
def test_any_table_size_of_the_peer_suits_us(size: int) -> None:
    """A server that has less than before demands to be told that we use no more of it."""
    decoder = reader()
    decoder.max_allowed_table_size = size
    for block in encoded(Request("GET", "/"), Request("GET", "/")):
        decoder.decode(block)


def test_only_harmless_fields_may_be_indexed_on_the_way() -> None:
    secrets = (("authorization", "Bearer S3CRET"), ("cookie", "a=1"), ("x-keyring-signature", "s"))
    request = Request("POST", "/", (("content-type", "application/json"), *secrets), b"{}")
    found = reader().decode(encoded(request)[0], raw=True)
    assert {bytes(f[0]).decode() for f in found if not f.indexable} == {n for n, _ in secrets}


def test_what_is_remembered_of_requests_is_bounded_and_no_secret() -> None:
    encoder = RequestEncoder("db:1", "https")
    for number in range(1000):
        secret = ("authorization", f"Bearer {number}")
        encoder.encode(Request("GET", f"/{number}", (secret, ("accept", "x" * 1000))))
    assert len(encoder._known) <= 64
    assert "Bearer" not in repr(encoder._known)
    assert "xxx" not in repr(encoder._known)


def test_requests_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        encoded(Request("GET", "/", (("authorization", "Bearer S3CRET"),)))
    assert "S3CRET" not in caplog.text


# Answers


@given(fields, st.integers(100, 999), st.booleans())
def test_we_read_what_hpack_writes(
    headers: list[tuple[str, str]], status: int, is_huffman: bool
) -> None:
    forbidden = ("te", "upgrade", "connection", "keep-alive", "content-length")
    headers = [(name, value) for name, value in headers if name not in forbidden]
    encoder = hpack.Encoder()
    encoder.header_table_size = 0
    decoder = SectionDecoder()
    for _ in range(2):
        raw = [(n.encode(), v.encode("latin-1")) for n, v in [(":status", str(status)), *headers]]
        block = encoder.encode(raw, huffman=is_huffman)
        assert decoder.decode(block) == (status, tuple(headers), None)


@given(st.binary(max_size=60))
def test_any_bytes_are_fields_or_one_of_our_errors(block: bytes) -> None:
    """And what we take, hpack takes, and reads the same."""
    try:
        section = SectionDecoder().decode(block)
    except (ConnectionBreach, StreamBreach):
        return
    judge = reader()
    judge.max_allowed_table_size = judge.header_table_size = 0
    found = [(bytes(n).decode(), bytes(v).decode("latin-1")) for n, v in judge.decode(block, True)]
    ours = [(":status", str(section.status))] if section.status else []
    assert found == [*ours, *section.headers]


def test_an_answer_without_and_with_content_length() -> None:
    decoder = SectionDecoder()
    assert decoder.decode(OK) == (200, (), None)
    twice = literal("content-length", "5") * 2
    assert decoder.decode(OK + twice) == (200, (("content-length", "5"),) * 2, 5)
    assert decoder.decode(literal("x", "1")) == (None, (("x", "1"),), None)


MALFORMED = {
    "status twice": OK + OK,
    "status late": literal("x", "1") + OK,
    "pseudo-header of a request": OK + b"\x82",
    "unknown pseudo-header": OK + literal(":x", "1"),
    "status of two digits": literal(":status", "99"),
    "status below 100": literal(":status", "099"),
    "status with a sign": literal(":status", "+20"),
    "status with a blank": literal(":status", " 200"),
    "status of other digits": literal(":status", "2\xb20"),
    "status empty": literal(":status", ""),
    "upper case": OK + literal("X-Upper", "1"),
    "name empty": OK + literal("", "1"),
    "blank in a name": OK + literal("a b", "1"),
    "colon in a name": OK + literal("a:", "1"),
    "name not ASCII": OK + literal("\xe9", "1"),
    "line break in a value": OK + literal("x", "a\r\nb"),
    "NUL in a value": OK + literal("x", "a\0b"),
    "blank before a value": OK + literal("x", " a"),
    "tab behind a value": OK + literal("x", "a\t"),
    "connection": OK + literal("connection", "close"),
    "keep-alive": OK + literal("keep-alive", "1"),
    "proxy-connection": OK + literal("proxy-connection", "close"),
    "transfer-encoding": OK + literal("transfer-encoding", "chunked"),
    "upgrade": OK + literal("upgrade", "h2c"),
    "te": OK + literal("te", "trailers"),
    "two lengths": OK + literal("content-length", "5") + literal("content-length", "6"),
    "list of lengths": OK + literal("content-length", "5, 5"),
    "negative length": OK + literal("content-length", "-1"),
    "length in hexadecimal": OK + literal("content-length", "0x5"),
    "length empty": OK + literal("content-length", ""),
    "length of 30 digits": OK + literal("content-length", "1" * 30),
}


@pytest.mark.parametrize("block", MALFORMED.values(), ids=MALFORMED)
def test_fields_that_no_answer_may_have(block: bytes) -> None:
    with pytest.raises(StreamBreach) as caught:
        SectionDecoder().decode(block)
    assert caught.value.code == ErrorCode.PROTOCOL_ERROR


UNDECODABLE = {
    "index 0": b"\x80",
    "first index of the dynamic table": b"\xbe",
    "name of the dynamic table": b"\x7e\x011",
    "index far out": b"\xff\xff\xff\x0f",
    "number that never ends": b"\xff" + b"\x80" * 20,
    "number cut": b"\xff\x80",
    "literal cut before its name": b"\0",
    "literal cut in its name": b"\0\x05abc",
    "literal cut before its value": b"\0\x01a",
    "literal cut in its value": b"\0\x01a\x05b",
    "table size above 0": b"\x3f\xe1\x1f" + OK,
    "table size after a field": OK + b"\x20",
    "Huffman code with its end in it": b"\0\x01a\x84\xff\xff\xff\xff",
    "Huffman code padded with zeros": b"\0\x01a\x81\x00",
    "Huffman code padded with a byte": b"\0\x01a\x82\x1f\xff",
}


@pytest.mark.parametrize("block", UNDECODABLE.values(), ids=UNDECODABLE)
def test_bytes_that_are_no_header_block(block: bytes) -> None:
    with pytest.raises(ConnectionBreach) as caught:
        SectionDecoder().decode(block)
    assert caught.value.code == ErrorCode.COMPRESSION_ERROR


def test_a_field_for_the_table_is_read_and_not_kept() -> None:
    decoder = SectionDecoder()
    section = decoder.decode(b"\x20" + OK + b"\x40\x01a\x01b")
    assert section.headers == (("a", "b"),)
    with pytest.raises(ConnectionBreach):
        decoder.decode(OK + b"\xbe")


def test_more_fields_than_allowed() -> None:
    with pytest.raises(StreamBreach) as caught:
        SectionDecoder().decode(OK + literal("a", "") * 2000)
    assert caught.value.code == ErrorCode.ENHANCE_YOUR_CALM


def test_what_is_remembered_of_answers_is_bounded_and_not_private() -> None:
    decoder = SectionDecoder()
    for number in range(1000):
        decoder.decode(OK + literal("x", str(number)))
    known = dict(decoder._known)
    assert len(known) == 64
    private = literal("x-session-token", "st_S3CRET")
    decoder.decode(OK + b"\x10" + private[1:])
    decoder.decode(OK + literal("x", "y" * 120) * 8)
    assert decoder._known == known
