import json
from pathlib import Path

import pytest
from joserfc.jwk import ECKey

from keel.security import dev_token
from keel.security.keys import JwksFile, JwksFileError, parse_jwks
from keel.security.tokens import TokenVerifier


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "dev-key.json"


def mint(key: ECKey) -> bytes:
    return dev_token.mint(key, issuer="i", audience="a", subject="dev", scope="x y", expires_in=60).encode()


def test_the_key_is_made_once_and_for_the_owner_only(path: Path) -> None:
    made = dev_token.obtain_key(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert dev_token.obtain_key(path) == made


def test_a_service_that_trusts_the_key_accepts_its_tokens(path: Path) -> None:
    verifier = TokenVerifier(JwksFile(path, dev_token.parse_dev_key), "i", "a", leeway=0)
    principal = verifier.verify(mint(dev_token.obtain_key(path)))
    assert (principal.subject, principal.scopes) == ("dev", frozenset({"x", "y"}))


def test_so_does_one_that_has_its_public_half(path: Path, tmp_path: Path) -> None:
    key = dev_token.obtain_key(path)
    jwks = tmp_path / "jwks.json"
    jwks.write_text(dev_token.public_jwks(key))
    assert TokenVerifier(JwksFile(jwks, parse_jwks), "i", "a", leeway=0).verify(mint(key)).subject == "dev"


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"kty": "oct", "k": "c2VjcmV0"}'])
def test_another_file_is_not_taken_for_a_key(path: Path, content: str) -> None:
    path.parent.mkdir()
    path.write_text(content)
    with pytest.raises(JwksFileError, match="holds no usable keys"):
        dev_token.obtain_key(path)
    assert path.read_text() == content


def test_a_public_key_cannot_sign(path: Path) -> None:
    path.parent.mkdir()
    path.write_text(json.dumps(ECKey.generate_key("P-256").as_dict(private=False)))
    with pytest.raises(JwksFileError, match="signing needs a private one"):
        dev_token.obtain_key(path)


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(JwksFileError, match=r"cannot create .*: File exists"):
        dev_token.obtain_key(tmp_path / "file" / "key.json")
