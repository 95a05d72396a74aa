#!/usr/bin/env bash
# pip before 23.3 does not take the pin of a distribution for a requirement of the same distribution with an extra.
#
# Versions:  pip 23.2.1 and 23.3, with pytest-cov 7.0.0 and coverage 7.10.6.
# Input:     a lock with hashes that is complete: `coverage==7.10.6`, and pytest-cov, which requires `coverage[toml]>=7.10.6`.
# Expected:  that version of coverage is taken, as it is what the lock says and has that extra.
# Seen:      pip 23.3 does. pip 23.2.1 looks for `coverage[toml]` by itself, finds a newer release, and has no hash for it:
#              ERROR: In --require-hashes mode, all requirements must have their versions pinned with ==. These do not:
#                  coverage[toml]>=7.10.6 from coverage-7.17.5-...whl (from pytest-cov==7.0.0->-r lock.txt (line 7))
#            So a lock works until the day of coverage's next release. With --no-deps, pip 23.2.1 takes what the lock lists.
# Here:      requirements/install.py gives --no-deps.
#
# Nothing is installed (--dry-run). Needs Python 3.11 to 3.13 (PYTHON=python3.12 names one) and a package index.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

cat > lock.txt <<'END'
coverage==7.10.6 --hash=sha256:92c4ecf6bf11b2e85fd4d8204814dc26e6a19f0c9d938c207c5cb0eadfcabbe3
iniconfig==2.1.0 --hash=sha256:9deba5723312380e77435581c6bf4935c94cbfab9b1ed33ef8d238ea168eb760
packaging==25.0 --hash=sha256:29572ef2b1f17581046b3a2227d5c611fb25ec70ca1ba8554b24b0e69331a484
pluggy==1.6.0 --hash=sha256:e920276dd6813095e9377c0bc5566d94c932c33b27a3e3945d8389c374dd4746
pygments==2.19.2 --hash=sha256:86540386c03d588bb81d44bc3928634ff26449851e99741617ecb9037ee5ec0b
pytest==8.4.2 --hash=sha256:872f880de3fc3a5bdc88a11b39c9710c3497a547cfa9320bc3c5e62fbf272e79
pytest-cov==7.0.0 --hash=sha256:3b8e9558b16cc1479da72058bdecf8073661c7f57f7d3c5f22a1c23507f2d861
END

# resolve PIP [OPTION...]: what that pip would install from the lock; its words are in the file `said`.
resolve() {
  local pip=$1
  shift
  "$pip/bin/python" -m pip --disable-pip-version-check install --dry-run --require-hashes --only-binary=:all: "$@" --requirement lock.txt > said 2>&1
}

changed() {
  cat said
  echo "This is different now: $1" >&2
  exit 1
}

echo "pip==23.2.1 --hash=sha256:7ccf472345f20d35bdc9d1841ff5f313260c2c33fe417f48c30ac46cccabf5be" > old.txt
echo "pip==23.3 --hash=sha256:bc38bb52bc286514f8f7cb3a1ba5ed100b76aaef29b521d48574329331c5ae7b" > new.txt
for pip in old new; do
  "${PYTHON:-python3}" -m venv "$pip"
  "$pip/bin/python" -m pip --disable-pip-version-check install --quiet --no-deps --require-hashes --requirement "$pip.txt"
  "$pip/bin/python" -m pip --version | sed 's/ from .*\((.*)\)/ \1/'
done

if resolve old; then changed "pip 23.2.1 takes the pin."; fi
grep -q "versions pinned with ==. These do not:$" said || changed "pip 23.2.1 fails for another reason."
echo "pip 23.2.1:"
# With the file's name alone, as its address is another from each index.
sed -n 's#^ERROR: In#  &#p; s#^ *\(coverage\[toml\]>=7.10.6 from \)[^ ]*/#      \1#p' said
resolve old --no-deps || changed "pip 23.2.1 fails even with --no-deps."
echo "pip 23.2.1 with --no-deps: $(grep -o "Would install.*" said)"
resolve new || changed "pip 23.3 does not take the pin."
echo "pip 23.3: $(grep -o "Would install.*" said)"
