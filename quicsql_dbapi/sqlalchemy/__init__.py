"""SQLAlchemy dialects for quicSQL; `create_engine` finds them by their entry points.

sqlalchemy.create_engine("quicsql://db.example.com:7777/app?sslrootcert=ca.crt&...")
sqlalchemy.ext.asyncio.create_async_engine("quicsql+aio://db.example.com:7777/app?...")
sqlalchemy.create_engine("quicsql://", connect_args={"client": client, "db": "app"})
"""
