"""testssl.sh: how a server speaks TLS, its certificate, and whether attacks that are known work on it."""

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.judges.verdict import Finding, Verdict
from toolkit import apt

NAMES = ("testssl", "testssl.sh")  # Debian's, and its makers' own
# Protocols, kinds of ciphers, the server's choice, certificate and session, headers, attacks: half a minute.
CHECKS = ("-p", "-s", "-P", "-S", "-h", "-U")
TIMEOUT = 280  # seconds: less than its test may take, on a busy machine
OF_ITSELF = {"engine_problem"}  # of the openssl that it uses


def obtain() -> str | None:
    """The program; installed before where it is missing and we are root on Debian. Raises Failure."""
    if program() is None and apt.may_install():
        apt.install(["testssl.sh"])
    return program()


def program() -> str | None:
    """The program, None if there is none."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


def judge(program: str, scenario: str, address: tuple[str, int], authority: Path, checks: tuple[str, ...]) -> Verdict:
    """What it says of the server at this name and port of 127.0.0.1, with another authority to trust."""
    host, port = address
    with tempfile.TemporaryDirectory() as temporary:
        said = Path(temporary) / "said.json"
        done = subprocess.run(
            [program, *checks, "--ip=127.0.0.1", "--nodns=none", f"--add-ca={authority}", "--warnings=off", "--quiet",
             "--color=0", f"--jsonfile={said}", f"https://{host}:{port}/"],
            capture_output=True, text=True, check=False, timeout=TIMEOUT, stdin=subprocess.DEVNULL,
            env={"PATH": os.environ["PATH"], "HOME": temporary, "LANG": "C.UTF-8", "TERM": "dumb"},
        )  # fmt: skip
        entries = json.loads(said.read_text(encoding="utf-8"))
    if not any(each["id"] == "scanTime" for each in entries):
        raise ValueError(f"testssl.sh has not come to its end: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    verdict = Verdict(scenario)
    for each in entries:
        if each["severity"] == "OK":
            verdict.passed += 1
        elif each["severity"] != "INFO" and each["id"] not in OF_ITSELF:
            message = f"{each['severity']}: {each['finding']}"
            verdict.findings.append(Finding("testssl", scenario, each["id"], host, message))
    return verdict
