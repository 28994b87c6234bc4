"""The log: one record a line, whatever the values hold."""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Iterator

import pytest

from quicsql_client.server.logs import LOGGER_NAME, configure_logging, escaped, fields

HOSTILE = "a\nERROR forged\r\x1b[31m\u2028\u202eb\x00\x85"


@pytest.fixture(autouse=True)
def untouched_logging() -> Iterator[None]:
    logger = logging.getLogger(LOGGER_NAME)
    before = logger.handlers[:], logger.level, logger.propagate
    yield
    logger.handlers[:], logger.level, logger.propagate = before


def logged(log_format: str, *, fail: bool = False) -> str:
    stream = io.StringIO()
    configure_logging(log_format, stream)
    configure_logging(log_format, stream)  # twice is as once
    logger = logging.getLogger(LOGGER_NAME)
    logger.debug("not shown")
    if not fail:
        logger.warning("value %s", HOSTILE)
        return stream.getvalue()
    try:
        raise ValueError(HOSTILE)
    except ValueError:
        logger.exception("failed")
    return stream.getvalue()


def test_text_is_one_line_with_values_escaped() -> None:
    line = logged("text")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ WARNING value a.*b.*\n", line)
    assert all(c.isprintable() for c in line[:-1])
    assert "\\n" in line
    assert "\\x1b" in line


def test_a_traceback_follows_behind_bars() -> None:
    first, *trace = logged("text", fail=True).splitlines()
    assert first.endswith("ERROR failed")
    assert trace
    assert all(line.startswith("    | ") and line.isprintable() for line in trace)
    assert not any(line.startswith("ERROR forged") for line in trace)


@pytest.mark.parametrize("fail", [False, True])
def test_json_is_one_object_a_line(fail: bool) -> None:
    (line,) = logged("json", fail=fail).splitlines()
    entry = json.loads(line)
    assert entry["level"] == ("ERROR" if fail else "WARNING")
    assert entry["msg"] == ("failed" if fail else f"value {HOSTILE}")
    assert ("ValueError" in entry.get("error", "")) == fail


def test_escaping_leaves_ordinary_text_alone() -> None:
    assert escaped("h2 at 127.0.0.1:7777 \u00e9\u4e2d") == "h2 at 127.0.0.1:7777 \u00e9\u4e2d"


TOLD = fields(slow=True, n=2.5, db="app", sql=f"SELECT {HOSTILE}", empty="", quoted='a"b=c')


def test_fields_are_words_of_the_text() -> None:
    stream = io.StringIO()
    configure_logging("text", stream)
    logging.getLogger(LOGGER_NAME).warning("slow statement", extra=TOLD)
    (line,) = stream.getvalue().splitlines()
    message, _, rest = line.partition(" slow=")
    assert message.endswith(" WARNING slow statement")
    assert line.isprintable()
    assert rest.startswith('true n=2.5 db=app sql="SELECT a\\nERROR forged')
    assert rest.endswith(' empty="" quoted="a\\"b=c"')


def test_fields_are_members_of_the_json() -> None:
    stream = io.StringIO()
    configure_logging("json", stream)
    logging.getLogger(LOGGER_NAME).warning("slow statement", extra=TOLD)
    (line,) = stream.getvalue().splitlines()
    entry = json.loads(line)
    assert list(entry)[:3] == ["time", "level", "msg"]
    assert entry["slow"] is True
    assert entry["n"] == 2.5
    assert entry["sql"] == f"SELECT {HOSTILE}"
