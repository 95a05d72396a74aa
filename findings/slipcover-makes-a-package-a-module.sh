#!/usr/bin/env bash
# Under slipcover's command, a package that is loaded by its file, as Python's documentation shows it, is a plain module.
#
# Versions:  slipcover 1.1.0 with tabulate 0.10.0, seen with Python 3.11.
# Input:     a package `pkg` with a module `part`; a script that makes its spec by importlib.util.spec_from_file_location,
#            loads it, puts it into sys.modules, and imports pkg.part.
# Expected:  the script runs under `python -m slipcover` as it does under `python`.
# Seen:      ModuleNotFoundError: No module named 'pkg.part'; 'pkg' is not a package. slipcover wraps that function, and
#            hands on submodule_search_locations=None where the caller has said nothing. To Python the one means "no package",
#            and the other "find out". pytest's --import-mode=importlib loads a folder of tests so.
# Here:      tests/support/coverage.py puts slipcover's probes in by a finder of its own, and does not use its command.
#
# Needs Python 3.10 or later (PYTHON=python3.12 names one) and a package index.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

"${PYTHON:-python3}" -m venv venv
cat > lock.txt <<'END'
slipcover==1.1.0 \
    --hash=sha256:4e6c2bec94b6c591d0c1d6919ea30767f5604850a0cc416b7ec54062e208125b \
    --hash=sha256:51134edd5ce8897af6aa97318f7983110c60b9b0e19e6d5a874c32f1035c78e0 \
    --hash=sha256:74091d24d836b86f65644326478a7fe971cd3ae3f3dc9fe0e996fdacd4c5deeb \
    --hash=sha256:c1493c45c8e1cda280467a4886c1e3145e5de247f3878d2a95ddc328982be9d3 \
    --hash=sha256:c723719908b53129f012d7aa1870ff689ec47ecf1f066bb03bdf2a2a3cdcb919 \
    --hash=sha256:ca0fe66a2d3912009827868bdc3a08e052aff617172fccfcbaa7ed16e9e0d9f1 \
    --hash=sha256:e6eac07f65abded47e0646e550b42b1d87fff48460730da0a11d0024e2dd5ec4 \
    --hash=sha256:f8365ae86ecb46b43ddc38adb264c3ae16c6eeaabd114eae515333ad8bd10c9f
tabulate==0.10.0 \
    --hash=sha256:e2cfde8f79420f6deeffdeda9aaec3b6bc5abce947655d17ac662b126e48a60d \
    --hash=sha256:f0b0622e567335c8fabaaa659f1b33bcb6ddfe2e496071b743aa113f8774f2d3
END
venv/bin/python -m pip --disable-pip-version-check install --quiet --no-deps --require-hashes --only-binary=:all: --requirement lock.txt

mkdir pkg
touch pkg/__init__.py
echo "here = True" > pkg/part.py
cat > script.py <<'END'
import importlib
import importlib.util
import sys

spec = importlib.util.spec_from_file_location("pkg", "pkg/__init__.py")
module = sys.modules["pkg"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
try:
    print(importlib.import_module("pkg.part").here)
except ModuleNotFoundError as error:
    print(error)
END
echo "python:    $(venv/bin/python script.py)" | tee said
echo "slipcover: $(venv/bin/python -m slipcover --out report.txt script.py)" | tee -a said
diff said - <<'END' || { echo "This is different now: slipcover's command may do for tests/support/coverage.py." >&2; exit 1; }
python:    True
slipcover: No module named 'pkg.part'; 'pkg' is not a package
END
