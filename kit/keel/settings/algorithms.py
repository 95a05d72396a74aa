"""The algorithms that tokens may be signed with (RFC 7518, RFC 8037, RFC 9864)."""

from keel.settings.masking import shown

# Only asymmetric ones: otherwise a public key could be used as an HMAC secret. Ed25519 is RFC 9864's name for what most
# issuers still call EdDSA.
ALGORITHMS = (
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "EdDSA", "Ed25519"),
)


def parse_algorithms(text: str) -> tuple[str, ...]:
    """The algorithms that a setting names, separated by commas.

    Raises:
        ValueError: one is unknown; the message lists the known ones.
    """
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    for name in names:
        if name not in ALGORITHMS:
            raise ValueError(f"must be some of {', '.join(ALGORITHMS)}, and not {shown(name)}")
    return names
