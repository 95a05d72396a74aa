import time

import pytest

from keel.observability import redact
from keel.observability.redact import REDACTED

JWT = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJlLXNpZ25hdHVyZQ"


@pytest.mark.parametrize(
    "name",
    [
        *("authorization", "Authorization", "proxy-authorization", "cookie", "Set-Cookie", "password", "db_password"),
        *("secret", "client_secret", "token", "access_token", "accessToken", "APIToken", "api_key", "X-Api-Key"),
        *("apikey", "dsn", "databaseDsn", "aws.secret.access.key", "private_key"),
    ],
)
def test_names_of_secrets(name: str) -> None:
    assert redact.is_secret(name)


@pytest.mark.parametrize("name", ["tokens_per_minute", "key", "keys", "author", "path", "ids", "monkey", "reason", ""])
def test_other_names(name: str) -> None:
    assert not redact.is_secret(name)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql+asyncpg://things:hunter2@db:5432/things", f"postgresql+asyncpg://{REDACTED}@db:5432/things"),
        ("postgres://things:hun/t:er2@db/things", f"postgres://{REDACTED}@db/things"),
        ("valkey://:hunter2@cache:6379/0", f"valkey://{REDACTED}@cache:6379/0"),
        ("pull https://hunter2@example.com/x", f"pull https://{REDACTED}@example.com/x"),
        (f"GET /{JWT}/x", f"GET /{REDACTED}/x"),
        (JWT[:20], REDACTED),
        ("Authorization: Bearer abcdefgh.ijkl", f"Authorization: {REDACTED}"),
        ("sent bearer abcdefgh-ijkl~x==, failed", f"sent bearer {REDACTED}, failed"),
        ("Basic dXNlcjpwYXNz", f"Basic {REDACTED}"),
        ("Cookie: session=abc; other=def\nHost: x", f"Cookie: {REDACTED}\nHost: x"),
        ("host=db password=hunter2 user=things", f"host=db password={REDACTED} user=things"),
        ("/callback?access_token=hunter2&state=1", f"/callback?access_token={REDACTED}&state=1"),
        ("{'client_secret': 'hunter2', 'a': 1}", f"{{'client_secret': '{REDACTED}', 'a': 1}}"),
        ('{"api_key":"hunter2"}', f"{{\"api_key\":'{REDACTED}'}}"),
    ],
)
def test_shapes_of_secrets(text: str, shown: str) -> None:
    assert redact.text(text) == shown
    assert redact.text(redact.text(text)) == shown


@pytest.mark.parametrize(
    "text",
    [
        *("https://example.com/@user/post", "http://example.com:8080/path", "mail to me@example.com", ""),
        *("the token has expired", "bearer token", "token refused: no secret", "keys=3", "eyJ", "/eyJabc"),
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redact.text(text) == redact.short_text(text) == text


@pytest.mark.parametrize("text", [f"/{JWT}", "x Bearer abcdefghijkl", "password=hunter2", "http://a:hunter2@b"])
def test_short_texts_are_searched_for_the_same(text: str) -> None:
    assert redact.short_text(text) == redact.text(text) != text


@pytest.mark.parametrize("piece", ["://", "a-", "a", "://a:", "eyJ.", "bearer ", "token", "'token' ", "=", "://x@"])
def test_no_text_takes_long(piece: str) -> None:
    text = piece * (65536 // len(piece))
    started = time.process_time()
    redact.text(text)
    assert time.process_time() - started < 2
