# Made from quicsql_dbapi/_async/__init__.py
# by tools/async_to_sync.py: do not edit, change the source.
"""The synchronous connection and cursor; the synchronous ones are made from them."""
