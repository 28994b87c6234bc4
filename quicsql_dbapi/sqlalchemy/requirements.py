"""What quicSQL can do, for SQLAlchemy's own test suite.

Each name is a capability of `sqlalchemy.testing.requirements`; what is not named here keeps the
suite's default.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy.testing import exclusions
from sqlalchemy.testing.requirements import SuiteRequirements

from .provision import SCHEMA_FILE

__all__ = ["Requirements"]

_OFFERED = (
    *(("schemas", "schema_reflection") if SCHEMA_FILE else ()),
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
    "emulated_lastrowid",
    "emulated_lastrowid_even_with_sequences",
    "except_",
    "expression_server_defaults",
    "fetch_expression",
    "fetch_offset_with_options",
    "fk_constraint_option_reflection_ondelete_noaction",
    "fk_constraint_option_reflection_ondelete_restrict",
    "fk_constraint_option_reflection_onupdate_restrict",
    "float_or_double_precision_behaves_generically",
    "foreign_key_constraint_name_reflection",
    "foreign_key_constraint_option_reflection_ondelete",
    "foreign_key_constraint_option_reflection_onupdate",
    "foreign_key_constraint_reflection",
    "foreign_keys",
    "has_temp_table",
    "index_ddl_if_exists",
    "index_reflection",
    "indexes_check_column_order",
    "indexes_with_expressions",
    "inline_check_constraint_reflection",
    "intersect",
    "isolation_level",
    "json_type",
    "legacy_unconditional_json_extract",
    "mod_operator_as_percent_sign",
    "non_updating_cascade",
    "nullsordering",
    "nvarchar_types",
    "order_by_collation",
    "order_by_label_with_expression",
    "percent_schema_names",
    "precision_numerics_enotation_small",
    "precision_numerics_retains_significant_digits",
    "primary_key_constraint_reflection",
    "reflect_table_options",
    "reflects_pk_names",
    "regexp_match",
    "repeated_column_foreign_keys",
    "repeated_remote_col_foreign_keys",
    "savepoints",
    "selectone",
    "server_defaults",
    "skip_autocommit_rollback",
    "supports_bitwise_and",
    "supports_bitwise_not",
    "supports_bitwise_or",
    "supports_bitwise_shift",
    "supports_bitwise_xor",
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
    "window_range_numeric",
)

_NOT_OFFERED = {
    **(
        {}
        if SCHEMA_FILE
        else dict.fromkeys(
            ("schemas", "schema_reflection"),
            "the server's policy refuses ATTACH, which is what schemas are in SQLite",
        )
    ),
    "schema_create_delete": "SQLite has no CREATE SCHEMA",
    "cross_schema_fk_reflection": "SQLite has no foreign keys between attached databases",
    **dict.fromkeys(
        (
            "comment_reflection",
            "comment_reflection_full_unicode",
            "temp_table_comment_reflection",
        ),
        "SQLite keeps no comments of tables and columns",
    ),
    **dict.fromkeys(
        ("fetch_first", "fetch_no_order_by", "fetch_percent", "fetch_ties"),
        "SQLite has LIMIT and OFFSET, not FETCH",
    ),
    **dict.fromkeys(
        (
            "parens_in_union_contained_select_w_limit_offset",
            "parens_in_union_contained_select_wo_limit_offset",
        ),
        "SQLite takes no parentheses around the parts of a compound SELECT",
    ),
    "column_collation_reflection": "SQLite tells no collation of a column",
    "create_or_replace_view": "SQLite has no CREATE OR REPLACE",
    "delete_from": "SQLite has no DELETE with USING or FROM",
    "ctes_with_update_delete": "SQLite has no UPDATE or DELETE inside WITH",
    "identity_columns": "SQLite has no identity columns",
    "implicitly_named_constraints": "SQLite gives a constraint without a name none",
    "index_reflects_included_columns": "SQLite has no included columns in indexes",
    "infinity_floats": "an infinite REAL is null in the server's JSON, as upstream has it",
    "materialized_views": "SQLite has no materialized views",
    "precision_numerics_many_significant_digits": "SQLite keeps a NUMERIC as REAL, 15 digits",
    "regexp_replace": "SQLite has no regexp_replace",
    "uuid_data_type": "SQLite has no type for UUIDs of its own",
    "window_range_non_numeric": "SQLite has RANGE windows over numbers only",
}
"""Why each of these is not offered."""


class Requirements(SuiteRequirements):
    """SQLite's capabilities behind a quicSQL server; schemas where one can be attached."""

    @property
    def async_dialect(self) -> Any:
        """There is an asynchronous dialect."""
        return exclusions.open()  # type: ignore[no-untyped-call]

    def get_order_by_collation(self, config: Any) -> str:
        """A collation that orders the suite's words as it expects."""
        return "nocase"


def _offered(name: str) -> property:
    def capability(self: Requirements) -> Any:
        return exclusions.open()  # type: ignore[no-untyped-call]

    return property(capability, doc=f"Offered: {name}.")


def _not_offered(name: str, reason: str) -> property:
    def capability(self: Requirements) -> Any:
        return exclusions.skip_if(lambda config: True, reason)  # type: ignore[no-untyped-call]

    return property(capability, doc=f"Not offered: {name}: {reason}.")


for _name in _OFFERED:
    setattr(Requirements, _name, _offered(_name))
for _name, _reason in _NOT_OFFERED.items():
    setattr(Requirements, _name, _not_offered(_name, _reason))
