# The distribution registry, from Debian's package, laid out like docker.io/library/registry.
FROM debian:trixie-slim
RUN --mount=type=bind,source=packages,target=/packages apt-get update \
 && apt-get install -y --no-install-recommends docker-registry && rm -rf /var/lib/apt/lists/* && sh /packages/hold \
 && printf '#!/bin/sh\nset -e\ncase "$1" in *.yaml|*.yml) set -- docker-registry serve "$@" ;; serve|garbage-collect|help|-*) set -- docker-registry "$@" ;; esac\nexec "$@"\n' > /entrypoint.sh \
 && chmod 755 /entrypoint.sh \
 && printf 'version: 0.1\nlog: {level: warn}\nstorage: {filesystem: {rootdirectory: /var/lib/registry}, delete: {enabled: true}}\nhttp: {addr: ":5000"}\n' > /etc/docker/registry/config.yml
VOLUME ["/var/lib/registry"]
EXPOSE 5000
ENTRYPOINT ["/entrypoint.sh"]
CMD ["/etc/docker/registry/config.yml"]
