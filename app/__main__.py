from keel import boot  # isort: skip  # before all other imports, see there

from app.main import SERVICE

boot.main(SERVICE)
