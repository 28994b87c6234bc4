"""SQLAlchemy's ORM on quicSQL: the dialect is SQLite's, the way there is mutual TLS.

python examples/sqlalchemy_orm.py db.example.com:7777 server-ca.crt app.crt app.key
"""

from __future__ import annotations

import sys

from sqlalchemy import URL, ForeignKey, create_engine, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship


class Base(DeclarativeBase):
    pass


class Author(Base):
    __tablename__ = "author"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    books: Mapped[list[Book]] = relationship(back_populates="author")


class Book(Base):
    __tablename__ = "book"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
    author_id: Mapped[int] = mapped_column(ForeignKey("author.id"))
    author: Mapped[Author] = relationship(back_populates="books")


def main(address: str, root_ca: str, certificate: str, key: str) -> None:
    host, _, port = address.rpartition(":")
    query = {"transport": "h2", "sslrootcert": root_ca, "sslcert": certificate, "sslkey": key}
    engine = create_engine(
        URL.create("quicsql", host=host, port=int(port), database="app", query=query)
    )
    Base.metadata.create_all(engine)

    with Session(engine) as session, session.begin():
        session.add(Author(name="Ursula", books=[Book(title="The Dispossessed")]))

    with Session(engine) as session:
        author = session.scalars(select(Author)).one()
        with session.begin_nested() as savepoint:
            author.name = "somebody else"
            session.flush()
            savepoint.rollback()
        session.add(Book(title="The Lathe of Heaven", author=author))
        session.commit()

    with Session(engine) as session:
        for author in session.scalars(select(Author)):
            print(f"{author.name}: {', '.join(book.title for book in author.books)}")
    engine.dispose()


if __name__ == "__main__":
    main(*sys.argv[1:5])
