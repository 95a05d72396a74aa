# quay.io/prometheus/alertmanager, from Debian's package.
FROM debian:trixie-slim
RUN mirror=$(grep -rhoE 'https?://[^ ]+/debian( |$)' /etc/apt/sources.list /etc/apt/sources.list.d | head -1) \
 && printf 'Types: deb\nURIs: %s\nSuites: forky\nComponents: main\nCheck-Valid-Until: no\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n' $mirror > /etc/apt/sources.list.d/forky.sources \
 && apt-get update && cd /tmp && apt-get download prometheus-alertmanager/forky \
 && dpkg-deb --fsys-tarfile prometheus-alertmanager_*.deb | tar -x -C / ./usr/bin ./usr/share/prometheus \
 && ln -s prometheus-alertmanager /usr/bin/alertmanager \
 && rm -rf /tmp/* /var/lib/apt/lists/* /etc/apt/sources.list.d/forky.sources \
 && mkdir -p /alertmanager /etc/alertmanager && chown nobody:nogroup /alertmanager /etc/alertmanager \
 && alertmanager --version
USER nobody
WORKDIR /alertmanager
EXPOSE 9093
ENTRYPOINT ["/bin/alertmanager"]
CMD ["--config.file=/etc/alertmanager/alertmanager.yml", "--storage.path=/alertmanager"]
