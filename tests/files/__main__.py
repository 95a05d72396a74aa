from keel import boot  # isort: skip  # before all other imports: it says why

from tests.files.main import SERVICE

boot.main(SERVICE)
