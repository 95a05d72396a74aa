#!/usr/bin/env bash
# pytest-xdist's --dist=loadgroup shares out tests of one group to several processes, without a word.
#
# Versions:  pytest-xdist 3.8.0 with pytest 9.2.0, seen with Python 3.11; upstream: pytest-dev/pytest-xdist#1386, open.
# Input:     two files, each with a mark xdist_group of its own, run with --numprocesses=2 --dist=loadgroup.
# Expected:  each group runs in one process, as the option's description says.
# Seen:      both processes run tests of both groups. pytest-xdist writes the group into the private name of a test
#            (_nodeid), which pytest 9.2.0 does not read any more.
# Here:      tests/e2e/lanes.py has a scheduler of its own, whose test fails should its method not be asked any more.
#
# Needs Python 3.10 or later (PYTHON=python3.12 names one) and a package index.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

"${PYTHON:-python3}" -m venv venv
cat > lock.txt <<'END'
pytest==9.2.0 \
    --hash=sha256:07acdcf88ec174f907dc01af70bf52d49b014bbab03faeeade31c96b18c2e588 \
    --hash=sha256:97c4f3b1f3c7414aa36465e09b8220f1d03627993bd51b1282e193753c80557b
pytest-xdist==3.8.0 \
    --hash=sha256:202ca578cfeb7370784a8c33d6d05bc6e13b4f25b5053c30a152269fd10f0b88 \
    --hash=sha256:7e578125ec9bc6050861aa93f2d59f1d8d085595d6551c2c90b6f4fad8d3a9f1
execnet==2.1.2 \
    --hash=sha256:63d83bfdd9a23e35b9c6a3261412324f964c2ec8dcd8d3c6916ee9373e0befcd \
    --hash=sha256:67fba928dd5a544b783f6056f449e5e3931a5c378b128bc18501f7ea79e296ec
iniconfig==2.3.1 \
    --hash=sha256:67f4b9c50da0dedf52af349e7749a80a9057a5031199791b906c3bb3ae878960 \
    --hash=sha256:9121e2c1fdb355232495be3194c8dfe87ccc2d5dee45947b78e68f499790d7a7
packaging==26.3 \
    --hash=sha256:94edc256424af38762eb31306eed28beb9f0efc50a8837492c9d6fd6004aed79 \
    --hash=sha256:d7193f7c8e4e93f444fde0262bf90af30e16fa0ad0ad44cb553c87339b23cd1c
pluggy==1.7.0 \
    --hash=sha256:7dd7b0d8832ba3cb632c306926ded123429211b83641b35dc5c41ad2d34f9bec \
    --hash=sha256:d1eaa46ebb595891b860ab086b4d09c8588af65ebd4361b8e8f4bb8920b90ba8
pygments==2.21.0 \
    --hash=sha256:2363c69b61c4a97c838da3b130dcd6468f4848992b21a82f2a63ec34377137d9 \
    --hash=sha256:610ca751c9bc2492b38eb9a38a7fbc93edbbb2d7182edaf34e66ae493dee5c8c
END
venv/bin/python -m pip --disable-pip-version-check install --quiet --no-deps --require-hashes --only-binary=:all: --requirement lock.txt

for name in one other; do
  cat > "test_$name.py" <<END
import pytest

pytestmark = pytest.mark.xdist_group("$name")


@pytest.mark.parametrize("number", range(10))
def test_it(number):
    pass
END
done
venv/bin/python -m pytest --version
venv/bin/python -m pytest --numprocesses=2 --dist=loadgroup --verbose | grep -o "^\[gw[01]\].*PASSED test_[a-z]*" | sed 's/\[ *[0-9]*%\] //' | sort | uniq -c | tee said
[ "$(wc -l < said)" -gt 2 ] || { echo "This is different now: each group has a process of its own." >&2; exit 1; }
