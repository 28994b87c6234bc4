"""The public-domain DB-API 2.0 compliance suite, against the reference server over mTLS."""

from __future__ import annotations

import dbapi20  # type: ignore[import-untyped]
import pytest

import quicsql_dbapi
from quicsql_client import Client


class TestDatabaseAPI20(dbapi20.DatabaseAPI20Test):  # type: ignore[misc]
    """Binds the suite to our module; what it leaves to drivers is answered below."""

    driver = quicsql_dbapi

    @pytest.fixture(autouse=True)
    def _connect_arguments(self, quicsql_client: Client, quicsql_db: str) -> None:
        self.connect_kw_args = {"client": quicsql_client, "db": quicsql_db}

    def test_non_idempotent_close(self) -> None:
        """The suite calls it disputed; we follow `sqlite3`, where closing twice does nothing."""
        connection = self._connect()
        connection.close()
        connection.close()
        with pytest.raises(quicsql_dbapi.ProgrammingError):
            connection.commit()

    def test_nextset(self) -> None:
        """One statement has one result set, so the optional method is not there."""
        assert not hasattr(quicsql_dbapi.Cursor, "nextset")

    def test_setoutputsize(self) -> None:
        """Cells come whole whatever is asked for."""
        cursor = self._connect().cursor()
        cursor.setoutputsize(1)
        cursor.execute("SELECT 'whole'")
        assert cursor.fetchone() == ("whole",)
        cursor.connection.rollback()
