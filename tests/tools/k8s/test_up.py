from unittest.mock import Mock

import pytest

from k8s import up
from offline.image_build import Built
from offline.sources import Source
from toolkit import versions
from toolkit.progress import Progress


@pytest.mark.parametrize("mended", [True, False])
def test_ports_are_looked_at_again_once_something_serves_them(
    monkeypatch: pytest.MonkeyPatch, progress: Progress, mended: bool
) -> None:
    """Before, a port that leads nowhere cannot be told from one behind which nothing runs."""
    done = Mock()
    done.survey.return_value = versions.load(), Source.BUILD
    done.build_image.return_value = Built("shipshape.local/links", "sha256:0")
    done.Cluster.return_value.mend.return_value = mended
    for name in ("survey", "provide", "Cluster", "Platform", "LocalRelease", "build_image"):
        monkeypatch.setattr(up, name, getattr(done, name))
    up.up("mine", {}, 5001, progress)
    order = [name for name, *_ in done.mock_calls if name.endswith((".wait", ".mend", ".wait_served"))]
    again = ["Platform().wait"] if mended else []
    assert order == ["Platform().wait", "Cluster().mend", *again, "LocalRelease().wait_served"]
    done.LocalRelease.return_value.deploy.assert_called_once_with(done.build_image.return_value)
