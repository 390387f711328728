# The operator alone, without shell or packages. Build: docker build -t lync-mirror:0.1.0 .
# Two builds of a commit are identical with the same base image and Debian packages; docs/supply-chain.md.
FROM docker.io/library/rust:1.95-bookworm@sha256:6258907abe69656e41cd992e0b705cdcfabcbbe3db374f92ed2d47121282d4a1 AS build
RUN apt-get -o Acquire::Retries=3 update \
    && apt-get -o Acquire::Retries=3 install -y --no-install-recommends ca-certificates libclang-dev libkrb5-dev libssl-dev pkg-config \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
# No path of the build is in the binary: the folder of the crates depends on the registry.
RUN set -eu; \
    cargo fetch --locked; \
    flags=--remap-path-prefix=/src=/lync-mirror; \
    for crates in "$CARGO_HOME"/registry/src/*; do flags="$flags --remap-path-prefix=$crates=/crates"; done; \
    RUSTFLAGS="$flags" cargo build --release --locked --bin lync-mirror

# The libraries that the binary loads, and the loader, each at the path where the loader searches. For scanners, status.d
# names the Debian package of each file, as in distroless images. Their licenses and those of the crates are in
# /usr/share/doc.
ARG SOURCE_DATE_EPOCH=0
RUN set -eu; \
    packages=/image/var/lib/dpkg/status.d; \
    mkdir -p /image/etc/ssl/certs "$packages"; \
    deploy/licenses /image/usr/share/doc/lync-mirror/licenses; \
    record() { \
        mkdir -p "/image/usr/share/doc/$1"; \
        cp -L "/usr/share/doc/$1/copyright" "/image/usr/share/doc/$1/copyright"; \
        dpkg-query --status "$1" >"$packages/$1"; \
        (cd /image && md5sum "${2#/}") >>"$packages/$1.md5sums"; \
    }; \
    cp target/release/lync-mirror /image/lync-mirror; \
    ldd /image/lync-mirror | grep -o '/[^ ]*' | sort -u | while read -r library; do \
        mkdir -p "/image$(dirname "$library")"; \
        cp -L "$library" "/image$library"; \
        package=$(dpkg-query --search "$library" 2>/dev/null || dpkg-query --search "/usr$library"); \
        record "${package%%:*}" "$library"; \
    done; \
    cp -L /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/ca-certificates.crt; \
    record ca-certificates /etc/ssl/certs/ca-certificates.crt; \
    echo 'lync-mirror:x:65532:65532::/:/sbin/nologin' >/image/etc/passwd; \
    echo 'lync-mirror:x:65532:' >/image/etc/group; \
    echo 'hosts: files dns' >/image/etc/nsswitch.conf; \
    chroot /image /lync-mirror version; \
    find /image -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +

FROM scratch
COPY --from=build --chown=0:0 /image /
ARG REVISION=unknown
LABEL org.opencontainers.image.title="lync-mirror" \
    org.opencontainers.image.description="Kubernetes operator for the principal of mirrored Lync databases" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.version="0.1.0" \
    org.opencontainers.image.revision="$REVISION"
# The memory that the start of many resources needs is given back. docs/benchmarks.md has the values with and without these settings.
ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt \
    MALLOC_ARENA_MAX=1 \
    MALLOC_TRIM_THRESHOLD_=65536
USER 65532:65532
EXPOSE 8080 8443
ENTRYPOINT ["/lync-mirror"]
CMD ["run"]
