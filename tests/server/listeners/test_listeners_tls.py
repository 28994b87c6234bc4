"""TLS on a listener: alerts that arrive, client identities, versions, ALPN, swapped contexts.

Odd-cases 100, 102, 135, 168.
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import ssl
import warnings
from pathlib import Path

import pytest
import trustme
from h2.events import ConnectionTerminated

from quicsql_client.errors import ConfigurationError
from quicsql_client.server.listeners import ClientAuth, HTTPTimeouts, Listener

from .applications import Gate
from .certificates import PKI
from .clients import HTTP2Client, connect, hang_up, read_answer, talk
from .conftest import Open

GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
CLOSE = b"\r\nConnection: close\r\n\r\n"
ROUNDS = 20  # an alert that loses a race does not lose every time


def blocking_failure(address: str, context: ssl.SSLContext) -> str:
    """What a plain blocking client learns: it writes first, as HTTP clients do, then reads."""
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=5) as raw:
        try:
            with context.wrap_socket(raw, server_hostname="localhost") as tls:
                tls.sendall(GET + b"x" * 50_000)
                return f"answered: {tls.recv(100)!r}"
        except ssl.SSLError as error:
            return error.reason or str(error)


async def failures(listener: Listener, context: ssl.SSLContext) -> set[str]:
    return {
        await asyncio.to_thread(blocking_failure, listener.address, context) for _ in range(ROUNDS)
    }


@pytest.mark.parametrize("maximum", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_alert_no_certificate(open_one: Open, pki: PKI, maximum: ssl.TLSVersion) -> None:
    listener = await open_one(transport="h2", context=pki.context(ClientAuth.REQUIRED))
    reasons = await failures(listener, pki.client(maximum=maximum))
    is_new = maximum is ssl.TLSVersion.TLSv1_3
    assert reasons == {
        "TLSV13_ALERT_CERTIFICATE_REQUIRED" if is_new else "SSLV3_ALERT_HANDSHAKE_FAILURE"
    }


@pytest.mark.parametrize("auth", [ClientAuth.REQUIRED, ClientAuth.OPTIONAL])
async def test_alert_foreign_ca(open_one: Open, pki: PKI, auth: ClientAuth) -> None:
    listener = await open_one(transport="h2", context=pki.context(auth))
    foreign = pki.foreign_ca.issue_cert(common_name="analyst")
    assert await failures(listener, pki.client(foreign)) == {"TLSV1_ALERT_UNKNOWN_CA"}


async def test_alert_wrong_extended_key_usage(open_one: Open, pki: PKI) -> None:
    """Odd-case 168, with OpenSSL's word for it."""
    listener = await open_one(transport="h2", context=pki.context(ClientAuth.REQUIRED))
    reasons = await failures(listener, pki.client(pki.server_only_leaf()))
    assert reasons == {"SSLV3_ALERT_UNSUPPORTED_CERTIFICATE"}


async def test_alert_version_too_old(open_one: Open, pki: PKI) -> None:
    listener = await open_one(transport="h2", context=pki.context(min_version="1.3"))
    reasons = await failures(listener, pki.client(maximum=ssl.TLSVersion.TLSv1_2))
    assert reasons == {"TLSV1_ALERT_PROTOCOL_VERSION"}


async def test_alert_no_common_application_protocol(open_one: Open, pki: PKI) -> None:
    listener = await open_one(transport="h2", context=pki.context())
    reasons = await failures(listener, pki.client(alpn=("spdy/3", "smtp")))
    assert len(reasons) == 1
    assert "alert no application protocol" in reasons.pop()


async def test_alert_tls11(open_one: Open, pki: PKI) -> None:
    listener = await open_one(transport="h2", context=pki.context())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of ssl, about what is tested
        context = pki.client(maximum=ssl.TLSVersion.TLSv1_1)
        context.minimum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")  # OpenSSL offers the old version only so
    assert await failures(listener, context) == {"TLSV1_ALERT_PROTOCOL_VERSION"}


async def test_http11_is_spoken_without_alpn(open_one: Open, pki: PKI) -> None:
    listener = await open_one(transport="h2", context=pki.context())
    answer = await talk(listener.address, GET.replace(b"\r\n\r\n", CLOSE), pki.client())
    assert answer.startswith(b"HTTP/1.1 200 ")


async def test_tls12_is_served_by_default(open_one: Open, pki: PKI) -> None:
    listener = await open_one(transport="h2", context=pki.context(ClientAuth.OPTIONAL))
    context = pki.client(
        pki.client_ca.issue_cert(common_name="analyst"), maximum=ssl.TLSVersion.TLSv1_2
    )
    reader, writer = await connect(listener.address, context)
    writer.write(GET)
    seen = json.loads((await read_answer(reader))[2])
    assert seen["extensions"]["tls"]["tls_version"] == 0x0303
    assert "CN=analyst" in seen["extensions"]["tls"]["client_cert_name"]
    await hang_up(writer)


async def test_failed_handshake_is_logged(
    open_one: Open, pki: PKI, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "quicsql.server")
    listener = await open_one(
        transport="h2", context=pki.context(ClientAuth.REQUIRED), name="front"
    )
    await asyncio.to_thread(blocking_failure, listener.address, pki.client())
    records = [record for record in caplog.records if record.levelno == logging.INFO]
    assert any(
        "listener front" in record.getMessage()
        and "127.0.0.1" in record.getMessage()
        and "peer did not return a certificate" in record.getMessage()
        for record in records
    )


async def test_plain_http_on_a_tls_port(open_one: Open, pki: PKI) -> None:
    listener = await open_one(transport="h2", context=pki.context(ClientAuth.REQUIRED))
    for _ in range(ROUNDS):
        answer = await talk(listener.address, GET + b"x" * 100_000)
        assert answer == (
            b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"
        )


@pytest.mark.parametrize("garbage", [b"\x00" * 300, b"\x16\x03\x01\xff\xff" + b"\x01" * 20000])
async def test_garbage_instead_of_a_handshake(open_one: Open, pki: PKI, garbage: bytes) -> None:
    listener = await open_one(transport="h2", context=pki.context())
    answer = await talk(listener.address, garbage)
    assert b"HTTP" not in answer  # an alert at most
    assert len(answer) <= 7


async def test_handshake_timeout(open_one: Open, pki: PKI) -> None:
    listener = await open_one(
        transport="h2", context=pki.context(), timeouts=HTTPTimeouts(handshake_s=0.2)
    )
    reader, writer = await connect(listener.address)
    writer.write(b"\x16\x03\x01\x00\xff\x01")
    async with asyncio.timeout(5):
        assert await reader.read(-1) == b""
    await hang_up(writer)


@pytest.mark.parametrize("alpn", ["h2", "http/1.1"])
async def test_identity_is_in_every_scope(open_one: Open, pki: PKI, alpn: str) -> None:
    scopes = []

    async def app(scope, receive, send):  # type: ignore[no-untyped-def]
        scopes.append(scope)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"x"})

    listener = await open_one(app, "h2", context=pki.context(ClientAuth.REQUIRED))
    leaf = pki.client_ca.issue_cert(common_name="analyst")
    await _ask_twice(listener, pki.client(leaf, alpn=(alpn,)), alpn)
    assert [scope["http_version"] for scope in scopes] == ["2" if alpn == "h2" else "1.1"] * 2
    first, second = (scope["extensions"]["tls"] for scope in scopes)
    sent = leaf.cert_chain_pems[0].bytes()
    assert ssl.PEM_cert_to_DER_cert(first["client_cert_chain"][0]) == ssl.PEM_cert_to_DER_cert(
        sent.decode()
    )
    assert first["client_cert_chain"] is second["client_cert_chain"]
    assert "CN=analyst" in first["client_cert_name"].split(",")
    assert (first["tls_version"], first["client_cert_error"]) == (0x0304, None)
    assert scopes[0]["scheme"] == "https"


async def _ask_twice(listener: Listener, context: ssl.SSLContext, alpn: str) -> None:
    if alpn == "h2":
        client = await HTTP2Client.open(listener.address, context)
        for _ in range(2):
            assert (await client.answer(client.request()))[0] == 200
        await client.close()
        return
    reader, writer = await connect(listener.address, context)
    for _ in range(2):
        writer.write(GET)
        assert (await read_answer(reader))[0] == 200
    await hang_up(writer)


async def test_optional_without_certificate(open_one: Open, pki: PKI) -> None:
    listener = await open_one(transport="h2", context=pki.context(ClientAuth.OPTIONAL))
    client = await HTTP2Client.open(listener.address, pki.client(alpn=("h2",)))
    seen = json.loads((await client.answer(client.request()))[2])
    assert seen["extensions"]["tls"]["client_cert_chain"] == []
    assert seen["extensions"]["tls"]["client_cert_name"] is None
    await client.close()


async def test_certificate_is_not_asked_for_without_client_auth(open_one: Open, pki: PKI) -> None:
    listener = await open_one(transport="h2", context=pki.context(ClientAuth.NONE))
    foreign = pki.foreign_ca.issue_cert(common_name="analyst")
    client = await HTTP2Client.open(listener.address, pki.client(foreign, alpn=("h2",)))
    seen = json.loads((await client.answer(client.request()))[2])
    assert seen["extensions"]["tls"]["client_cert_chain"] == []
    await client.close()


async def test_no_session_is_resumed_where_certificates_are_asked_for(
    open_one: Open, pki: PKI
) -> None:
    listener = await open_one(transport="h2", context=pki.context(ClientAuth.REQUIRED))
    context = pki.client(pki.client_ca.issue_cert(common_name="analyst"))

    def ask(session: ssl.SSLSession | None) -> tuple[ssl.SSLSession | None, bool | None]:
        host, _, port = listener.address.rpartition(":")
        raw = socket.create_connection((host, int(port)), timeout=5)
        with raw, context.wrap_socket(raw, server_hostname="localhost", session=session) as tls:
            tls.sendall(GET)
            assert tls.recv(1000).startswith(b"HTTP/1.1 200")
            return tls.session, tls.session_reused

    session, _ = await asyncio.to_thread(ask, None)
    assert session is None or not session.has_ticket
    assert (await asyncio.to_thread(ask, None))[1] is False


async def test_replaced_context_is_for_new_handshakes_only(open_one: Open, pki: PKI) -> None:
    pki.write_server_pair("renewed")
    listener = await open_one(transport="h2", context=pki.context())
    client = pki.client()
    old = await connect(listener.address, client)
    listener.replace_context(pki.context(pair="renewed"))
    new = await connect(listener.address, client)
    shown = []
    for reader, writer in (old, new):
        writer.write(GET)
        assert (await read_answer(reader))[0] == 200
        shown.append(writer.get_extra_info("ssl_object").getpeercert(True))
        await hang_up(writer)
    wanted = [pki.text(name) for name in ("server.pem", "renewed.pem")]
    assert shown == [ssl.PEM_cert_to_DER_cert(pem) for pem in wanted]


async def test_replaced_client_ca_shuts_the_old_identity_out(
    open_one: Open, pki: PKI, tmp_path: Path
) -> None:
    other = trustme.CA()
    other.cert_pem.write_to_path(tmp_path / "client-ca.pem")
    for name in ("server.pem", "server.key"):
        (tmp_path / name).write_text(pki.text(name))
    listener = await open_one(transport="h2", context=pki.context(ClientAuth.REQUIRED))
    context = pki.client(pki.client_ca.issue_cert(common_name="analyst"))
    reader, writer = await connect(listener.address, context)
    moved = PKI(tmp_path, pki.server_ca, other, pki.foreign_ca)
    listener.replace_context(moved.context(ClientAuth.REQUIRED))
    assert await failures(listener, context) == {"TLSV1_ALERT_UNKNOWN_CA"}
    writer.write(GET)  # what is open stays open
    assert (await read_answer(reader))[0] == 200
    await hang_up(writer)


async def test_replace_context_needs_tls(open_one: Open, pki: PKI) -> None:
    listener = await open_one(transport="h1")
    with pytest.raises(ConfigurationError, match="h1 has no TLS context"):
        listener.replace_context(pki.context())


async def test_big_bodies_over_tls_with_half_read_requests(open_one: Open, pki: PKI) -> None:
    listener = await open_one(transport="h2", context=pki.context())
    reader, writer = await connect(listener.address, pki.client())
    size = 3_000_000
    writer.write(b"POST / HTTP/1.1\r\nHost: l\r\nContent-Length: %d\r\n\r\n" % size + b"z" * size)
    assert json.loads((await read_answer(reader))[2])["length"] == size
    await hang_up(writer)


@pytest.mark.parametrize("tidy", [True, False], ids=["close_notify", "bare FIN"])
async def test_client_that_leaves_stops_the_application(
    open_one: Open, pki: PKI, tidy: bool
) -> None:
    gate = Gate()
    listener = await open_one(gate, "h2", context=pki.context())

    def ask_and_leave(entered: asyncio.Future[None]) -> None:
        host, _, port = listener.address.rpartition(":")
        raw = socket.create_connection((host, int(port)), timeout=5)
        with pki.client().wrap_socket(raw, server_hostname="localhost") as tls:
            tls.sendall(GET)
            asyncio.run_coroutine_threadsafe(gate.entered.wait(), loop).result(5)
            if tidy:
                tls.settimeout(0)
                with pytest.raises(ssl.SSLWantReadError):
                    tls.unwrap()
                tls.settimeout(5)
            else:
                tls.shutdown(socket.SHUT_WR)
            asyncio.run_coroutine_threadsafe(gate.cancelled.wait(), loop).result(5)

    loop = asyncio.get_running_loop()
    await asyncio.to_thread(ask_and_leave, loop.create_future())
    assert gate.messages == ["http.disconnect"]


async def test_http2_goaway_over_tls_arrives_before_the_end(open_one: Open, pki: PKI) -> None:
    listener = await open_one(transport="h2", context=pki.context())
    client = await HTTP2Client.open(listener.address, pki.client(alpn=("h2",)))
    assert (await client.answer(client.request()))[0] == 200
    assert await listener.drain(5) == 0
    goaway = await client.until(ConnectionTerminated)
    assert (goaway.error_code, goaway.last_stream_id) == (0, 1)
    await client.close()
