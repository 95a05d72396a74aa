# docker.io/balabit/syslog-ng, from Debian's package.
FROM debian:trixie-slim
RUN mirror=$(grep -rhoE 'https?://[^ ]+/debian( |$)' /etc/apt/sources.list /etc/apt/sources.list.d | head -1) \
 && printf 'Types: deb\nURIs: %s\nSuites: forky\nComponents: main\nCheck-Valid-Until: no\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n' $mirror > /etc/apt/sources.list.d/forky.sources \
 && apt-get update \
 && apt-get install -y --no-install-recommends -t forky syslog-ng-core syslog-ng-mod-http \
 && rm -rf /var/lib/apt/lists/* /etc/apt/sources.list.d/forky.sources \
 && syslog-ng --version
ENTRYPOINT ["/usr/sbin/syslog-ng", "-F"]
