"""Why a program that fetches or builds has failed, and what to do about it: read off what it said."""

import re

NETWORK = (
    "A package registry does not answer, or too slowly. Look at the network and at the proxy's settings, then run the "
    "same command again: it goes on where it ended."
)
# The first that is found counts. The words are those of apt, dpkg, Go, pip and the engine.
REASONS = (
    (
        r"(?i)no space left on device|enough free space|disk quota exceeded",
        "The disk is full. Make room (`df -h` says where; `docker system prune` and `go clean -cache` free the most), "
        "then run the same command again.",
    ),
    (
        r"checksum mismatch|DO NOT MATCH THE HASHES",
        "What came in has another checksum than the locked one, and is not used. If that stays so, find out why before "
        "you trust it.",
    ),
    (
        r"Hash Sum mismatch|File has unexpected size",
        "The Debian archive is being changed, or something on the way changes it. Run the same command again in a few "
        "minutes.",
    ),
    (
        r"NO_PUBKEY|BADSIG|EXPKEYSIG|The repository .* is not signed",
        "The Debian archive is signed by no key that this machine trusts: `apt-get install debian-archive-keyring`, "
        "then run the same command again.",
    ),
    (
        r"(?i)unable to locate package|no installation candidate|does not have a Release file",
        "The Debian archive does not have what is asked of it, or no longer: change the suite in the lock file.",
    ),
    (
        r"404  Not Found|reading \S+/@v/v\S+: 4\d\d ",
        "A package registry does not have what is asked of it, or no longer: change its version in the lock file.",
    ),
    (
        r"\b[EW]: Failed to fetch|Some index files failed|Get \\?\"\S+/(@v|sumdb)/|reading \S+/@v/\S+: 5\d\d ",
        NETWORK,
    ),
    (
        r"CERTIFICATE_VERIFY_FAILED",
        "The package index shows a certificate that is not trusted. Name a file with your network's authorities in "
        "PIP_CERT, then run the same command again.",
    ),
    # pip says that no release matches after it has said why it saw none.
    (r"Retrying \(Retry\(|Read timed out|IncompleteRead|ConnectionResetError|HTTP error 5\d\d", NETWORK),
    (
        r"No matching distribution found",
        "The package index does not have what is locked, has no wheel of it for this Python and machine, or does not "
        "answer. Look at pip's settings (`pip config list`), then run the same command again.",
    ),
)


def explain(said: str) -> str:
    """The sentence for what a failed program said; empty if it is none of these."""
    return next((sentence for pattern, sentence in REASONS if re.search(pattern, said)), "")
