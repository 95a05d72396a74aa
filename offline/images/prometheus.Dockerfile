# quay.io/prometheus/prometheus, of the programs that Debian or the Go module gave.
FROM debian:trixie-slim
COPY --chmod=0755 bin/ /usr/bin/
RUN mkdir -p /prometheus /etc/prometheus && chown nobody:nogroup /prometheus /etc/prometheus \
 && prometheus --version && promtool --version
USER nobody
WORKDIR /prometheus
EXPOSE 9090
ENTRYPOINT ["/bin/prometheus"]
CMD ["--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/prometheus"]
