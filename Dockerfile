# The operator alone, without shell or packages. Build: docker build -t lync-mirror:0.1.0 .
FROM docker.io/library/rust:1.95-bookworm AS build
RUN apt-get -o Acquire::Retries=3 update \
    && apt-get -o Acquire::Retries=3 install -y --no-install-recommends ca-certificates libclang-dev libkrb5-dev libssl-dev pkg-config \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN cargo build --release --locked --bin lync-mirror

# The libraries that the binary loads, and the loader, each at the path where the loader searches.
RUN set -eu; \
    mkdir -p /image/etc/ssl/certs; \
    cp target/release/lync-mirror /image/lync-mirror; \
    ldd /image/lync-mirror | grep -o '/[^ ]*' | sort -u | while read -r library; do \
        mkdir -p "/image$(dirname "$library")"; \
        cp -L "$library" "/image$library"; \
    done; \
    cp -L /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/ca-certificates.crt; \
    echo 'lync-mirror:x:65532:65532::/:/sbin/nologin' >/image/etc/passwd; \
    echo 'lync-mirror:x:65532:' >/image/etc/group; \
    echo 'hosts: files dns' >/image/etc/nsswitch.conf; \
    chroot /image /lync-mirror version

FROM scratch
COPY --from=build /image /
ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/lync-mirror"]
CMD ["run"]
