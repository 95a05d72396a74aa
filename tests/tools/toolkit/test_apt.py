from collections.abc import Callable
from pathlib import Path

import pytest

from toolkit import apt
from toolkit.process import Failure

KEY = "/usr/share/keyrings/debian-archive-keyring.gpg"
ONE_LINE = f"""\
# See sources.list(5)
deb http://mirror.example.com/debian trixie main
deb-src http://mirror.example.com/debian trixie main
deb [signed-by={KEY}] https://security.example.com/debian-security/ trixie-security main
"""
DEB822 = """\
Types: deb deb-src
URIs: http://mirror.example.com/debian
Suites: trixie trixie-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: https://security.example.com/debian-security/
Suites: trixie-security
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
"""
BOTH = {"debian": "http://mirror.example.com/debian", "debian-security": "https://security.example.com/debian-security"}


@pytest.fixture
def etc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Writes a file of /etc/apt, the test's own."""
    monkeypatch.setattr(apt, "SOURCE_LIST", tmp_path / "apt" / "sources.list")
    monkeypatch.setattr(apt, "SOURCE_PARTS", tmp_path / "apt" / "sources.list.d")

    def write(name: str, text: str) -> None:
        file = tmp_path / "apt" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    return write


def test_one_line_a_source(etc: Callable[[str, str], None]) -> None:
    etc("sources.list", ONE_LINE)
    assert apt.mirrors() == BOTH


def test_deb822(etc: Callable[[str, str], None]) -> None:
    etc("sources.list.d/debian.sources", DEB822)
    assert apt.mirrors() == BOTH


def test_a_last_line_without_an_end(etc: Callable[[str, str], None]) -> None:
    etc(
        "sources.list.d/debian.sources",
        "Types: deb\nSuites: trixie\nComponents: main\nURIs: http://a.example.com/debian",
    )
    assert apt.mirrors() == {"debian": "http://a.example.com/debian"}


def test_the_first_source_counts(etc: Callable[[str, str], None]) -> None:
    etc("sources.list", ONE_LINE)
    etc("sources.list.d/another.sources", DEB822.replace("mirror.example.com", "another.example.com"))
    assert apt.mirrors() == BOTH


def test_a_path_above_the_archive(etc: Callable[[str, str], None]) -> None:
    etc("sources.list", "deb http://ftp.example.com/pub/linux/debian/ trixie main\n")
    assert apt.mirrors() == {"debian": "http://ftp.example.com/pub/linux/debian"}


@pytest.mark.parametrize("name", ["sources.list", "sources.list.d/debian.sources"])
def test_what_is_commented_out_does_not_count(etc: Callable[[str, str], None], name: str) -> None:
    etc(name, "# deb http://old.example.com/debian bookworm main\n#URIs: http://old.example.com/debian\n")
    etc("sources.list.d/zz.list", ONE_LINE)
    assert apt.mirrors() == BOTH


@pytest.mark.parametrize(
    "name", ["sources.list.d/a.sources.bak", "sources.list.d/a.list.save", "sources.list.d/README"]
)
def test_what_apt_does_not_read_does_not_count(etc: Callable[[str, str], None], name: str) -> None:
    etc(name, ONE_LINE.replace("mirror", "old"))
    etc("sources.list.d/debian.sources", DEB822)
    assert apt.mirrors() == BOTH


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "caddy.list",
            "deb [signed-by=/usr/share/keyrings/caddy.gpg] https://caddy.example.com/deb/debian any-version main\n",
        ),
        (
            "caddy.list",
            "deb [arch=amd64 signed-by=/etc/apt/keyrings/d.asc] https://d.example.com/linux/debian trixie stable\n",
        ),
        (
            "caddy.sources",
            "Types: deb\nURIs: https://c.example.com/debian\nSuites: trixie\nComponents: main\nSigned-By: /k.gpg\n",
        ),
    ],
)
def test_another_vendor_s_archive_is_not_debian_s(etc: Callable[[str, str], None], name: str, text: str) -> None:
    """Many are called debian as well; their packages are signed by keys of their own."""
    etc(f"sources.list.d/{name}", text)
    etc("sources.list.d/debian.sources", DEB822)
    assert apt.mirrors() == BOTH


def test_no_archive_is_a_sentence(etc: Callable[[str, str], None]) -> None:
    etc("sources.list", "deb http://archive.example.com/ubuntu noble main\n")
    with pytest.raises(Failure, match=r"No Debian archive.*is this Debian"):
        apt.mirrors()


@pytest.mark.parametrize("suite", ["bookworm", "trixie"])
def test_sources_of_a_released_suite_have_its_updates(etc: Callable[[str, str], None], suite: str) -> None:
    etc("sources.list", ONE_LINE)
    options = "[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg check-valid-until=no]"
    assert apt.sources(suite) == [
        f"deb {options} http://mirror.example.com/debian {suite} main",
        f"deb {options} http://mirror.example.com/debian {suite}-updates main",
        f"deb {options} https://security.example.com/debian-security {suite}-security main",
    ]
    assert apt.sources("forky") == [f"deb {options} http://mirror.example.com/debian forky main"]


def test_an_archive_without_security_updates_has_none(etc: Callable[[str, str], None]) -> None:
    etc("sources.list", "deb http://mirror.example.com/debian trixie main\n")
    assert len(apt.sources("trixie")) == 2


def test_only_what_is_missing_is_installed(
    stand_in: Callable[[str, str], None], calls: Callable[[], list[str]]
) -> None:
    stand_in("dpkg-query", 'case "$3" in runc) printf installed ;; removed) printf config-files ;; *) exit 1 ;; esac')
    stand_in("apt-get", "")
    apt.install(["runc"])
    assert not [c for c in calls() if c.startswith("apt-get")]
    apt.install(["runc", "removed", "iptables"])
    update, install = [c for c in calls() if c.startswith("apt-get")]
    assert update.split()[-1] == "update"
    assert all("Acquire::Retries=" in call and "Acquire::http::Timeout=" in call for call in (update, install))
    assert install.endswith("--no-install-recommends removed iptables")
