"""For tests of programs that use quicSQL: a reference server with mutual TLS, and its certificates.

The pytest plugin (`quicsql_client.testing.plugin`, loaded by its entry point) gives the fixtures
`quicsql_pki`, `quicsql_server`, `quicsql_db` and `quicsql_client`. The same objects without pytest:
`quicsql_client.testing.pki.EphemeralPKI` and `quicsql_client.testing.reference.ReferenceServer`.
Nothing heavy is imported before it is used. Needs the extra `server`.
"""
