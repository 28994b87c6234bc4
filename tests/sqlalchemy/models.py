"""Tables for the tests of both dialects."""

from __future__ import annotations

import datetime
import decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


class Base(DeclarativeBase):
    """The tables' registry."""


class User(Base):
    """One column of each storage type that SQLAlchemy has for SQLite."""

    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(sa.String(50), unique=True)
    is_active: Mapped[bool] = mapped_column(default=True)
    born: Mapped[datetime.date | None]
    seen: Mapped[datetime.datetime | None]
    wakes: Mapped[datetime.time | None]
    balance: Mapped[decimal.Decimal | None] = mapped_column(sa.Numeric(10, 2))
    details: Mapped[dict[str, Any] | None] = mapped_column(sa.JSON)
    picture: Mapped[bytes | None]
    weight: Mapped[float | None]
    posts: Mapped[list[Post]] = relationship(back_populates="author", order_by="Post.id")


class Post(Base):
    """Something that refers to a user."""

    __tablename__ = "posts"

    id: Mapped[int] = mapped_column(primary_key=True)
    author_id: Mapped[int] = mapped_column(sa.ForeignKey("users.id", ondelete="CASCADE"))
    title: Mapped[str] = mapped_column(index=True)
    author: Mapped[User] = relationship(back_populates="posts")


FULL: dict[str, Any] = {
    "name": "ada",
    "born": datetime.date(1815, 12, 10),
    "seen": datetime.datetime(2024, 1, 2, 3, 4, 5, 678900),
    "wakes": datetime.time(6, 30),
    "balance": decimal.Decimal("12.34"),
    "details": {"tags": ["x", None, 1.5]},
    "picture": b"\x00\xff",
    "weight": 60.0,
}
