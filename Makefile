# make demo   the guide "mTLS in production", from two CAs to the kill switch
# make test   every check and test
# make soak   300 connections for a minute: is every row right, and does nothing grow? (SECONDS=600 for longer)
# make kill   SIGKILL under write load, 20 times: is every acknowledged commit there? (ROUNDS=200 for more)
# make h2spec HTTP/2 conformance of the server (needs h2spec, or Go to build it)
# make sqlalchemy-suite   SQLAlchemy's own dialect suite, sync and async
# Each makes .venv when there is none and installs what it needs.

PYTHON ?= python3
BIN := .venv/bin

SECONDS := 60
ROUNDS := 20

.PHONY: demo test check sync machine sqlalchemy-suite soak kill h2spec clean

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

soak: .venv/ready
	$(BIN)/python -m tests.reliability.soak --seconds $(SECONDS)

kill: .venv/ready
	$(BIN)/python -m tests.reliability.kill --rounds $(ROUNDS)

h2spec: .venv/ready
	$(BIN)/python -m tools.h2spec

.venv/ready: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --editable ".[all]" --group dev
	touch $@

clean:
	rm -rf .venv .h2spec build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
