"""Rendering of times in columns declared as such."""

from __future__ import annotations

import pytest

from quicsql_client.server.engine.times import is_time_type, render_time


@pytest.mark.parametrize(
    ("text", "rendered"),
    [
        ("2024-01-02 03:04:05", "2024-01-02T03:04:05Z"),
        ("2024-01-02T03:04:05", "2024-01-02T03:04:05Z"),
        ("2024-01-02T03:04:05Z", "2024-01-02T03:04:05Z"),
        ("2024-01-02", "2024-01-02T00:00:00Z"),
        ("2024-01-02 03:04", "2024-01-02T03:04:00Z"),
        ("2024-01-02 03:04:05.120", "2024-01-02T03:04:05.12Z"),
        ("2024-01-02 03:04:05.000", "2024-01-02T03:04:05Z"),
        ("2024-01-02 03:04:05.123456789", "2024-01-02T03:04:05.123456789Z"),
        ("2024-01-02T03:04:05+02:00", "2024-01-02T03:04:05+02:00"),
        ("2024-01-02 03:04:05.5-07:30", "2024-01-02T03:04:05.5-07:30"),
        ("2024-01-02T03:04:05+00:00", "2024-01-02T03:04:05Z"),
        ("2024-01-02 03:04:05 +0000 UTC", "2024-01-02T03:04:05Z"),
        ("2024-01-02 03:04:05.5 +0200 CEST", "2024-01-02T03:04:05.5+02:00"),
        ("2024-02-30", "2024-02-30"),
        ("2024-01-02 25:00", "2024-01-02 25:00"),
        ("0000-01-01", "0000-01-01"),
        ("yesterday", "yesterday"),
        (" 2024-01-02", " 2024-01-02"),
        ("2024-1-2", "2024-1-2"),
        ("", ""),
        ("٢٠٢٤-01-02", "٢٠٢٤-01-02"),
    ],
)
def test_render_time(text: str, rendered: str) -> None:
    assert render_time(text) == rendered


@pytest.mark.parametrize(
    ("decltype", "expected"),
    [
        ("DATE", True),
        ("datetime", True),
        ("Timestamp", True),
        ("DATETIME(3)", False),
        ("TIME", False),
        ("TEXT", False),
        (None, False),
    ],
)
def test_is_time_type(decltype: str | None, expected: bool) -> None:
    assert is_time_type(decltype) is expected
