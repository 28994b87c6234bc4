"""Plugins of fixtures, one per subject, and what holds for every property test."""

from hypothesis import HealthCheck, settings

# Machines are shared and noisy: how long an example takes says nothing about the code.
settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")

# A pytest run of its own, as SQLAlchemy's plugin takes collection over: tools/sqlalchemy_suite.py.
collect_ignore = ["sqlalchemy_suite"]

pytest_plugins: list[str] = [
    "tests.fix_peers",
    "tests.fix_quic_peers",
    "tests.fix_config",
    "tests.fix_engine",
    "tests.fix_application",
    "tests.fix_enrolment",
    "tests.fix_admin",
    "tests.fix_server",
    "tests.fix_server_process",
]
