import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.links import slugs


@pytest.mark.parametrize("slug", ["abc", "spring-sale", "A_1", "9to5", "x" * 64])
def test_accepts(slug: str) -> None:
    assert slugs.validate(slug) == slug


@pytest.mark.parametrize(
    "slug",
    ["", "ab", "x" * 65, "-abc", "_abc", "a.b", "a/b", "a b", "abc\n", "äbc", "abc\x00", "favicon.ico"],
)
def test_refuses_what_does_not_fit_the_pattern(slug: str) -> None:
    with pytest.raises(ValueError, match="Use 3 to 64 letters"):
        slugs.validate(slug)


@pytest.mark.parametrize("slug", ["api", "API", "docs", "Metrics", "livez"])
def test_refuses_reserved_names_in_any_case(slug: str) -> None:
    with pytest.raises(ValueError, match="reserved"):
        slugs.validate(slug)


def test_reserved_names_would_otherwise_be_valid() -> None:
    assert all(slugs.is_valid(name) and name == name.lower() for name in slugs.RESERVED)


@given(st.text())
def test_whatever_is_valid_needs_no_quoting_in_a_path(slug: str) -> None:
    if slugs.is_valid(slug):
        assert slug.isascii()
        assert slug.replace("-", "").replace("_", "").isalnum()


def test_random_slugs_are_valid_unambiguous_and_different() -> None:
    made = {slugs.random_slug() for _ in range(1000)}
    assert len(made) == 1000
    assert all(slugs.is_valid(slug) and len(slug) == slugs.RANDOM_LENGTH for slug in made)
    assert not set("".join(made)) & set("0Oo1Il")
