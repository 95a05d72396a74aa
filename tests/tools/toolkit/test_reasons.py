"""What programs say when they fail, in their own words; the tests of what fetches have the programs themselves fail."""

import pytest

from toolkit.process import CommandFailed, run
from toolkit.reasons import NETWORK, explain

SAID = {
    "The disk is full.": [
        "write /cache/x/v1.0.0.zip59531543.tmp: no space left on device",
        "E: You don't have enough free space in /var/cache/apt/archives/.",
        "OSError: [Errno 28] No space left on device",
        "E: Failed to fetch http://example.com/x.deb  Error writing to file - write (28: No space left on device)",
    ],
    "What came in has another checksum": [
        "verifying example.com/x@v1.0.0: checksum mismatch\n\tdownloaded: h1:a\n\tgo.sum: h1:b\n\nSECURITY ERROR",
        "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.",
    ],
    "The Debian archive is being changed": ["E: Failed to fetch http://example.com/x.deb  Hash Sum mismatch"],
    "The Debian archive is signed by no key": [
        "W: GPG error: http://example.com forky InRelease: ... NO_PUBKEY 6ED0E7B82643E131\n"
        "E: The repository 'http://example.com forky InRelease' is not signed."
    ],
    "The Debian archive does not have": [
        "E: Unable to locate package syslog-ng-core",
        "E: Package 'valkey-server' has no installation candidate",
        "E: The repository 'http://example.com/debian forky Release' does not have a Release file.",
    ],
    "A package registry does not have": [
        "x.go:3:2: example.com/x@v1.0.0: reading https://proxy.example.com/x/@v/v1.0.0.zip: 403 Forbidden",
        "E: Failed to fetch http://example.com/x.deb  404  Not Found [IP: 127.0.0.1 80]",
    ],
    NETWORK: [
        'example.com/x@v1.0.0: Get \\"http://127.0.0.1:9/x/@v/v1.0.0.info\\": dial tcp 127.0.0.1:9: connection refused',
        'go: example.com/x@v1.0.0: Get "https://proxy.example.com/x/@v/v1.0.0.mod": net/http: TLS handshake timeout',
        "example.com/x@v1.0.0: reading https://proxy.example.com/x/@v/v1.0.0.info: 502 Bad Gateway",
        "#8 31.2 E: Failed to fetch http://example.com/InRelease  Connection failed [IP: 127.0.0.1 80]",
        "E: Failed to fetch http://example.com/InRelease  Temporary failure resolving 'example.com'",
    ],
    "The package index does not have": [
        "ERROR: Could not find a version that satisfies the requirement tiny==1 (from versions: none)\n"
        "ERROR: No matching distribution found for tiny==1"
    ],
}


@pytest.mark.parametrize(("begins", "said"), [(begins, said) for begins in SAID for said in SAID[begins]])
def test_what_a_program_says_is_a_sentence(begins: str, said: str) -> None:
    assert explain(f"Get:1 something else\n{said}\nand more").startswith(begins)


@pytest.mark.parametrize(
    "said",
    [
        "Unable to connect to the server: dial tcp 127.0.0.1:6443: connect: connection refused",
        'error: Get "https://127.0.0.1:6443/api/v1/nodes": EOF',
        "Error from server (NotFound): deployments.apps not found",
        "Error: unexpected status from HEAD request to https://registry.example.com/v2/x: 403 Forbidden",
        "main.go:3: undefined: missing",
        "",
    ],
)
def test_what_is_no_registry_s_fault_is_not_laid_at_its_door(said: str) -> None:
    assert explain(said) == ""


def test_the_sentence_comes_before_the_log() -> None:
    said = r"^The disk is full\. .*\n`cp /dev/zero /dev/full` failed \(exit 1\)\. Its last lines:\n"
    with pytest.raises(CommandFailed, match=said):
        run(["cp", "/dev/zero", "/dev/full"], log="full")
    with pytest.raises(CommandFailed, match=r"^`false` failed"):
        run(["false"], log="full")
