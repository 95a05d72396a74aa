import pytest

from toolkit.process import Failure
from toolkit.reference import Image, parse

DIGEST = "sha256:" + "0123456789abcdef" * 4


@pytest.mark.parametrize(
    "repository", ["links", "team/links", "registry.example.com/team/links", "127.0.0.1:5001/links", "Host.example/a_b"]
)
def test_an_image_by_digest(repository: str) -> None:
    assert parse(f"{repository}@{DIGEST}") == Image(repository, DIGEST)


def test_a_tag_beside_a_digest_says_nothing() -> None:
    assert parse(f"registry.example.com/links:1.2@{DIGEST}") == Image("registry.example.com/links", DIGEST)


@pytest.mark.parametrize(
    ("text", "bare"),
    [
        ("links:1.2", "links"),
        ("127.0.0.1:5001/links:1.2", "127.0.0.1:5001/links"),
        ("reg.io/team/links", "reg.io/team/links"),
    ],
)
def test_a_tag_is_refused_with_what_to_do(text: str, bare: str) -> None:
    with pytest.raises(Failure) as refused:
        parse(text)
    assert str(refused.value) == (
        f"IMAGE is '{text}', a tag, and a tag can be moved: give the digest, IMAGE={bare}@sha256:... "
        f"(`make image` prints it; `docker buildx imagetools inspect {text}` says it of a pushed image)."
    )


@pytest.mark.parametrize(
    "text",
    [f"links@{DIGEST[:-1]}", f"links@{DIGEST}0", "links@sha256:" + "Z" * 64, "--help", "a b", f"@{DIGEST}", "$(id)"],
)
def test_whatever_else_is_refused(text: str) -> None:
    with pytest.raises(Failure, match="is no image by digest: it is written registry/name@sha256: and 64 hex digits"):
        parse(text)


def test_nothing_is_refused() -> None:
    with pytest.raises(Failure, match=r"^IMAGE is not set: give an image by digest"):
        parse("")


def test_short() -> None:
    assert Image("registry.example.com/team/links", DIGEST).short == "links@sha256:0123456789ab"
