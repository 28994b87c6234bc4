"""What is public is listed, documented and importable; nothing else is meant to be used."""

from __future__ import annotations

import importlib
import inspect

import pytest

MODULES = ("quicsql_client", "quicsql_client.errors", "quicsql_dbapi", "quicsql_client.pki")


@pytest.mark.parametrize("name", MODULES)
def test_all_names_exist_and_are_sorted_in_no_double(name: str) -> None:
    module = importlib.import_module(name)
    assert len(set(module.__all__)) == len(module.__all__)
    for public in module.__all__:
        assert hasattr(module, public), public


@pytest.mark.parametrize("name", MODULES)
def test_every_public_class_and_function_has_a_docstring(name: str) -> None:
    module = importlib.import_module(name)
    for public in module.__all__:
        value = getattr(module, public)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert inspect.getdoc(value), public


def test_one_error_tree() -> None:
    import quicsql_client
    import quicsql_dbapi

    for name in ("Error", "IntegrityError", "OperationalError", "ProgrammingError", "Warning"):
        assert getattr(quicsql_client, name) is getattr(quicsql_dbapi, name)
