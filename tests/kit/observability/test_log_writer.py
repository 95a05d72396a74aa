import asyncio
import io
import os
import subprocess
import sys
import threading

import pytest

from keel.observability.log_writer import LogWriter


class Stream(io.StringIO):
    """Counts its writes."""

    writes = 0

    def write(self, text: str) -> int:
        self.writes += 1
        return super().write(text)


async def written(stream: Stream, times: int) -> None:
    async with asyncio.timeout(10):
        while stream.writes < times:  # noqa: ASYNC110
            await asyncio.sleep(0.001)


@pytest.mark.anyio
async def test_lines_that_can_wait_are_one_write() -> None:
    stream = Stream()
    writer = LogWriter(stream)
    for number in range(3):
        writer.write_soon(b"%d\n" % number)
    assert stream.writes == 0
    await written(stream, 1)
    assert stream.getvalue() == "0\n1\n2\n"
    writer.write_soon(b"3\n")
    await written(stream, 2)
    assert stream.getvalue() == "0\n1\n2\n3\n"


@pytest.mark.anyio
async def test_a_line_that_cannot_wait_keeps_the_order() -> None:
    stream = Stream()
    writer = LogWriter(stream)
    writer.write_soon(b"first\n")
    writer.write(b"second\n")
    assert stream.getvalue() == "first\nsecond\n"
    writer.write_soon(b"third\n")
    await written(stream, 2)
    assert stream.getvalue() == "first\nsecond\nthird\n"


def test_without_a_loop_nothing_waits() -> None:
    stream = Stream()
    LogWriter(stream).write_soon(b"now\n")
    assert stream.getvalue() == "now\n"


def test_a_loop_that_ended_before_it_wrote_does_not_hold_up_the_next() -> None:
    stream = Stream()
    writer = LogWriter(stream)
    loop = asyncio.new_event_loop()
    loop.call_soon(loop.stop)
    loop.call_soon(writer.write_soon, b"1\n")
    loop.run_forever()
    loop.close()
    assert stream.getvalue() == ""

    async def log() -> None:
        writer.write_soon(b"2\n")
        await written(stream, 1)
        assert stream.getvalue() == "1\n2\n"

    asyncio.run(log())


def test_lines_of_many_threads_are_whole() -> None:
    stream = Stream()
    writer = LogWriter(stream)

    def log(name: str) -> None:
        for number in range(500):
            writer.write(f"{name} {number}\n".encode())

    threads = [threading.Thread(target=log, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = stream.getvalue().splitlines()
    for name in "abcd":
        assert [line for line in lines if line.startswith(name)] == [f"{name} {number}" for number in range(500)]


@pytest.mark.parametrize("blocking", [True, False])
def test_a_reader_that_stops_holds_us_up_and_loses_nothing(blocking: bool) -> None:
    read, write = os.pipe()
    os.set_blocking(write, blocking)
    with os.fdopen(write, "w") as stream, os.fdopen(read, "rb") as reader:
        writer = LogWriter(stream)
        written = 0

        def fill() -> None:
            nonlocal written
            for _ in range(300):
                writer.write(b"x" * 1023 + b"\n")
                written += 1

        thread = threading.Thread(target=fill)
        thread.start()
        thread.join(0.1)
        assert thread.is_alive()
        assert written <= 64  # what a pipe takes
        received = b"".join(reader.read(1024) for _ in range(300))
        thread.join()
    assert received == (b"x" * 1023 + b"\n") * 300


def test_a_closed_stream_is_no_one_s_trouble() -> None:
    stream = io.StringIO()
    writer = LogWriter(stream)
    stream.close()
    writer.write(b"lost\n")
    read, write = os.pipe()
    os.close(read)
    broken = os.fdopen(write, "w")
    LogWriter(broken).write(b"lost\n")
    with pytest.raises(BrokenPipeError):
        broken.close()


CRASH = """
import asyncio, sys
from keel.observability import logs
from tests.kit.subject import Settings

logs.configure(Settings(log_format="json"))

async def main():
    logs.output.writer.write_soon(b"last words\\n")
    {end}

asyncio.new_event_loop().run_until_complete(main())  # which leaves no more turn of the loop
"""


@pytest.mark.parametrize(
    ("end", "code"),
    [("pass", 0), ("sys.exit(3)", 3), ("raise RuntimeError('postgresql://u:hunter2@db/x')", 1)],
)
def test_nothing_is_lost_at_the_end(end: str, code: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CRASH.format(end=end)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == code
    lines = done.stdout.splitlines()
    assert lines[0] == "last words"
    assert len(lines) == (2 if code == 1 else 1)
    assert done.stderr == ""
    if code == 1:
        assert '"log.level":"critical"' in lines[1]
        assert '"error.type":"RuntimeError"' in lines[1]
        assert "hunter2" not in lines[1]
