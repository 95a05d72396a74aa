import pytest

from keel.settings.masking import MAX_SHOWN, mask_url, shown


@pytest.mark.parametrize(
    ("given", "masked"),
    [
        ("https://issuer.example.com/jwks.json", "https://issuer.example.com/jwks.json"),
        ("https://user:secret@host/path", "https://***@host/path"),
        ("postgresql://user:se/cr@et@host/things", "postgresql://***@host/things"),
        ("https://host/keys?key=secret&other=secret#part", "https://host/keys?key=***&other=***#part"),
        ("https:/user:secret@host", "https:/***@host"),
        ("user@example.com", "user@example.com"),
        ("a=b?c=d", "a=b?c=d"),
    ],
)
def test_of_a_url_only_where_it_leads_is_shown(given: str, masked: str) -> None:
    assert mask_url(given) == masked


def test_a_mistake_is_shown_on_one_line() -> None:
    assert shown("https://user:secret@host\n") == r"'https://***@host\n'"
    assert len(shown("a" * 1000)) == MAX_SHOWN + len("'…'")
