# make demo   the guide "mTLS in production", from two CAs to the kill switch
# make test   every check and test
# make h2spec HTTP/2 conformance of the server (needs h2spec, or Go to build it)
# Each makes .venv when there is none and installs what it needs.

PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test check sync h2spec clean

demo: .venv/ready
	$(BIN)/python examples/mtls_in_production.py

test: check
	$(BIN)/python -m pytest -q

check: .venv/ready
	$(BIN)/python -m tools.check

sync: .venv/ready
	$(BIN)/python tools/async_to_sync.py

h2spec: .venv/ready
	$(BIN)/python -m tools.h2spec

.venv/ready: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --editable ".[all]" --group dev
	touch $@

clean:
	rm -rf .venv .h2spec build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
