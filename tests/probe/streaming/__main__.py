from keel import boot  # isort: skip  # before all other imports: it says why

from tests.probe.streaming.main import SERVICE

boot.main(SERVICE)
