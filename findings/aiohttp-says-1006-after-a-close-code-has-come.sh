#!/usr/bin/env bash
# aiohttp's client says that a WebSocket ended with 1006, "no close frame", though the server's close frame has come.
#
# Versions:  aiohttp 3.14.5, Python 3.11 to 3.13, Linux on x86_64 (the wheels that are pinned here).
# Input:     a server that sends a message and a close frame with 1012, "service restart", and closes the connection, as uvicorn
#            0.54.0 does when it shuts down; a client that is busy for half a second before it reads both.
# Expected:  close_code is 1012: RFC 6455, section 7.1.5, says that it is the code of the first close frame received; 1006 is
#            for a connection in which none was.
# Seen:      receive() returns the close frame with 1012, but close_code is 1006. aiohttp replies to the frame before it says
#            so, and when that fails, as the connection is closed, it replaces the code.
# Here:      kit/keel/http/websockets.py waits for the client's reply before it closes the connection (section 7.1.1). Before, of 79
#            WebSockets of a pod that ended, clients counted 66 as broken: they would have come back at once, and not as told.
#
# Needs Python 3.11 to 3.13 (PYTHON=python3.12 names one), Linux on x86_64, and a package index.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

"${PYTHON:-python3}" -m venv venv
cat > compiled.txt <<'END'
aiohttp==3.14.5 \
    --hash=sha256:50a195903119008fe9cc68710535eb37f556ffffd6a7759afe70a2c145587045 \
    --hash=sha256:20f085697d7e911f1f73c43ed03fafbed1e7121797e2eb5428efa80398060584 \
    --hash=sha256:1ffa3a523a36d8628f98c06492ae16a31a23d14c0b4ec721757b477319f656d6
END
cat > pure.txt <<'END'
aiohappyeyeballs==2.7.1 --hash=sha256:9243213661e29250eb41368e5daa826fc017156c3b8a11440826b2e3ed376472
aiosignal==1.4.0 --hash=sha256:053243f8b92b990551949e63930a839ff0cf0b0ebbe0597b0f3fb19e1a0fe82e
attrs==26.1.0 --hash=sha256:c647aa4a12dfbad9333ca4e71fe62ddc36f4e63b2d260a37a8b83d2f043ac309
frozenlist==1.8.0 --hash=sha256:0c18a16eab41e82c295618a77502e17b195883241c563b00f0aa5106fc4eaa0d
idna==3.20 --hash=sha256:ab7ae7122974553370f0bdb919e1a960b2cd1bc1ef0276416d896db81c14582c
multidict==7.2.1 --hash=sha256:08ea94663d9e7c25d14d78222f7aee906c472d4837766bec62477c38f6e419dc
propcache==0.5.4 --hash=sha256:62c60aec739ed00124573cce1178138fd690c7676352d67a37328c1cf51d7468
typing-extensions==4.16.0 --hash=sha256:481caa481374e813c1b176ada14e97f1f67a4539ce9cfeb3f350d78d6370c2e8
yarl==1.25.1 --hash=sha256:681c758b0490f9e96b78e5fa8e8dc6e648e9185bb6eaebe73183c33ea0c445f3
END
install=(venv/bin/python -m pip --disable-pip-version-check install --quiet --no-deps --require-hashes --only-binary=:all: --target libraries)
"${install[@]}" --requirement compiled.txt
"${install[@]}" --platform any --implementation py --abi none --requirement pure.txt

cat > closed.py <<'END'
import asyncio
import base64
import hashlib

import aiohttp

RESTART = (1012).to_bytes(2, "big")


async def serve(reader, writer):
    head = (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()
    key = next(line.split(": ")[1] for line in head if line.lower().startswith("sec-websocket-key"))
    digest = hashlib.sha1(f"{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest()
    answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    writer.write(f"{answer}Sec-WebSocket-Accept: {base64.b64encode(digest).decode()}\r\n\r\n".encode())
    writer.write(b"\x81\x02hi")
    writer.write(b"\x88\x02" + RESTART)
    writer.close()


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, aiohttp.ClientSession() as session, session.ws_connect(f"http://127.0.0.1:{port}") as websocket:
        await asyncio.sleep(0.5)
        for _ in range(2):
            message = await websocket.receive()
            print(message.type.name, message.data)
        print("close_code", websocket.close_code)


asyncio.run(main())
END
PYTHONPATH=libraries venv/bin/python closed.py | tee said
printf 'TEXT hi\nCLOSE 1012\nclose_code 1006\n' | diff - said || { echo "This is different now: close_code is the server's." >&2; exit 1; }
