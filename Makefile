# Verbs for people. `make test` is what CI runs.
.PHONY: test generate lint doc unit rings

# Everything, ring by ring; installs or builds what it needs, or stops with one clear line.
test:
	@tests/run

lint:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings

doc:
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked

# Writes the files that are printed by the binary: the CRD and its copy in the chart.
generate:
	cargo run --quiet --locked -- crd > crds/lyncpoolmirrors.yaml
	cp crds/lyncpoolmirrors.yaml charts/lync-mirror/files/lyncpoolmirrors.yaml
