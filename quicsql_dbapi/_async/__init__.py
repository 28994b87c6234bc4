"""The asynchronous connection and cursor; the synchronous ones are made from them."""
