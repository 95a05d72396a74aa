#!/usr/bin/env bash
# SQLAlchemy raises an unreachable server as OSError, or, where it connects anew within a statement, as StatementError.
#
# Versions:  SQLAlchemy 2.1.9, Python 3.11 to 3.13.
# Input:     a server that refuses connections: when a connection is opened, and when the next statement is executed on one
#            that was invalidated, as after a disconnect.
# Expected:  the same error both times, or one that is an OSError or a DBAPIError: "except (OSError, DBAPIError)" has been
#            the way to tell an absent server from a mistake in a statement.
# Seen:      at first  ConnectionRefusedError (an OSError)
#            anew      StatementError, which is neither; the ConnectionRefusedError is its `orig`
#            Drivers whose errors for this are DBAPI errors, as psycopg's, do not show it. asyncpg raises OSError.
# Here:      kit/keel/data/database.py looks into a StatementError. Before, three writes in 290 got 500 in place of 503 while
#            the database was restarted under a load: those whose connection was closed, and whose second try found no server.
#
# Needs Python 3.11 to 3.13 (PYTHON=python3.12 names one) and a package index.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

"${PYTHON:-python3}" -m venv venv
cat > lock.txt <<'END'
sqlalchemy==2.1.9 \
    --hash=sha256:449fed5c2caa3b278cc57499d09db001fb3f28dc7f18affc48142aee4dcc0cdf
typing-extensions==4.16.0 \
    --hash=sha256:481caa481374e813c1b176ada14e97f1f67a4539ce9cfeb3f350d78d6370c2e8
END
venv/bin/python -m pip --disable-pip-version-check install --quiet --no-deps --require-hashes --only-binary=:all: \
  --platform any --implementation py --abi none --target libraries --requirement lock.txt

cat > anew.py <<'END'
import socket
import sqlite3

from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError


def connect():
    """A driver's connect, which reaches a server before it returns. What is asked does not matter."""
    socket.create_connection(server, timeout=5).close()
    return sqlite3.connect(":memory:")


def error(call):
    try:
        call()
    except Exception as raised:
        kind = isinstance(raised, (OSError, DBAPIError))
        return f"{type(raised).__name__} of {type(getattr(raised, 'orig', raised)).__name__}, caught: {kind}"
    return "none"


listener = socket.create_server(("127.0.0.1", 0))
server = listener.getsockname()
engine = create_engine("sqlite://", creator=connect)
connection = engine.connect()
connection.execute(text("SELECT 1"))
connection.invalidate()  # as SQLAlchemy does when a driver tells of a disconnect
connection.rollback()
listener.close()

print("anew:", error(lambda: connection.execute(text("SELECT 1"))))
print("at first:", error(lambda: create_engine("sqlite://", creator=connect).connect()))
END
PYTHONPATH=libraries venv/bin/python anew.py | tee seen

grep -qx "at first: ConnectionRefusedError of ConnectionRefusedError, caught: True" seen ||
  { echo "This is different now: the first connect raises another error." >&2; exit 1; }
grep -qx "anew: StatementError of ConnectionRefusedError, caught: False" seen ||
  { echo "This is different now: connecting anew raises another error." >&2; exit 1; }
