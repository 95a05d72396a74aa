import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.rehearsal import network
from tests.rehearsal.machine import Machine

DEVELOPER = {
    "APP_DATABASE_URL": "sqlite://",
    "DOCKER_HOST": "unix:///run/elsewhere.sock",
    "GOFLAGS": "-mod=vendor",
    "HOME": "/home/developer",
    "LANG": "de_DE.UTF-8",
    "PATH": "/home/developer/.local/bin:/usr/bin",
    "PIP_FIND_LINKS": "/opt/wheels",
    "PYTHONPATH": "/home/developer/python",
    "SHIPSHAPE_CACHE": "/var/cache/shipshape",
    "VIRTUAL_ENV": "/home/developer/.venv",
    "XDG_CACHE_HOME": "/var/cache",
}
CERTIFICATES = [f"-----BEGIN CERTIFICATE-----\n{name}\n-----END CERTIFICATE-----\n" for name in "abc"]


def test_no_variable_of_the_developers_passes() -> None:
    assert network.environment(DEVELOPER) == network.NEW
    assert not set(network.NEW.values()) & set(DEVELOPER.values())


def test_the_networks_proxies_pass() -> None:
    proxies = {"https_proxy": "http://proxy.example.com:3128", "NO_PROXY": "localhost"}
    assert network.environment({**DEVELOPER, **proxies, "HTTP_PROXY": ""}) == {**network.NEW, **proxies}


def test_a_command_of_the_newcomers_has_these_variables_and_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in DEVELOPER.items():
        if name != "PATH":
            monkeypatch.setenv(name, value)
    argv = Machine("machine", network.environment(os.environ)).command("env")
    inside = argv[argv.index("machine") + 1 :]
    said = subprocess.run(inside, capture_output=True, text=True, check=True).stdout
    assert dict(line.split("=", 1) for line in said.splitlines()) == network.environment(os.environ)


def pip(*arguments: str, config: Path, **variables: str) -> str:
    """What this pip says, with one file of configuration and these variables."""
    env = {"PATH": os.environ["PATH"], "HOME": "/nowhere", "PIP_CONFIG_FILE": str(config), **variables}
    argv = [sys.executable, "-m", "pip", *arguments]
    return subprocess.run(argv, capture_output=True, text=True, check=True, env=env).stdout


def test_pip_is_told_where_the_networks_index_is_and_nothing_else(tmp_path: Path) -> None:
    host, new = tmp_path / "host.conf", tmp_path / "new.conf"
    host.write_text(
        "[global]\n"
        "index-url = https://old.example.com/simple\n"
        "extra-index-url = https://one.example.com/50%25\n    https://two.example.com\n"
        "find-links = /opt/wheels\n"
        "[install]\nno-binary = :all:\n"
    )
    listing = pip("config", "list", config=host, PIP_INDEX_URL="https://new.example.com/simple", PIP_NO_DEPS="1")
    settings = network.pip_config(listing)
    assert list(settings) == ["index-url", "extra-index-url"]
    new.write_text(network.pip_conf(settings))
    read = network.pip_config(pip("config", "list", config=new))
    assert read["index-url"] == "https://new.example.com/simple"
    assert read["extra-index-url"].split() == ["https://one.example.com/50%25", "https://two.example.com"]


def test_a_pip_that_is_not_set_up_needs_nothing() -> None:
    assert network.pip_config("") == {}
    assert network.pip_config(":env:.find-links='/opt/wheels'\nglobal.cert='/etc/ssl/own.pem'\n") == {}


def test_a_variable_overrules_a_file_wherever_pip_lists_it() -> None:
    lines = ["global.proxy='http://file.example.com'", ":env:.proxy='http://variable.example.com'"]
    for listing in (lines, lines[::-1]):
        assert network.pip_config("\n".join(listing)) == {"proxy": "http://variable.example.com"}


def test_go_is_told_of_the_networks_proxy_and_not_of_the_developers_flags(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOENV", str(tmp_path / "env"))
    for name in network.GO:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GOFLAGS", "-mod=mod")
    assert network.host_go_config() == {}
    (tmp_path / "env").write_text("GOPROXY=https://go.example.com\n")
    assert network.host_go_config() == {"GOPROXY": "https://go.example.com"}


def test_only_the_networks_own_authorities_are_brought_along() -> None:
    host, new = "# of the host\n" + "".join(CERTIFICATES), "".join(CERTIFICATES[:2])
    assert network.more_authorities(host, new) == CERTIFICATES[2:]
    assert network.more_authorities(new, host) == []
    assert network.more_authorities("", new) == []
