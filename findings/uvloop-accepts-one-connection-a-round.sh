#!/usr/bin/env bash
# uvloop accepts one connection in each round of its event loop, however many wait; asyncio accepts them all.
#
# Versions:  uvloop 0.23.0 (its libuv is later than 1.45, see https://github.com/libuv/libuv/pull/3696), Python 3.11 to 3.13.
# Input:     100 connections that wait on a listening socket when a server is created on it (loop.create_server).
# Expected:  they are accepted in a few rounds, as by asyncio, in whose place uvloop is put.
# Seen:      asyncio 3 rounds; uvloop 101.
#            While a round answers a request on each open connection, the connections that wait get a place at the rate of
#            one a round. Under a full load requests on them ran into time-outs of ten seconds, beside others that were
#            answered in half a second.
# Here:      kit/keel/http/acceptor.py accepts by itself all that wait.
#
# Needs Python 3.11 to 3.13 (PYTHON=python3.12 names one) and a package index.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

"${PYTHON:-python3}" -m venv venv
# The wheels for Python 3.11, 3.12 and 3.13 on x86-64 and arm64 Linux.
cat > lock.txt <<'END'
uvloop==0.23.0 \
    --hash=sha256:ab17b3a8aa754be0de0e397f7b95f13b14e56f077a4c6ae295e3d4afd199b325 \
    --hash=sha256:8fcd721113260ffb5e38bf14a8725b17d431f34209f7d1c7005b667946e630b3 \
    --hash=sha256:090865d8ce7a03986755a3ce711b7dd0d4b44eb14ab74368b717f3fad1180208 \
    --hash=sha256:f7548ede3ee908cfabc0d068106e303a9a2d811af959cdf6ab85676344cedcda \
    --hash=sha256:e2cba180d6451822763eda8364f342435a873bcfb3849cbd82fdeca248ca65eb \
    --hash=sha256:1748321e3c59a14a75404b1ae8d5a8d81c4e201803ea0e14c1b6fd84421024b5
END
venv/bin/python -m pip --disable-pip-version-check install --quiet --no-deps --require-hashes --only-binary=:all: --requirement lock.txt

cat > rounds.py <<'END'
import asyncio
import socket
import sys

import uvloop

WAITING = 100
loops = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


async def rounds(listener):
    accepted = passed = 0

    class Accepted(asyncio.Protocol):
        def connection_made(self, transport):
            nonlocal accepted
            accepted += 1
            transport.close()

    server = await asyncio.get_running_loop().create_server(Accepted, sock=listener)
    while accepted < WAITING:
        await asyncio.sleep(0)  # one round
        passed += 1
    server.close()
    await server.wait_closed()
    return passed


listener = socket.create_server(("127.0.0.1", 0), backlog=2 * WAITING)
clients = [socket.create_connection(listener.getsockname()) for _ in range(WAITING)]
with asyncio.Runner(loop_factory=loops[sys.argv[1]]) as runner:
    print(runner.run(asyncio.wait_for(rounds(listener), 30)))
for client in clients:
    client.close()
END

for loop in asyncio uvloop; do
  venv/bin/python rounds.py "$loop" > "$loop"
  echo "$loop: $(cat "$loop") rounds for 100 connections"
done
if (($(cat asyncio) > 20)); then echo "This is different now: asyncio takes more rounds." >&2; exit 1; fi
if (($(cat uvloop) < 100)); then echo "This is different now: uvloop accepts more than one in a round." >&2; exit 1; fi
