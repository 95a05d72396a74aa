import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from joserfc.jwk import ECKey, KeySet, OctKey

from app.keys import KeyFile, KeyFileError, parse_jwks

Logs = Callable[[], list[dict[str, Any]]]


def jwks(*keys: Any, private: bool = False) -> str:
    return json.dumps({"keys": [key.as_dict(private=private) for key in keys]})


def key(name: str) -> ECKey:
    return ECKey.generate_key("P-256", {"kid": name})


def ids(keys: KeySet) -> list[str | None]:
    return [each.kid for each in keys]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


def test_reads_again_only_when_the_file_changes(file: Path, log_lines: Logs) -> None:
    file.write_text(jwks(key("one")))
    keys = KeyFile(file, parse_jwks)
    assert ids(keys.current()) == ["one"]
    assert keys.current() is keys.current()
    file.write_text(jwks(key("one"), key("two")))
    assert ids(keys.current()) == ["one", "two"]
    assert len(log_lines()) == 2


def test_follows_a_swapped_symbolic_link(tmp_path: Path, file: Path, log_lines: Logs) -> None:
    """As Kubernetes updates a mounted secret; the two files even have the same size and time."""
    del log_lines
    for name in ("old", "new"):
        version = tmp_path / name
        version.write_text(jwks(key(name)))
        os.utime(version, (0, 0))
    file.symlink_to("old")
    keys = KeyFile(file, parse_jwks)
    assert ids(keys.current()) == ["old"]
    swap = tmp_path / "swap"
    swap.symlink_to("new")
    swap.rename(file)
    assert ids(keys.current()) == ["new"]


@pytest.mark.parametrize("broken", ["", "{", "[]", '{"keys": 1}', '{"keys": []}', '{"keys": [{"kty": "x"}]}'])
def test_a_broken_file_leaves_the_last_good_keys(file: Path, log_lines: Logs, broken: str) -> None:
    file.write_text(jwks(key("good")))
    keys = KeyFile(file, parse_jwks)
    keys.load()
    file.write_text(broken)
    assert ids(keys.current()) == ["good"]
    assert ids(keys.current()) == ["good"]
    assert [line["level"] for line in log_lines()] == ["error"]
    file.write_text(jwks(key("better")))
    assert ids(keys.current()) == ["better"]


def test_a_file_that_is_gone_leaves_them_too(file: Path) -> None:
    file.write_text(jwks(key("good")))
    keys = KeyFile(file, parse_jwks)
    keys.load()
    file.unlink()
    assert ids(keys.current()) == ["good"]


def test_a_file_may_come_later(file: Path, log_lines: Logs) -> None:
    del log_lines
    keys = KeyFile(file, parse_jwks)
    assert ids(keys.current()) == []
    file.write_text(jwks(key("late")))
    assert ids(keys.current()) == ["late"]


def test_loading_tells_what_is_wrong(file: Path) -> None:
    keys = KeyFile(file, parse_jwks)
    with pytest.raises(KeyFileError, match=r"cannot read .*: No such file or directory"):
        keys.load()
    file.write_bytes(b"\xff")
    with pytest.raises(KeyFileError, match="holds no usable keys"):
        keys.load()


@pytest.mark.parametrize("secret", [key("private"), OctKey.generate_key(256, {"kid": "shared"})])
def test_secret_keys_are_refused_and_not_told(file: Path, secret: Any) -> None:
    file.write_text(jwks(key("good"), secret, private=True))
    with pytest.raises(KeyFileError, match="is secret; publish only public keys") as raised:
        KeyFile(file, parse_jwks).load()
    assert str(secret.as_dict(private=True).get("d", secret.get("k"))) not in str(raised.value)


def test_keys_of_unknown_types_are_passed_over(file: Path) -> None:
    good = key("good").as_dict(private=False)
    file.write_text(json.dumps({"keys": [{"kty": "ML-DSA", "kid": "later"}, good]}))
    assert ids(KeyFile(file, parse_jwks).load()) == ["good"]
