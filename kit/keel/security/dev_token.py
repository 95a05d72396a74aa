"""Tokens for development, signed by a key of this machine."""

import json
import os
import time
from pathlib import Path

from joserfc import jwt
from joserfc.jwk import ECKey, KeySet

from keel.security.keys import JwksFile, JwksFileError

ALGORITHM = "ES256"


def parse_dev_key(text: str) -> KeySet:
    """Parse the private JSON Web Key that `obtain_key` has written.

    Raises:
        ValueError: the text is something else.
    """
    key = ECKey.import_key(json.loads(text))
    if not key.is_private:
        raise ValueError("it is a public key, and signing needs a private one")
    return KeySet([key])


def obtain_key(path: Path) -> ECKey:
    """The key in the file `path`. If there is no file, make a key and write it with mode 0600.

    Raises:
        JwksFileError: the file cannot be read or written, or contains something else.
    """
    key = ECKey.generate_key("P-256", {"use": "sig", "alg": ALGORITHM}, auto_kid=True)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            json.dump(key.as_dict(private=True), file)
    except OSError as error:
        if not path.is_file():
            raise JwksFileError(f"cannot create {path}: {error.strerror}") from error
    return next(key for key in JwksFile(path, parse_dev_key).load() if isinstance(key, ECKey))


def public_jwks(key: ECKey) -> str:
    """The public key as a JSON Web Key Set, for APP_JWKS_FILE."""
    return json.dumps(KeySet([key]).as_dict(private=False), indent=2)


def mint(key: ECKey, *, issuer: str, audience: str, subject: str, scope: str, expires_in: int) -> str:
    """A signed access token that is valid for `expires_in` seconds from now."""
    now = int(time.time())
    claims = {
        "iss": issuer,
        "aud": audience,
        "sub": subject,
        "scope": scope,
        "iat": now,
        "nbf": now,
        "exp": now + expires_in,
    }
    return jwt.encode({"alg": ALGORITHM, "kid": key.kid, "typ": "at+jwt"}, claims, key)
