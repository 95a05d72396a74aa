#!/usr/bin/env bash
# A connect of asyncpg that is cancelled can leave an exception behind that nobody is given: asyncio reports it as an error.
#
# Versions:  asyncpg 0.32.0 on asyncio's own event loop, seen with Python 3.11.
# Input:     asyncpg.connect() to a server that accepts, as a task that is cancelled after some rounds of the event loop.
# Expected:  CancelledError for whoever waits, and nothing else, at whatever round it is.
# Seen:      in one or two of the first 40 rounds also "Future exception was never retrieved": ConnectionError("unexpected
#            connection_lost() call"). Without `ssl` the driver first asks for TLS, and the protocol that waits for the
#            answer has a future of its own. When the cancelling comes between its connection_made() and the return of
#            create_connection(), nobody awaits that future, and connection_lost() gives it an exception. 0.32.0 takes
#            care of the same case for the future that stands for the login. Not seen on uvloop.
# Here:      a connect has a time-out, which cancels. The app runs on uvloop; its tests do not, and fail for what a loop
#            reports: those with impatient time-outs connect with ssl=disable (tests/kit/test_faults.py).
#
# Needs Python 3.11 to 3.13 (PYTHON=python3.12 names one) and a package index.
set -euo pipefail

folder=$(mktemp -d)
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
END
venv/bin/python -m pip --disable-pip-version-check install --quiet --no-deps --require-hashes --only-binary=:all: --requirement lock.txt

cat > cancel.py <<'END'
import asyncio
import gc
import sys

import asyncpg


async def reported(rounds, **options):
    """What the event loop reports when a connect is cancelled after so many of its rounds."""
    reports = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reports.append(repr(context["exception"])))

    async def accept(reader, writer):
        await reader.read()  # until the driver has gone
        writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    connect = asyncio.create_task(asyncpg.connect(host="127.0.0.1", port=port, user="user", password="any", database="any", **options))
    for _ in range(rounds):
        await asyncio.sleep(0)
    connect.cancel()
    await asyncio.wait([connect])
    assert connect.cancelled()
    for _ in range(50):
        await asyncio.sleep(0)
    gc.collect()
    server.close()
    return reports


def of_all(**options):
    return [report for rounds in range(40) for report in asyncio.run(reported(rounds, **options))]


default, without = of_all(), of_all(ssl="disable")
print(f"Python {sys.version.split()[0]}, asyncpg {asyncpg.__version__}")
print("by default:  ", default)
print("ssl=disable: ", without)
sys.exit(not (default and set(default) == {"ConnectionError('unexpected connection_lost() call')"} and not without))
END
if timeout 60 venv/bin/python cancel.py; then
    echo "As described."
else
    echo "Not as described: asyncpg behaves differently now."
    exit 1
fi
