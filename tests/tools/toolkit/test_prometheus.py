"""What Prometheus answers, and what only looks like it."""

import pytest

from toolkit.ports import free_port
from toolkit.process import Failure
from toolkit.prometheus import Prometheus, result


def test_the_series_of_an_answer() -> None:
    series = [{"metric": {"pod": "a"}, "value": [0, "1"]}]
    assert result('{"status": "success", "data": {"result": [{"metric": {"pod": "a"}, "value": [0, "1"]}]}}') == series


@pytest.mark.parametrize("text", ["", "<html>", "[]", '{"data": {}}', '{"data": null}'])
def test_what_is_no_answer_is_a_sentence(text: str) -> None:
    with pytest.raises(Failure, match="no Prometheus"):
        result(text)


def test_one_that_is_away_is_a_sentence() -> None:
    with Prometheus(f"http://127.0.0.1:{free_port()}") as prometheus, pytest.raises(Failure, match="does not answer"):
        prometheus.query("vector(1)")
