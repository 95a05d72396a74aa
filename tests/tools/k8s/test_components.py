"""What a component.yaml may say, and what is said of it."""

from pathlib import Path

import pytest

from k8s import components
from toolkit.process import Failure


def component(folder: Path, text: str) -> Path:
    (folder / "store").mkdir()
    (folder / "store" / components.FILE).write_text(text)
    return folder


def test_ports_have_names_and_numbers_of_their_own() -> None:
    every = [(name, port) for each in components.load() for name, port in each.ports.items()]
    for numbers in ([name for name, _ in every], [port.node for _, port in every], [port.host for _, port in every]):
        assert len(set(numbers)) == len(numbers)
    assert list(components.ports())[:2] == ["http", "https"]


def test_what_is_said_is_read(tmp_path: Path) -> None:
    (found,) = components.load(component(tmp_path, "workloads: {store: [deployment/store]}"))
    assert (found.name, found.workloads) == ("store", {"store": ["deployment/store"]})
    assert [found.definitions, found.optional, found.pulled] == [False, False, False]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("optonal: true", "optonal"),
        ("ports: {store: {node: 70000, host: 1}}", "ports.store.node"),
        ("- a", "store/component.yaml"),
        ("a: b: c", "store/component.yaml"),
    ],
)
def test_what_is_wrong_is_a_sentence(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(Failure) as refused:
        components.load(component(tmp_path, text))
    assert named in str(refused.value)
    assert "component.yaml is wrong" in str(refused.value)
