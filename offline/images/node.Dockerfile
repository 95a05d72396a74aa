# kindest/node from Debian packages, kind's own files (upstream/, from its Go module) and Kubernetes built from source.
# Unlike upstream's it holds no images: the nodes get those from the local registry.
FROM debian:trixie-slim
# Kubernetes 1.36 wants containerd 2, which Debian has from forky on. The mirror is the one this image already uses.
RUN --mount=type=bind,source=packages,target=/packages \
    mirror=$(grep -rhoE 'https?://[^ ]+/debian( |$)' /etc/apt/sources.list /etc/apt/sources.list.d | head -1) \
 && printf 'Types: deb\nURIs: %s\nSuites: forky\nComponents: main\nCheck-Valid-Until: no\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n' $mirror > /etc/apt/sources.list.d/forky.sources \
 && printf 'Package: *\nPin: release n=forky\nPin-Priority: 100\n' > /etc/apt/preferences.d/forky \
 && export DEBIAN_FRONTEND=noninteractive && apt-get update \
 && apt-get install -y --no-install-recommends systemd conntrack iptables nftables iproute2 ethtool util-linux mount kmod \
      libseccomp2 pigz fuse-overlayfs e2fsprogs bash ca-certificates curl jq procps \
 && apt-get install -y --no-install-recommends -t forky containerd runc containernetworking-plugins \
 && rm -rf /var/lib/apt/lists/* && sh /packages/hold
# After the packages: dpkg would ask about containerd's config.toml otherwise.
COPY upstream/images/base/files/ /
COPY --chmod=0755 bin/ /usr/bin/
COPY node/ /kind/manifests/
COPY upstream/pkg/build/nodeimage/const_storage.go /tmp/
RUN chmod 755 /usr/local/bin/* /kind /kind/bin /kind/bin/* \
 && find /etc/systemd/system /etc/containerd /etc/default /etc/sysctl.d -type f -exec chmod 644 {} + \
 && find /lib/systemd/system/sysinit.target.wants/ -name systemd-tmpfiles-setup.service -delete \
 && rm -f /lib/systemd/system/multi-user.target.wants/* /etc/systemd/system/*.wants/* /lib/systemd/system/local-fs.target.wants/* \
      /lib/systemd/system/sockets.target.wants/*udev* /lib/systemd/system/sockets.target.wants/*initctl* /lib/systemd/system/basic.target.wants/* \
 && echo ReadKMsg=no >> /etc/systemd/journald.conf && ln -sf /usr/lib/systemd/systemd /sbin/init \
 && systemctl enable kubelet.service containerd.service undo-mount-hacks.service && systemctl mask systemd-binfmt.service \
 && mkdir -p /etc/kubernetes/manifests /opt/cni/bin && cp -a /usr/lib/cni/. /opt/cni/bin/ \
 && for b in containerd ctr containerd-shim-runc-v2; do ln -sf /usr/bin/$b /usr/local/bin/$b; done \
 && ctr oci spec | jq '.hooks.createContainer[0] = {"path": "/kind/bin/mount-product-files.sh"} | del(.process.rlimits)' > /etc/containerd/cri-base.json \
 && kubelet --version | cut -d' ' -f2 | tr -d '\n' > /kind/version
# The storage manifest is a constant in kind's source, with two image names spliced in.
RUN name() { sed -n "s/^const $1 = \"\(.*\)\"/\1/p" /tmp/const_storage.go; } \
 && sed -n '/^const defaultStorageManifest = `/,/^`$/p' /tmp/const_storage.go | sed -e '1d;$d' \
      -e "s#\` + storageProvisionerImage + \`#$(name storageProvisionerImage)#" \
      -e "s#\` + storageHelperImage + \`#$(name storageHelperImage)#" > /kind/manifests/default-storage.yaml \
 && ! grep -n '`' /kind/manifests/default-storage.yaml && rm /tmp/const_storage.go
ENV container=docker
STOPSIGNAL SIGRTMIN+3
ENTRYPOINT ["/usr/local/bin/entrypoint", "/sbin/init"]
