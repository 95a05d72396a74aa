"""Who must have signed, in cosign's words; tests/e2e/test_signatures.py signs and verifies."""

import re
from pathlib import Path

import pytest

from delivery import signing
from delivery.__main__ import main
from delivery.signing import Policy
from toolkit.process import Failure

IMAGE = "registry.example.com/team/links@sha256:" + "0" * 64
IDENTITY = "https://github.com/team/links/.github/workflows/release.yml@refs/tags/v*"
ISSUER = "https://token.actions.githubusercontent.com"


@pytest.fixture
def key(tmp_path: Path) -> Path:
    file = tmp_path / "cosign.pub"
    file.touch()
    return file


def test_a_key_needs_no_log(key: Path) -> None:
    assert Policy(key=key).arguments == [f"--key={key}", "--insecure-ignore-tlog"]


def identity_pattern(identity: str) -> str:
    pattern, issuer = Policy(identity=identity, issuer=ISSUER).arguments
    assert issuer == f"--certificate-oidc-issuer={ISSUER}"
    return pattern.removeprefix("--certificate-identity-regexp=")


def test_an_identity_is_matched_whole() -> None:
    pattern = identity_pattern(IDENTITY)
    assert pattern[0] + pattern[-1] == "^$"
    matching = IDENTITY.replace("v*", "v1.2.3")
    assert re.search(pattern, matching)
    for other in (
        matching.replace("team", "other"),
        matching.replace("tags", "heads"),
        matching.replace("github.com", "githubxcom"),
        f"{matching}/more",
        f"https://evil.example.com/{matching}",
    ):
        assert not re.search(pattern, other), other


def test_the_expression_is_one_for_cosign_too() -> None:
    """Go's regexp refuses what is escaped and needs no escape, but for punctuation."""
    assert not re.search(r"\\[A-Za-z0-9]", identity_pattern(IDENTITY))


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "Who must have signed"),
        ({"identity": IDENTITY}, "Who must have signed"),
        ({"issuer": ISSUER}, "Who must have signed"),
        ({"key": Path("/no/such.pub")}, "There is no public key at /no/such.pub"),
        ({"key": Path("/no/such.pub"), "identity": IDENTITY, "issuer": ISSUER}, "by a key or by an identity"),
    ],
)
def test_a_policy_that_is_none_is_refused(given: dict[str, object], says: str) -> None:
    with pytest.raises(Failure, match=says):
        Policy(**given)  # type: ignore[arg-type]


@pytest.mark.parametrize("image", ["links", "links:1.2.3", "links@sha256:123", f"{IMAGE}0", "", f"--key={IMAGE}"])
def test_a_tag_is_not_one_image(image: str, key: Path) -> None:
    with pytest.raises(Failure, match="does not name one image"):
        signing.verify(image, Policy(key=key))
    with pytest.raises(Failure, match="does not name one image"):
        signing.sign(image, key)


@pytest.mark.parametrize(
    ("said", "code", "refusal"),
    [
        ("", 137, r"could not be verified: cosign said nothing \(exit 137\)$"),
        ("Error: x\nerror during command execution: dial tcp: no such host", 1, "be verified: dial tcp: no such host$"),
        ("Error: no signatures found", 10, "is not signed, or not there: it must be signed by .*cosign.pub"),
        (
            "error during command execution: no matching signatures: wrong",
            12,
            "is signed, but not by .*\n  no matching",
        ),
    ],
)
def test_a_refusal_says_why(
    said: str, code: int, refusal: str, key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cosign says in each case is tested with cosign itself; here, what is made of it."""
    cosign = tmp_path / "cosign"
    cosign.write_text(f"#!/bin/sh\n[ $1 = version ] && echo v9.0.0 && exit\nprintf '%s' '{said}' >&2\nexit {code}\n")
    cosign.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(Failure, match=refusal):
        signing.verify(IMAGE, Policy(key=key))


def test_what_is_to_be_signed_with_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="no private key at"):
        signing.sign(IMAGE, tmp_path / "cosign.key")
    with pytest.raises(Failure, match="no SBOM at"):
        signing.sign(IMAGE, sbom=tmp_path / "sbom.json")


def test_the_command_says_it_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", IMAGE]) == 1
    assert capsys.readouterr().err == (
        "Who must have signed? Give KEY (a public key's file), or IDENTITY and ISSUER.\n"
    )
