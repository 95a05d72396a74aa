# docker.io/library/postgres:17, from Debian's package; see postgres/docker-entrypoint.sh for what it understands.
FROM debian:trixie-slim
RUN --mount=type=bind,source=packages,target=/packages \
    groupadd --gid 999 postgres \
 && useradd --uid 999 --gid 999 --home-dir /var/lib/postgresql --shell /bin/bash postgres \
 && apt-get update && mkdir -p /etc/postgresql-common \
 && printf 'create_main_cluster = false\n' > /etc/postgresql-common/createcluster.conf \
 && apt-get install -y --no-install-recommends postgresql-17 && rm -rf /var/lib/apt/lists/* && sh /packages/hold \
 && mkdir -p /var/lib/postgresql/data /docker-entrypoint-initdb.d /var/run/postgresql \
 && chown -R postgres:postgres /var/lib/postgresql /var/run/postgresql && chmod 3777 /var/run/postgresql \
 && chmod 1777 /var/lib/postgresql/data \
 && sed -i "s/^#\?listen_addresses.*/listen_addresses = '*'/" /usr/share/postgresql/17/postgresql.conf.sample
ENV PATH=$PATH:/usr/lib/postgresql/17/bin LANG=C.UTF-8 PG_MAJOR=17 PGDATA=/var/lib/postgresql/data
VOLUME ["/var/lib/postgresql/data"]
COPY --chmod=0755 postgres/docker-entrypoint.sh /usr/local/bin/
EXPOSE 5432
STOPSIGNAL SIGINT
ENTRYPOINT ["docker-entrypoint.sh"]
CMD ["postgres"]
