"""An engine never shows the secrets of its URL, and keeps them."""

from __future__ import annotations

from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import create_async_engine

SECRETS = "token=tok-secret&sslpassword=key-secret"
URL = f"quicsql://h:1/app?transport=h2&{SECRETS}"


def test_a_shown_engine_has_no_secret() -> None:
    engine = create_engine(URL)
    asynchronous = create_async_engine(URL.replace("quicsql", "quicsql+aio", 1))
    for shown in (repr(engine), str(engine.url), repr(engine.url), repr(asynchronous.url)):
        assert "secret" not in shown
        assert "token=***" in shown
        assert "sslpassword=***" in shown


def test_the_secrets_are_kept_for_those_who_ask() -> None:
    url = create_engine(URL).url
    assert "tok-secret" in url.render_as_string(hide_password=False)
    assert url.set(host="other").query["token"] == "tok-secret"
    assert "secret" not in str(url.set(host="other"))
