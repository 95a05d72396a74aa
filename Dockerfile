# The service's image: a Python from Debian's packages, the locked dependencies, the app, and nothing else: no shell,
# no package manager. Built the same way where an image registry answers and where the base image was made here.
# Same inputs, same digest: build with SOURCE_DATE_EPOCH and rewrite-timestamp=true (`make image` does).

FROM debian:trixie-slim AS rootfs
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
# What CPython and the compiled dependencies need to run; gcc-14-base has the licence of libgcc and libstdc++.
ARG PACKAGES="base-files netbase ca-certificates libc6 gcc-14-base libgcc-s1 zlib1g libbz2-1.0 liblzma5 libffi8 libexpat1 libssl3t64 libsqlite3-0 \
    libstdc++6 libuuid1 libzstd1 python3.13-minimal libpython3.13-minimal libpython3.13-stdlib"
WORKDIR /packages
# No versions: stable's packages change only to mend security holes, and those are wanted.
RUN apt-get update \
 # Recorded where scanners look for packages of an image without dpkg.
 && mkdir -p /rootfs/var/lib/dpkg/status.d /rootfs/tmp && chmod 1777 /rootfs/tmp \
 && read -ra names <<<"$PACKAGES" && apt-get download "${names[@]}" \
 && for package in *.deb; do \
      dpkg --extract "$package" /rootfs; \
      dpkg-deb --field "$package" > "/rootfs/var/lib/dpkg/status.d/$(dpkg-deb --field "$package" Package)"; \
    done \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /rootfs
# The authorities in one file, as the package's own script would make it, and the link by which OpenSSL finds it.
RUN cat usr/share/ca-certificates/mozilla/*.crt > etc/ssl/certs/ca-certificates.crt \
 && mkdir usr/lib/ssl && ln -s /etc/ssl/certs/ca-certificates.crt usr/lib/ssl/cert.pem \
 && rm -r usr/share/ca-certificates etc/ca-certificates usr/sbin/update-ca-certificates \
 && printf 'root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/tmp:/sbin/nologin\n' > etc/passwd \
 && printf 'root:x:0:\nnonroot:x:65532:\n' > etc/group \
 && ln -s python3.13 usr/bin/python3 \
 # Parts of the standard library that a service never imports, and papers (licences stay).
 && rm -rf usr/lib/python3.13/{_pyrepl,ensurepip,idlelib,lib2to3,pydoc_data,test,tkinter,turtledemo,unittest,venv} \
    usr/lib/python3.13/{doctest,pdb,pydoc,turtle}.py \
 && rm -rf usr/share/{man,locale,info,lintian,bug,base-files,binfmts,applications,pixmaps} usr/lib/valgrind etc/{init.d,binfmt.d} \
 # Python brings its own codecs.
 && rm -rf usr/lib/*-linux-gnu/gconv \
    usr/lib/python3.13/lib-dynload/*test* usr/lib/python3.13/lib-dynload/{_curses,_dbm,_gdbm,readline,xx}* \
 # The standard library goes its own way, into a layer of its own.
 && mv usr/lib/python3.13 /stdlib \
 # One package's copyright may be a link to another's.
 && find usr/share/doc -type f ! -regex 'usr/share/doc/[^/]*/copyright' -delete \
 && find usr/share/doc -xtype l -delete && find usr/share/doc -type d -empty -delete \
 && for package in var/lib/dpkg/status.d/*; do \
      [ -s "usr/share/doc/${package##*/}/copyright" ] || { echo "${package##*/} comes without its licence: add the package that has it" >&2; exit 1; }; \
    done

FROM debian:trixie-slim AS app
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends binutils ca-certificates python3.13 python3-pip \
 && rm -rf /var/lib/apt/lists/*
COPY requirements/app.txt /requirements.txt
# The secret "ca" holds the certificate authorities of a network that opens TLS; elsewhere there is none.
# hadolint ignore=DL3042
RUN --mount=type=secret,id=ca --mount=type=cache,target=/root/.cache/pip \
    if [ -s /run/secrets/ca ]; then export PIP_CERT=/run/secrets/ca; fi; \
    python3.13 -m pip install --require-hashes --no-deps --only-binary=:all: --no-compile --break-system-packages \
      --root-user-action=ignore --target=/site -r /requirements.txt \
 # Nothing may be missing. An environment of its own sees /site alone, and none of Debian's packages.
 && python3.13 -m venv --without-pip /check \
 && PYTHONPATH=/site python3.13 -m pip --python=/check/bin/python check \
 && find /site -name '*.so' -exec strip --strip-unneeded {} + \
 # What is for compilers and type checkers, tests of the dependencies, and command-line wrappers.
 && find /site \( -name '*.c' -o -name '*.h' -o -name '*.pyx' -o -name '*.pxd' -o -name '*.pxi' -o -name '*.pyi' -o -name '*.proto' -o -name '*.[ch]pp' \) -delete \
 && find /site -depth -type d \( -name tests -o -path "*/sqlalchemy/testing" -o -path "*/alembic/testing" \) -exec rm -rf {} + \
 # Other ways to use WebSockets than asyncio's; the server takes the protocol alone.
 && rm -rf /site/bin /site/websockets/{legacy,sync,trio}
COPY kit/keel /srv/keel
COPY app /srv/app
COPY --from=rootfs /stdlib /stdlib
# Compiled here, as a read-only file system keeps no cache; by hash, so that the result does not depend on dates.
# The standard library stays without its sources: a trace names its lines all the same.
RUN export PYTHONHASHSEED=0 \
 && find /srv /site /stdlib -name __pycache__ -prune -exec rm -rf {} + \
 # Databases that the kit knows nothing of.
 && for each in /site/sqlalchemy/dialects/*/; do [ -e "/srv/keel/dialects/$(basename "$each").py" ] || rm -rf "$each"; done \
 && python3.13 -m compileall -q -j 0 --invalidation-mode unchecked-hash -s /srv -p /srv /srv \
 && python3.13 -m compileall -q -j 0 --invalidation-mode unchecked-hash -s /site -p /usr/local/lib/python3.13/dist-packages /site \
 && python3.13 -m compileall -q -j 0 --invalidation-mode unchecked-hash -s /stdlib -p /usr/lib/python3.13 -b /stdlib \
 && find /stdlib -name '*.py' -delete

FROM scratch
COPY --from=rootfs /rootfs/ /
COPY --from=app /stdlib /usr/lib/python3.13
COPY --from=app /site /usr/local/lib/python3.13/dist-packages
COPY --from=app /srv /srv
ENV PATH=/usr/bin LANG=C.UTF-8 PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 APP_HOST=::
LABEL org.opencontainers.image.licenses=Apache-2.0
WORKDIR /srv
USER 65532:65532
EXPOSE 8000 9000
ENTRYPOINT ["/usr/bin/python3.13", "-m", "app"]
CMD ["serve"]
