#!/usr/bin/env bash
# prometheus_client's choice of a format raises a TypeError for an Accept header with a version that is no number.
#
# Versions:  prometheus-client 0.26.0, seen with Python 3.11.
# Input:     choose_encoder("text/plain; version=x"): a media type with a parameter, as RFC 9110 (12.5.1) lets any client send it.
# Expected:  the oldest format, as for a media type that it does not know, and as for a version below 1.0.0.
# Seen:      TypeError: '>=' not supported between instances of 'str' and 'int'. What cannot be parsed comes back as the text it
#            was, and is compared with (1, 0, 0) a part at a time. An application that calls it answers 500.
# Here:      kit/keel/management.py takes the oldest format then.
#
# Needs Python 3.10 or later (PYTHON=python3.12 names one) and a package index.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

"${PYTHON:-python3}" -m venv venv
cat > lock.txt <<'END'
prometheus-client==0.26.0 \
    --hash=sha256:04a91bcf94e2cf74a44a1a874d651a2e853ed354b6e822f3b7487751465d5c2b \
    --hash=sha256:fa93d06737aa02bacd05794768508bb97d2fbee28cb3bca04eaae92f0ca953d6
END
venv/bin/python -m pip --disable-pip-version-check install --quiet --no-deps --require-hashes --only-binary=:all: --requirement lock.txt

cat > choose.py <<'END'
from importlib.metadata import version

from prometheus_client.exposition import choose_encoder

print("prometheus-client", version("prometheus-client"))
for accept in ("text/plain; version=x", "application/openmetrics-text; version=1.x", "text/plain; version=0.0.4", "image/png"):
    try:
        print(f"{accept}: {choose_encoder(accept)[1]}")
    except Exception as error:
        print(f"{accept}: {type(error).__name__}: {error}")
END
venv/bin/python choose.py | tee said
[ "$(grep -c "TypeError: '>=' not supported" said)" = 2 ] || { echo "This is different now: it takes any version." >&2; exit 1; }
[ "$(grep -c ": text/plain; version=0.0.4" said)" = 2 ] || { echo "This is different now: the oldest format is another one." >&2; exit 1; }
