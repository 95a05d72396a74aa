# quay.io/prometheus/prometheus, from Debian's package (forky has the 3.5 long-term series).
FROM debian:trixie-slim
RUN mirror=$(grep -rhoE 'https?://[^ ]+/debian( |$)' /etc/apt/sources.list /etc/apt/sources.list.d | head -1) \
 && printf 'Types: deb\nURIs: %s\nSuites: forky\nComponents: main\nCheck-Valid-Until: no\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n' $mirror > /etc/apt/sources.list.d/forky.sources \
 && apt-get update && cd /tmp && apt-get download prometheus/forky promtool/forky \
 && dpkg-deb --fsys-tarfile prometheus_3*.deb | tar -x -C / ./usr/bin ./usr/share/prometheus \
 && dpkg-deb --fsys-tarfile promtool_*.deb | tar -x -C / ./usr/bin/promtool \
 && rm -rf /tmp/* /var/lib/apt/lists/* /etc/apt/sources.list.d/forky.sources \
 && mkdir -p /prometheus /etc/prometheus && chown nobody:nogroup /prometheus /etc/prometheus \
 && prometheus --version && promtool --version
USER nobody
WORKDIR /prometheus
EXPOSE 9090
ENTRYPOINT ["/bin/prometheus"]
CMD ["--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/prometheus"]
