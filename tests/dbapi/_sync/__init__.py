# Made from tests/dbapi/_async/__init__.py
# by tools/async_to_sync.py: do not edit, change the source.
