"""`make scan`: known weaknesses of what is in an image; fails where a high one could be mended by an upgrade.

Four sources are asked: trivy's database, which is complete and comes from an image registry; and what the package
registries say themselves, PyPI of advisories and of withdrawn releases, Debian of its security updates. A source that
cannot be asked is named, and so are packages that no source has judged: silence is not an all-clear.
"""

import argparse
import datetime as dt
import json
import os
import re
import sys
import tempfile
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from delivery import debian, findings, sbom
from delivery.findings import Finding
from delivery.sbom import ECOSYSTEMS, Contents, Package
from toolkit.paths import shown
from toolkit.process import Failure
from toolkit.switch import switch

REPORT = sbom.REPORT / "scan.json"
TIMEOUT = 300  # seconds
YANKED = re.compile(r"`([A-Za-z0-9._-]+)==(\S+)` is yanked")
GONE = re.compile(r"no version of ([A-Za-z0-9._-]+)==|([A-Za-z0-9._-]+) was not found in the package registry")


@dataclass
class Answer:
    """What a source said of the packages that it has judged."""

    source: str
    told: bool = False
    """Whether it could be asked; or there was nothing to ask it."""
    asked: int = 0
    """Of how many packages it told."""
    judged: frozenset[Package] = frozenset()
    """Those of them of which it would have told a weakness."""
    findings: list[Finding] = field(default_factory=list)
    note: str = ""
    """As of when; or why it could not be asked."""

    def judges(self, packages: Collection[Package]) -> None:
        self.told = True
        self.judged = frozenset(packages)
        self.asked = len(self.judged)


@dataclass(frozen=True)
class Verdict:
    """What all sources said together."""

    answers: list[Answer]
    findings: list[Finding]
    allowed: list[Finding]
    unjudged: list[Package]
    objections: list[str]

    @property
    def failing(self) -> list[Finding]:
        return [f for f in self.findings if f.fails and f not in self.allowed]


Source = Callable[[Contents, Path], Answer]


def judge(document: Path, sources: Collection[Source], today: dt.date, exceptions: Path) -> Verdict:
    """Ask every source about a CycloneDX document. Raises Failure for exceptions that cannot be read."""
    contents = sbom.read(document)
    allowed = findings.exemptions(exceptions)
    answers = [ask(contents, document) for ask in sources]
    found = findings.distinct(f for answer in answers for f in answer.findings)
    judged = frozenset[Package]().union(*(answer.judged for answer in answers))
    unjudged = [p for p in contents.packages if p not in judged]
    valid = [each for each in allowed if each.until >= today]
    return Verdict(
        answers,
        found,
        [f for f in found if any(each.matches(f) for each in valid)],
        unjudged,
        findings.objections(allowed, found, today, complete=not unjudged and all(answer.told for answer in answers)),
    )


def trivy(contents: Contents, document: Path) -> Answer:
    """Every package, by the database that trivy fetches and caches."""
    answer = Answer("trivy's database")
    try:
        sbom.trivy("image", "--download-db-only", "--no-progress")
        said = json.loads(sbom.trivy("sbom", "--scanners=vuln", "--format=json", "--skip-db-update", str(document)))
    except Failure as error:
        answer.note = str(error)
        return answer
    answer.judges(contents.packages)
    return from_trivy(answer, said)


def from_trivy(answer: Answer, said: dict[str, Any]) -> Answer:
    """Its JSON (https://trivy.dev/latest/docs/configuration/reporting/#json)."""
    answer.findings = [
        Finding(
            each["VulnerabilityID"],
            name_of(each["PkgName"], result.get("Type", "")),
            each["InstalledVersion"],
            {"unknown": "unrated"}.get(each["Severity"].lower(), each["Severity"].lower()),
            each.get("FixedVersion", ""),
            answer.source,
        )
        for result in said.get("Results", [])
        for each in result.get("Vulnerabilities", [])
    ]
    return answer


def name_of(name: str, kind: str) -> str:
    return sbom.normalized(name) if kind == "python-pkg" else name


def advisories(contents: Contents, _document: Path) -> Answer:
    """Python distributions, by the advisories that PyPI itself publishes of each release; pip-audit asks."""
    answer = Answer("PyPI's advisories")
    wanted = distributions(contents, answer)
    if not wanted:
        return answer
    with tempfile.TemporaryDirectory() as temporary:
        file = Path(temporary) / "requirements.txt"
        file.write_text("".join(f"{p.name}=={p.version}\n" for p in wanted.values()))
        audit = ["--requirement", str(file), "--no-deps", "--disable-pip", "--vulnerability-service=pypi"]
        audit += ["--format=json", "--progress-spinner=off", "--desc=off", "--aliases=on"]
        try:
            done = sbom.ended([Path(sys.executable).with_name("pip-audit"), *audit], TIMEOUT)
        except Failure as error:
            answer.note = str(error)
            return answer
    try:
        said = json.loads(done.stdout)["dependencies"]
    except ValueError:
        lines = done.stderr.strip().splitlines()
        answer.note = lines[-1] if lines else f"pip-audit ended with exit {done.returncode}"
        return answer
    return from_pip_audit(answer, wanted, said)


def distributions(contents: Contents, answer: Answer) -> dict[str, Package]:
    """The Python distributions, by name; where there are none, the answer says so."""
    found = {p.name: p for p in contents.packages if p.kind == "pypi"}
    if not found:
        answer.told, answer.note = True, "there are no Python distributions"
    return found


def from_pip_audit(answer: Answer, wanted: dict[str, Package], said: list[dict[str, Any]]) -> Answer:
    """What pip-audit's JSON says. A release that PyPI does not tell of is skipped there, and unjudged here."""
    known = [each for each in said if "vulns" in each and sbom.normalized(each["name"]) in wanted]
    answer.judges({wanted[sbom.normalized(each["name"])] for each in known})
    if silent := len(wanted) - len(answer.judged):
        answer.note = f"the package index tells nothing of {silent} of {len(wanted)} releases"
    for each in known:
        for weakness in each["vulns"]:
            cves = [i for i in weakness["aliases"] if i.startswith("CVE-")]
            fixed = weakness["fix_versions"][0] if weakness["fix_versions"] else ""
            id_ = next(iter(cves), weakness["id"])
            package = sbom.normalized(each["name"])
            answer.findings.append(Finding(id_, package, each["version"], "unrated", fixed, answer.source))
    return answer


def withdrawn(contents: Contents, _document: Path) -> Answer:
    """Python distributions whose release its makers have yanked (PEP 592), as pip's installers are told; uv asks.

    That nobody withdrew a release says nothing of its weaknesses, so this judges none.
    """
    answer = Answer("PyPI's withdrawn releases")
    wanted = distributions(contents, answer)
    if not wanted:
        return answer
    uv = Path(sys.executable).with_name("uv")
    with tempfile.TemporaryDirectory() as temporary:
        file = Path(temporary) / "requirements.txt"
        file.write_text("".join(f"{p.name}=={p.version}\n" for p in wanted.values()))
        words = ["pip", "install", "--dry-run", "--no-deps", f"--target={temporary}/target", "--python-version=3.13"]
        try:
            done = sbom.ended([uv, *words, "--no-config", "--color=never", "--requirement", file], TIMEOUT)
        except Failure as error:
            answer.note = str(error)
            return answer
    return from_uv(answer, wanted, done.stderr, done.returncode)


def from_uv(answer: Answer, wanted: dict[str, Package], said: str, code: int) -> Answer:
    """uv warns of yanked releases, and finds no solution with one that is gone."""
    if code:
        answer.note = " ".join(said.split()) or f"uv ended with exit {code}"
        for names in GONE.findall(answer.note):
            if package := wanted.get(sbom.normalized("".join(names))):
                answer.findings.append(
                    Finding("release-gone", package.name, package.version, "unrated", "another release", answer.source)
                )
        answer.told, answer.asked = bool(answer.findings), len(answer.findings)
        return answer
    answer.told, answer.asked = True, len(wanted)
    for name, version in YANKED.findall(said):
        answer.findings.append(
            Finding("release-yanked", sbom.normalized(name), version, "unrated", "another release", answer.source)
        )
    return answer


def debian_security(contents: Contents, _document: Path) -> Answer:
    """Debian packages: one that the security team's suite has newer is known to be weak, and can be mended."""
    answer = Answer("Debian's security updates")
    packages = [p for p in contents.packages if p.kind == "deb"]
    if not packages:
        answer.told, answer.note = True, "there are no Debian packages"
        return answer
    architecture = next((p.architecture for p in packages if p.architecture not in {"", "all"}), "amd64")
    try:
        archive = debian.newest(contents.system, [p.name for p in packages], architecture)
    except Failure as error:
        answer.note = str(error)
        return answer
    answer.note = f"as of {archive.published}"
    return from_archive(answer, packages, archive)


def from_archive(answer: Answer, packages: list[Package], archive: debian.Archive) -> Answer:
    """Compare an image's packages with the archive's; one that the archive does not have is unjudged."""
    known = [p for p in packages if p.name in archive.stable or p.name in archive.security]
    answer.judges(known)
    for package in known:
        now = archive.security.get(package.name, "")
        if now and debian.newer(now, package.version):
            id_ = f"security-update-{now}"
            answer.findings.append(Finding(id_, package.name, package.version, "unrated", now, answer.source))
    later = [p.name for p in known if debian.newer(archive.stable.get(p.name, "0"), p.version)]
    if later:
        answer.note += f"; stable has newer versions of {', '.join(later)}"
    return answer


SOURCES: tuple[Source, ...] = (trivy, advisories, withdrawn, debian_security)


def report_file(platform: str = "") -> Path:
    """build/report/scan.json, and of a platform that was named scan-linux-arm64.json."""
    return REPORT.with_stem(f"{REPORT.stem}-{platform.replace('/', '-')}") if platform else REPORT


def report(image: str, verdict: Verdict) -> dict[str, Any]:
    """What the file says."""
    return {
        "image": image,
        "pass": not (verdict.failing or verdict.unjudged or verdict.objections),
        "counts": {
            "fixable and high": len([f for f in verdict.findings if f.fails]),
            "of them excepted": len([f for f in verdict.allowed if f.fails]),
            "others": len([f for f in verdict.findings if not f.fails]),
            "packages that no source judged": len(verdict.unjudged),
        },
        "sources": [{"name": a.source, "packages": a.asked, "note": a.note} for a in verdict.answers],
        "findings": [{**asdict(f), "excepted": f in verdict.allowed} for f in verdict.findings],
        "unjudged": [f"{p.kind}:{p.name}" for p in verdict.unjudged],
        "exceptions": verdict.objections,
    }


def lines(verdict: Verdict) -> list[str]:
    """For people: who was asked, and what they said."""
    said = []
    for answer in verdict.answers:
        asked = f"{answer.asked} packages" if answer.told else "could not be asked"
        said.append(f"{answer.source}: {asked}{f' ({answer.note})' if answer.note else ''}")
    said += [f"  {f}{' - excepted' if f in verdict.allowed else ''}" for f in verdict.findings]
    return said


def refusals(verdict: Verdict, *, partial: bool) -> list[str]:
    """Why the image must not go on, a sentence each."""
    said = list(verdict.objections)
    if verdict.failing:
        what = ", ".join(sorted({f.package for f in verdict.failing}))
        said.append(
            f"Upgrades would mend {len(verdict.failing)} high findings in {what}: `make lock` for Python, `make "
            "image NO_CACHE=1` for Debian; or name them in delivery/exceptions.yaml, with a reason and an end."
        )
    if verdict.unjudged and not partial:
        kinds = {ECOSYSTEMS.get(p.kind, f"{p.kind} package") for p in verdict.unjudged}
        said.append(
            f"No source has judged {len(verdict.unjudged)} packages ({', '.join(sorted(kinds))}s): run this where "
            "trivy's database can be fetched, or take what was asked for enough, with PARTIAL=1."
        )
    return said


def scan(image: str, platform: str = "") -> Verdict:
    """List an image's packages and have them judged; writes the report. Raises Failure."""
    document = sbom.write(image, platform=platform)["cyclonedx"]
    today = dt.datetime.now(dt.UTC).date()
    verdict = judge(document, SOURCES, today, findings.EXCEPTIONS)
    file = report_file(platform)
    file.write_text(json.dumps(report(image, verdict), indent=2) + "\n", encoding="utf-8")
    return verdict


def run(args: argparse.Namespace) -> int:
    partial = args.partial or switch("PARTIAL", os.environ.get("PARTIAL", ""))
    verdict = scan(args.image, args.platform)
    sys.stdout.write("\n".join([*lines(verdict), f"All of it: {shown(report_file(args.platform))}"]) + "\n")
    if said := refusals(verdict, partial=partial):
        raise Failure("\n".join(said))
    high = len([f for f in verdict.findings if f.fails])
    sys.stdout.write(f"Fixable high findings: {high}{' (all of them excepted)' if high else ''}.\n")
    return 0


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("scan", help="known weaknesses of an image; fails on high ones that can be mended")
    sbom.add_image(parser)
    help_text = "do not fail for packages that no source has judged (default: $PARTIAL)"
    parser.add_argument("--partial", action="store_true", help=help_text)
    parser.set_defaults(run=run)
