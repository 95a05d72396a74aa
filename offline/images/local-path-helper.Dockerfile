# kindest/local-path-helper: /bin/sh, mkdir and rm, for the pods that make and remove volumes.
FROM debian:trixie-slim
