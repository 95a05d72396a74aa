import json
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from joserfc.errors import SecurityWarning
from joserfc.jwk import ECKey, KeySet, OctKey, OKPKey, RSAKey

from keel.security.keys import JwksFile, JwksFileError, parse_jwks

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
    keys = JwksFile(file, parse_jwks, pause=0)
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
    keys = JwksFile(file, parse_jwks, pause=0)
    assert ids(keys.current()) == ["old"]
    swap = tmp_path / "swap"
    swap.symlink_to("new")
    swap.rename(file)
    assert ids(keys.current()) == ["new"]


@pytest.mark.parametrize("broken", ["", "{", "[]", '{"keys": 1}', '{"keys": []}', '{"keys": [{"kty": "x"}]}'])
def test_a_broken_file_leaves_the_last_good_keys(file: Path, log_lines: Logs, broken: str) -> None:
    file.write_text(jwks(key("good")))
    keys = JwksFile(file, parse_jwks, pause=0)
    keys.load()
    file.write_text(broken)
    assert ids(keys.current()) == ["good"]
    assert ids(keys.current()) == ["good"]
    assert [line["log.level"] for line in log_lines()] == ["error"]
    file.write_text(jwks(key("better")))
    assert ids(keys.current()) == ["better"]


def test_a_file_that_is_gone_leaves_them_too(file: Path) -> None:
    file.write_text(jwks(key("good")))
    keys = JwksFile(file, parse_jwks, pause=0)
    keys.load()
    file.unlink()
    assert ids(keys.current()) == ["good"]


def test_a_file_may_come_later(file: Path, log_lines: Logs) -> None:
    del log_lines
    keys = JwksFile(file, parse_jwks, pause=0)
    assert ids(keys.current()) == []
    file.write_text(jwks(key("late")))
    assert ids(keys.current()) == ["late"]


def test_loading_tells_what_is_wrong(file: Path) -> None:
    keys = JwksFile(file, parse_jwks, pause=0)
    with pytest.raises(JwksFileError, match=r"cannot read .*: No such file or directory"):
        keys.load()
    file.write_bytes(b"\xff")
    with pytest.raises(JwksFileError, match="holds no usable keys"):
        keys.load()


@pytest.mark.parametrize("secret", [key("private"), OctKey.generate_key(256, {"kid": "shared"})])
def test_secret_keys_are_refused_and_not_told(file: Path, secret: Any) -> None:
    file.write_text(jwks(key("good"), secret, private=True))
    with pytest.raises(JwksFileError, match="is secret; publish only public keys") as raised:
        JwksFile(file, parse_jwks).load()
    assert str(secret.as_dict(private=True).get("d", secret.get("k"))) not in str(raised.value)


def test_looks_at_the_file_once_in_a_while(file: Path, log_lines: Logs) -> None:
    del log_lines
    keys = JwksFile(file, parse_jwks, pause=3600)
    assert ids(keys.current()) == []
    file.write_text(jwks(key("one")))
    assert ids(keys.current()) == ["one"]
    file.write_text(jwks(key("two")))
    assert ids(keys.current()) == ["one"]


def weak() -> RSAKey:
    with warnings.catch_warnings(action="ignore", category=SecurityWarning):
        return RSAKey.generate_key(1024, {"kid": "odd"})


@pytest.mark.parametrize(
    ("odd", "reason"),
    [
        ({"kty": "ML-DSA", "kid": "odd"}, "Invalid key type: 'ML-DSA'"),
        ({"kty": "RSA", "kid": "odd"}, "'n' is required"),
        ({"kty": "EC", "crv": "P-0", "x": "AA", "y": "AA", "kid": "odd"}, "P-0"),
        ({"kid": "odd"}, "Missing key type"),
        ({"kty": ["EC"], "kid": "odd"}, "unhashable"),
        (weak().as_dict(private=False), "it is neither RSA of at least 2048 bits"),
        (
            ECKey.generate_key("secp256k1", {"kid": "odd"}).as_dict(private=False),
            "nor of the curves P-256, P-384, P-5",
        ),
        (OKPKey.generate_key("X25519", {"kid": "odd"}).as_dict(private=False), "P-521, Ed25519"),
        (OKPKey.generate_key("Ed448", {"kid": "odd"}).as_dict(private=False), "P-521, Ed25519"),
        (ECKey.generate_key("P-256", {"kid": "odd", "use": "enc"}).as_dict(private=False), "it is not for signatures"),
        (key("odd").as_dict(private=False) | {"key_ops": ["deriveKey"]}, "it is not for signatures"),
        (key("odd").as_dict(private=False) | {"y": key("other").as_dict()["y"]}, "Point is not on the curve"),
        (RSAKey.generate_key(2048, {"kid": "odd"}).as_dict(private=False) | {"e": "AQ"}, "e must be >= 3"),
        (key("odd").as_dict(private=False) | {"alg": "ES512"}, "it is for the algorithm ES512, or too weak for it"),
    ],
)
def test_useless_keys_are_passed_over(file: Path, log_lines: Logs, odd: dict[str, Any], reason: str) -> None:
    file.write_text(json.dumps({"keys": [odd, key("good").as_dict(private=False)]}))
    assert ids(JwksFile(file, parse_jwks).load()) == ["good"]
    assert reason in str(log_lines())
    file.write_text(json.dumps({"keys": [odd]}))
    with pytest.raises(
        JwksFileError, match=r"holds no usable keys: no key verifies signatures by RS256, .*; key odd: "
    ) as raised:
        JwksFile(file, parse_jwks).load()
    assert reason in str(raised.value)


def test_an_id_means_one_key(file: Path) -> None:
    one = key("one")
    file.write_text(jwks(one, one))
    assert ids(JwksFile(file, parse_jwks).load()) == ["one"]
    with_alg = ECKey.import_key(one.as_dict(private=False) | {"alg": "ES256"})
    for both in ((one, with_alg), (with_alg, one)):
        file.write_text(jwks(*both))
        assert ids(JwksFile(file, parse_jwks).load()) == ["one"]


def test_an_id_and_an_algorithm_mean_one_key(file: Path, log_lines: Logs) -> None:
    """RFC 7517, section 4.5: keys of different types may have one id. What is ambiguous is left out, and no more."""
    one = key("one")
    rsa = RSAKey.generate_key(2048, {"kid": "one"})
    file.write_text(jwks(one, rsa))
    assert ids(JwksFile(file, parse_jwks).load()) == ["one", "one"]
    file.write_text(jwks(one, key("one"), rsa, key("two")))
    assert [each.key_type for each in JwksFile(file, parse_jwks).load()] == ["RSA", "EC"]
    assert "two keys have this id and are for the same algorithm" in str(log_lines())
    file.write_text(jwks(one, key("one")))
    with pytest.raises(JwksFileError, match="key one: two keys have this id and are for the same algorithm"):
        JwksFile(file, parse_jwks).load()


def test_a_key_without_id_is_named_by_its_thumbprint(file: Path) -> None:
    unnamed = ECKey.generate_key("P-256")
    file.write_text(jwks(unnamed))
    assert ids(JwksFile(file, parse_jwks).load()) == [unnamed.thumbprint()]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"keys": [], "keys": []}', "it names a member twice"),
        ('{"keys": ["x"]}', 'expected a JSON object with "keys"'),
        ("[" * 100_000, "it is nested too deeply"),
        ('{"keys": [{"kty": "oct", "k": "AAAA", "kid": "s"}]}', "key s is secret"),
        ('{"keys": [{"kty": "ML-DSA", "priv": "AAAA", "kid": "s"}]}', "key s is secret"),
    ],
)
def test_other_documents_are_refused(file: Path, text: str, reason: str) -> None:
    file.write_text(text)
    with pytest.raises(JwksFileError, match=f"holds no usable keys: {reason}"):
        JwksFile(file, parse_jwks).load()
