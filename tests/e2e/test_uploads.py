"""An upload needs room on a disk, and none in a pod's memory."""

import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
import pytest

from k8s import up
from tests.e2e.cluster import wait_for
from tests.e2e.release import Release
from tests.e2e.web import Loopback, trust_of
from toolkit.paths import ROOT
from toolkit.process import output

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(300)]

NAME = "files"
VALUES = ROOT / "tests" / "e2e" / "files-values.yaml"
SOURCES = {"init.py": "__init__.py", "main-module.py": "__main__.py", "main.py": "main.py", "domain.py": "domain.py"}
MIB = 2**20
SIZE = 200 * MIB
MOST = 20 * MIB
# As the kubelet counts what a pod has in use: without file pages that can be given up. By cgroup v2, or else v1.
WATCH = """
import json, time
from pathlib import Path
folder, used, idle = Path("/sys/fs/cgroup"), "memory.current", "inactive_file"
if not (folder / used).exists():
    folder, used, idle = folder / "memory", "memory.usage_in_bytes", "total_inactive_file"
while True:
    status = Path("/proc/1/status").read_text().split()
    stat = (folder / "memory.stat").read_text().split()
    pod = int((folder / used).read_text()) - int(stat[stat.index(idle) + 1])
    print(json.dumps([int(status[status.index("VmRSS:") + 1]) * 1024, pod]), flush=True)
    time.sleep(0.05)
"""


@pytest.fixture
def release(stack: up.Stack) -> Iterator[Release]:
    release = Release(stack, NAME, stack.image)
    sources = [
        f"--set-file=extraObjects[0].data.{key.replace('.', chr(92) + '.')}={ROOT / 'tests' / 'files' / name}"
        for key, name in SOURCES.items()
    ]
    public_url = f"config.APP_PUBLIC_URL=https://{release.host}:{stack.cluster.ports['https']}"
    release.install("--create-namespace", "--values", str(VALUES), "--set", public_url, *sources)
    yield release
    output([*stack.cluster.kubectl, "delete", "namespace", NAME, "--wait"])


@contextmanager
def watched(release: Release) -> Iterator[list[tuple[int, int]]]:
    """What the service's process and its pod have in memory, in bytes, again and again while the block runs."""
    seen: list[tuple[int, int]] = []
    inside = [*release.stack.cluster.kubectl, "--namespace", NAME, "exec", f"deployment/{release.name}", "--"]
    watch = subprocess.Popen([*inside, "python3", "-c", WATCH], stdout=subprocess.PIPE, text=True)

    def read() -> None:
        assert watch.stdout
        with watch.stdout as lines:
            for line in lines:
                process, pod = json.loads(line)
                seen.append((process, pod))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        yield seen
    finally:
        watch.terminate()
        watch.wait(20)
        reader.join()


def test_an_upload_of_200_mib_takes_no_memory(release: Release, report: Callable[..., None]) -> None:
    url = release.address()
    trust = trust_of(release.stack.service.authority.certificate)

    def body() -> Iterator[bytes]:
        for _ in range(SIZE // MIB):
            yield bytes(MIB)

    with httpx.Client(base_url=url, timeout=120, transport=Loopback(trust)) as web, watched(release) as seen:
        assert web.put("/api/v1/files/first", content=b"what is imported at first").status_code == 201
        wait_for("a look at the pod", lambda: len(seen) > 3)
        process, pod = seen[-1]
        before = len(seen)
        answer = web.put("/api/v1/files/large", content=body())
        assert (answer.status_code, answer.json()) == (201, SIZE), answer.text
        after = len(seen)
        wait_for("a look after it", lambda: len(seen) > after)
    assert len(seen) > before + 10, "there were too few looks: nothing was proven"
    more = max(each[0] for each in seen[before:]) - process, max(each[1] for each in seen[before:]) - pod
    said = f"{len(seen) - before} looks: process {more[0] / MIB:+.1f} MiB, pod {more[1] / MIB:+.1f} MiB"
    report("an upload of 200 MiB", note=said)
    assert max(more) <= MOST, said
