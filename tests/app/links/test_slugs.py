import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.links import slugs


@pytest.mark.parametrize("slug", ["abc", "spring-sale", "A_1", "9to5", "x" * 64, "apiary", "doc", "metric", "burn"])
def test_accepts(slug: str) -> None:
    assert slugs.validate(slug) == slug


UNFIT = ["", "ab", "x" * 65, "-abc", "_abc", "a.b", "a/b", "a b", "abc\n", "abc\x00", "favicon.ico"]
FOREIGN = ["\xe4bc", "\u0430bc", "\uff41\uff42\uff43", "\u0661\u0662\u0663"]


@pytest.mark.parametrize("slug", UNFIT + FOREIGN)
def test_refuses_what_does_not_fit_the_pattern(slug: str) -> None:
    with pytest.raises(ValueError, match="Use 3 to 64 letters"):
        slugs.validate(slug)


RESERVED = ["api", "API", "docs", "Metrics", "livez"]
ALIKE = ["d0cs", "D0CS", "l0gin", "1ogin", "Iogin", "log1n", "a-p-i", "api_", "adrnin", "ad-rn1n", "vvvvw", "nevv"]


@pytest.mark.parametrize("slug", RESERVED + ALIKE)
def test_refuses_reserved_names_and_their_look_alikes(slug: str) -> None:
    with pytest.raises(ValueError, match="reserved"):
        slugs.validate(slug)


def test_reserved_names_would_otherwise_be_valid() -> None:
    assert all(slugs.is_valid(name) and name == name.lower() for name in slugs.RESERVED)


LOOK_ALIKES = {"o": "oO0", "l": "lLiI1", "i": "iIlL1", "m": ["m", "M", "rn", "RN"], "w": ["w", "W", "vv", "VV"]}


@given(st.data())
def test_no_reserved_name_can_be_imitated(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(slugs.RESERVED)))
    letters = [data.draw(st.sampled_from([*LOOK_ALIKES.get(letter, [letter, letter.upper()])])) for letter in name]
    separators = [data.draw(st.sampled_from(["", "", "-", "_"])) for _ in letters]
    imitation = "".join(letter + separator for letter, separator in zip(letters, separators, strict=True))
    with pytest.raises(ValueError, match="reserved"):
        slugs.validate(imitation)


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


def test_a_random_slug_is_not_a_reserved_one(monkeypatch: pytest.MonkeyPatch) -> None:
    dice = iter("SettingsabcdEFGH")
    monkeypatch.setattr("secrets.choice", lambda _: next(dice))
    assert slugs.random_slug() == "abcdEFGH"
