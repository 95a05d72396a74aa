# quay.io/prometheus/alertmanager, of the programs that Debian or the Go module gave.
FROM debian:trixie-slim
COPY --chmod=0755 bin/ /usr/bin/
# Where Debian's looks for them; the other one has them inside.
COPY upstream/template/default.tmpl upstream/template/email.tmpl /usr/share/prometheus/alertmanager/
RUN mkdir -p /alertmanager /etc/alertmanager && chown nobody:nogroup /alertmanager /etc/alertmanager \
 && alertmanager --version && amtool --version
USER nobody
WORKDIR /alertmanager
EXPOSE 9093
ENTRYPOINT ["/bin/alertmanager"]
CMD ["--config.file=/etc/alertmanager/alertmanager.yml", "--storage.path=/alertmanager"]
