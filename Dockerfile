# The program and its site. Built as anywhere else, and with TLS for Kafka: `cargo xtask build --kafka-tls`.
FROM rust:1.95-bookworm AS build
RUN rustup target add wasm32-unknown-unknown
WORKDIR /source
COPY . .
RUN cargo xtask build --kafka-tls

FROM debian:bookworm-slim
RUN apt-get update && apt-get install --yes --no-install-recommends ca-certificates curl libssl3 && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 rantai && install --directory --owner rantai /data /keys
COPY --from=build /source/target/release/rantai /usr/local/bin/rantai
COPY --from=build /source/target/site /usr/local/site
USER rantai
ENTRYPOINT ["rantai"]
CMD ["serve"]
