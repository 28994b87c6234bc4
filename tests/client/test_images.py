"""Database images that callers give."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from quicsql_client import ConfigurationError
from quicsql_client.images import read_image


def test_bytes_and_paths(tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    path.write_bytes(b"image")
    for image in (b"image", bytearray(b"image"), path, str(path)):
        assert read_image(image) == b"image"  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", ["/nowhere/app.db", "", "a\0b", "/", 5, None])
def test_what_is_no_image(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match="image"):
        read_image(wrong)
