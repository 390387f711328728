# Verbs for people. `make test` is what CI runs.
.PHONY: test demo bench prove prove-deep soak fuzz test-clients test-grammar generate lint doc

# Everything, ring by ring; installs or builds what it needs, or stops with one clear line.
test:
	@tests/run

# The whole story on this machine; ONCE=1 plays it without a person.
demo:
	@tests/demo

# Figures of the release build: memory, latencies, ratios. See docs/benchmarks.md.
bench:
	cargo build --release --locked --bin lync-mirror
	LYNC_MIRROR_BINARY=$(CURDIR)/target/release/lync-mirror cargo test --locked --test bench

# The planner in every reachable interleaving, within bounds, and the operator killed at points of its life; the deep one
# searches further and kills it at every point (about 20 minutes).
prove:
	cargo test --locked --test prove --test points -- --nocapture

prove-deep:
	LYNC_MIRROR_PROVE=2000000 cargo test --release --locked --test prove -- --nocapture
	LYNC_MIRROR_POINTS=all cargo test --locked --test points -- --nocapture

# Ten pairs, a hundred resources, minutes of faults by the dice (LYNC_MIRROR_SEED tells a run again), then all must be Ready.
soak:
	LYNC_MIRROR_SOAK=$${LYNC_MIRROR_SOAK:-90} cargo test --locked --test soak -- --nocapture

# Answers and requests that are nearly right, tens of thousands, through the client and the simulated server.
fuzz:
	LYNC_MIRROR_FUZZ=$${LYNC_MIRROR_FUZZ:-60000} cargo test --locked --test hostile -- --nocapture

# FreeTDS, Microsoft's ODBC driver, pymssql and python-tds use the simulated pair; prints client x check x mode.
test-clients:
	tests/clients/run

# Microsoft's parsers of SQL Server 2008 R2, 2012 and 2014 read every statement that can be sent.
test-grammar:
	cargo test --locked --test grammar -- --show-output

lint:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings

doc:
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked

# Writes the files that are printed by the binary: the CRD, its copy in the chart, and the reference.
generate:
	cargo run --quiet --locked -- crd > crds/lyncpoolmirrors.yaml
	cp crds/lyncpoolmirrors.yaml charts/lync-mirror/files/lyncpoolmirrors.yaml
	cargo run --quiet --locked -- reference > docs/reference/lyncpoolmirror.md
