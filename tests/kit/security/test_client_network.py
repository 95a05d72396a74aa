import pytest

from keel.security.client_network import client_network


@pytest.mark.parametrize(
    ("host", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::FFFF:C000:0201", "192.0.2.1"),
        ("fe80::1%eth0", "fe80::/64"),
        ("unknown", "unknown"),
        ("x" * 5000, "x" * 64),
    ],
)
def test_who_counts_as_one(host: str, network: str) -> None:
    assert client_network({"client": (host, 1)}) == network


def test_a_client_without_an_address() -> None:
    """As over a Unix socket."""
    assert client_network({"client": None}) == client_network({}) == ""
