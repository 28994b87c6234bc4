"""What quicSQL can do, for SQLAlchemy's own test suite.

Each name is a capability of `sqlalchemy.testing.requirements`; what is not named here keeps the
suite's default.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy.testing import exclusions
from sqlalchemy.testing.requirements import SuiteRequirements

__all__ = ["Requirements"]

_OFFERED = (
    "autocommit",
    "boolean_col_expressions",
    "check_constraint_reflection",
    "computed_columns",
    "computed_columns_reflect_persisted",
    "computed_columns_stored",
    "computed_columns_virtual",
    "create_table_as",
    "create_temp_table_as",
    "ctes",
    "ctes_on_dml",
    "ctes_with_values",
    "date_historic",
    "datetime_historic",
    "datetime_literals",
    "dbapi_lastrowid",
    "deferrable_fks",
    "except_",
    "expression_server_defaults",
    "fk_constraint_option_reflection_ondelete_noaction",
    "fk_constraint_option_reflection_ondelete_restrict",
    "fk_constraint_option_reflection_onupdate_restrict",
    "float_or_double_precision_behaves_generically",
    "foreign_key_constraint_option_reflection_ondelete",
    "foreign_key_constraint_option_reflection_onupdate",
    "foreign_key_constraint_reflection",
    "foreign_keys",
    "has_temp_table",
    "index_ddl_if_exists",
    "index_reflection",
    "indexes_with_expressions",
    "inline_check_constraint_reflection",
    "intersect",
    "isolation_level",
    "json_type",
    "mod_operator_as_percent_sign",
    "non_updating_cascade",
    "nullsordering",
    "primary_key_constraint_reflection",
    "reflect_table_options",
    "reflects_pk_names",
    "repeated_column_foreign_keys",
    "savepoints",
    "selectone",
    "server_defaults",
    "skip_autocommit_rollback",
    "supports_bitwise_and",
    "supports_bitwise_not",
    "supports_bitwise_or",
    "supports_bitwise_shift",
    "table_ddl_if_exists",
    "temp_table_names",
    "temp_table_reflect_indexes",
    "temp_table_reflection",
    "temporary_tables",
    "temporary_views",
    "timestamp_microseconds",
    "tuple_in",
    "unbounded_varchar",
    "unicode_ddl",
    "unique_constraint_reflection",
    "update_from",
    "views",
    "window_functions",
    "window_range",
)

_NOT_OFFERED = (
    "implicitly_named_constraints",  # a constraint without a name has none
    "parens_in_union_contained_select_w_limit_offset",  # (SELECT ...) UNION is no SQLite
    "parens_in_union_contained_select_wo_limit_offset",
    "schema_reflection",
    "schemas",  # ATTACH is refused unless the server's policy allows it
)


class Requirements(SuiteRequirements):
    """SQLite's capabilities behind a quicSQL server; no attached schemas."""

    @property
    def async_dialect(self) -> Any:
        """There is an asynchronous dialect."""
        return exclusions.open()  # type: ignore[no-untyped-call]


def _capability(name: str, is_offered: bool) -> property:
    def capability(self: Requirements) -> Any:
        rule = exclusions.open if is_offered else exclusions.closed
        return rule()  # type: ignore[no-untyped-call]

    return property(capability, doc=f"{'Offered' if is_offered else 'Not offered'}: {name}.")


for _name in (*_OFFERED, *_NOT_OFFERED):
    setattr(Requirements, _name, _capability(_name, _name in _OFFERED))
