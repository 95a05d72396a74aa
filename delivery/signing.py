"""Signatures of images and charts in a registry, by cosign: made and verified, refused with a sentence.

By a key: nothing but the registry is asked, no transparency log and no trust root; for tests and for networks of their
own. By identity: who an OpenID issuer says has signed, with a short-lived certificate and an entry in Sigstore's log;
for releases (https://docs.sigstore.dev/cosign/signing/overview/).
"""

import argparse
import json
import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

from delivery import tools
from delivery.image import reachable
from toolkit import reference
from toolkit.process import CommandFailed, Failure, output

# What a signature says it is. cosign takes an attestation, such as an SBOM's, for a signature as well; we do not.
KINDS = {"https://sigstore.dev/cosign/sign/v1", "cosign container image signature"}
NO_SIGNATURE = 10  # cosign's exit code
# In place of the public Sigstore's: no service is named, so that none is asked.
NO_SERVICES = {
    "mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json",
    "rekorTlogConfig": {},
    "tsaConfig": {},
}
NO_ROOTS = {"mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1"}


@dataclass(frozen=True)
class Policy:
    """Who must have signed: the holder of a key, or an identity that an issuer vouches for.

    In the identity `*` stands for any text without a slash: .../release.yml@refs/tags/v*.
    """

    key: Path | None = None
    identity: str = ""
    issuer: str = ""

    def __post_init__(self) -> None:
        if self.key and (self.identity or self.issuer):
            raise Failure("A signature is by a key or by an identity: give KEY, or IDENTITY and ISSUER.")
        if not self.key and not (self.identity and self.issuer):
            raise Failure("Who must have signed? Give KEY (a public key's file), or IDENTITY and ISSUER.")
        if self.key and not self.key.is_file():
            raise Failure(f"There is no public key at {self.key}: `cosign generate-key-pair` makes a pair.")

    def __str__(self) -> str:
        return str(self.key) if self.key else f"{self.identity} ({self.issuer})"

    @property
    def arguments(self) -> list[str]:
        if self.key:
            return [f"--key={self.key}", "--insecure-ignore-tlog"]  # the key vouches; a log would have to be asked
        pattern = "[^/]*".join(re.escape(part) for part in self.identity.split("*"))
        return [f"--certificate-identity-regexp=^{pattern}$", f"--certificate-oidc-issuer={self.issuer}"]


def verify(image: str, policy: Policy) -> None:
    """Raise Failure unless the image of this digest carries a signature that meets the policy."""
    _by_digest(image)
    cosign = tools.program("cosign")
    try:
        said = output([cosign, "verify", "--output=json", *policy.arguments, reachable(image)])
    except CommandFailed as error:
        raise Failure(_refusal(image, policy, error)) from error
    if not any(each["critical"]["type"] in KINDS for each in json.loads(said)):
        raise Failure(f"{image} has attestations by {policy}, but no signature: sign it with `make sign`.")


def sign(image: str, key: Path | None = None, sbom: Path | None = None) -> None:
    """Sign an image or a chart, and attest what it is made of (CycloneDX) where an SBOM is given.

    Without a key by the identity of the job that runs this. The key's password is in COSIGN_PASSWORD.
    """
    _by_digest(image)
    for file, what in ((key, "private key"), (sbom, "SBOM")):
        if file and not file.is_file():
            raise Failure(f"There is no {what} at {file}.")
    cosign = tools.program("cosign")
    env = {"COSIGN_PASSWORD": os.environ.get("COSIGN_PASSWORD", "")}
    with tempfile.TemporaryDirectory() as folder:
        options = ["--yes", *(_by_key(key, Path(folder)) if key else [])]
        output([cosign, "sign", *options, reachable(image)], env=env)
        if sbom:
            output([cosign, "attest", *options, "--type=cyclonedx", f"--predicate={sbom}", reachable(image)], env=env)


def _by_key(key: Path, folder: Path) -> list[str]:
    services, roots = folder / "services.json", folder / "roots.json"
    services.write_text(json.dumps(NO_SERVICES))
    roots.write_text(json.dumps(NO_ROOTS))
    return [f"--key={key}", f"--signing-config={services}", f"--trusted-root={roots}"]


def _by_digest(image: str) -> None:
    if not reference.WHOLE.fullmatch(image):
        raise Failure(
            f"'{image}' does not name one image: give its digest, repository@sha256:..., as a tag can be moved."
        )


def _refusal(image: str, policy: Policy, error: CommandFailed) -> str:
    if error.code == NO_SIGNATURE:
        return f"{image} is not signed, or not there: it must be signed by {policy}."
    lines = error.said.strip().splitlines() or [f"cosign said nothing (exit {error.code})"]
    last = lines[-1].removeprefix("error during command execution: ")
    if re.search(r"no matching (signatures|attestations)|failed to verify", error.said):
        return f"{image} is signed, but not by {policy}: do not deploy it before you know why.\n  {last}"
    return f"The signature of {image} could not be verified: {last}"


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    given = os.environ.get  # make hands its variables on this way, past any shell
    command = commands.add_parser("sign", help="sign an image or a chart in a registry")
    command.add_argument("image", nargs="?", default=given("IMAGE", ""), help="repository@sha256:... (default: $IMAGE)")
    command.add_argument(
        "--key", type=Path, default=given("KEY") or None, help="private key; without it by the job's identity (OIDC)"
    )
    command.add_argument(
        "--sbom", type=Path, default=given("SBOM") or None, help="attest this SBOM (CycloneDX) as well"
    )
    command.set_defaults(run=run_sign)
    command = commands.add_parser("verify", help="refuse an image that is not signed as it must be")
    command.add_argument("image", nargs="?", default=given("IMAGE", ""), help="repository@sha256:... (default: $IMAGE)")
    command.add_argument("--key", type=Path, default=given("KEY") or None, help="public key")
    command.add_argument(
        "--identity", default=given("IDENTITY", ""), help="who must have signed; * stands for any text without a slash"
    )
    command.add_argument("--issuer", default=given("ISSUER", ""), help="who vouches for the identity")
    command.set_defaults(run=run_verify)


def run_sign(args: argparse.Namespace) -> int:
    sign(args.image, args.key, args.sbom)
    print(f"Signed {args.image}{' and attested its SBOM' if args.sbom else ''}.")
    return 0


def run_verify(args: argparse.Namespace) -> int:
    policy = Policy(key=args.key, identity=args.identity, issuer=args.issuer)
    verify(args.image, policy)
    print(f"{args.image} is signed by {policy}.")
    return 0
