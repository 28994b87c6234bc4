# make demo   the guide "mTLS in production", from two CAs to the kill switch
# make test   every check and test
# Both make .venv when there is none and install what they need.

PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test check sync machine sqlalchemy-suite clean

demo: .venv/ready
	$(BIN)/python examples/mtls_in_production.py

test: check
	$(BIN)/python -m pytest -q

check: .venv/ready
	$(BIN)/python -m tools.check

machine: .venv/ready
	QUICSQL_MACHINE_EXAMPLES=2000 $(BIN)/python -m pytest -q tests/dbapi/test_machine.py

sqlalchemy-suite: .venv/ready
	$(BIN)/python tools/sqlalchemy_suite.py

sync: .venv/ready
	$(BIN)/python tools/async_to_sync.py

.venv/ready: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --editable ".[all]" --group dev
	touch $@

clean:
	rm -rf .venv build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
