# Developer targets. `make` alone lists them. CI runs `make test`.
.DEFAULT_GOAL := help
.PHONY: help check test demo try bench prove prove-deep mutants mutants-diff reproduce soak edits churn fuzz tenants test-clients test-grammar generate lint doc

help: ## Lists the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# Needs neither root nor network after the first build. CONTRIBUTING.md describes this inner loop.
check: lint ## Runs the inner loop: lint, unit tests, dependency rules, model check; no root, no network
	cargo test --locked --lib
	cargo test --locked --test contract -- architecture:: documents:: imports:: words::
	cargo test --locked --test model_check

lint: ## Checks formatting and clippy
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	cargo clippy --test bench --locked -- -D warnings

doc: ## Builds the API documentation; warnings are errors
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked

# UPDATE_EXPECT makes expect-test rewrite its files. The order matters: the chart contains the CRD, install.yaml is rendered from the chart, and the
# transcripts need a running operator.
generate: ## Regenerates every generated file: CRD, reference, install.yaml, SQL statements, transcripts, snapshots
	cargo run --quiet --locked --package xtask -- generate
	PATH="$$(tests/control-plane/binaries):$$PATH" deploy/render
	UPDATE_EXPECT=1 cargo test --locked --lib
	UPDATE_EXPECT=1 cargo test --locked --test e2e scenarios:: -- --nocapture

demo: ## Runs the demo on this machine and waits for Ctrl-C; ONCE=1 ends without waiting
	@tests/demo

try: ## Shows the verbs without Kubernetes against a simulated pair and waits for Ctrl-C; ONCE=1 ends without waiting
	@tests/try

test: ## Runs every test suite; installs or builds what is missing on Debian as root
	@tests/run

test-clients: ## Runs third-party SQL clients against the simulated pair and prints the results as a table
	tests/clients/run

test-grammar: ## Parses every SQL statement with Microsoft's parsers of SQL Server 2008 R2, 2012 and 2014
	cargo test --locked --test contract grammar:: -- --show-output

prove: ## Runs the model check of the planner, and kills the operator at random crash points
	cargo test --locked --test model_check --test crash_points -- --nocapture

# About 20 minutes.
prove-deep: ## Like prove, with a larger search and every crash point
	LYNC_MIRROR_PROVE=1000000 cargo test --release --locked --test model_check -- --nocapture
	LYNC_MIRROR_POINTS=all cargo test --locked --test crash_points -- --nocapture

# Many hours as a whole. LYNC_MIRROR_SHARD=k/n runs part k of n parts, from 0.
mutants: ## Changes the deciding code in small ways, and fails for a change that no test notices
	tests/mutants/run

# LYNC_MIRROR_BASE sets the commit to compare with; the default is the merge base with main.
mutants-diff: ## Like mutants, for the changed lines only
	tests/mutants/run --diff

# About 20 minutes. `make test` compiles only the operator itself twice.
reproduce: ## Builds the image twice, the second time with every crate compiled again, and compares the bytes
	LYNC_MIRROR_REPRODUCE=1 cargo test --locked --test e2e image:: -- --nocapture

# LYNC_MIRROR_SOAK sets the seconds of a round. LYNC_MIRROR_SEED repeats a run.
soak: ## Runs random faults against ten pairs and a hundred resources; all must be Ready at the end
	LYNC_MIRROR_SOAK=$${LYNC_MIRROR_SOAK:-90} cargo test --locked --test e2e soak:: -- --nocapture

# About 5 minutes. LYNC_MIRROR_EDITS sets the number of edits, LYNC_MIRROR_SEED repeats a run.
edits: ## Compares what plan -f shows for random edits with what the operator then does
	LYNC_MIRROR_EDITS=$${LYNC_MIRROR_EDITS:-200} cargo test --locked --test e2e cli::edits:: -- --nocapture

# About 10 minutes. LYNC_MIRROR_CHURN sets the number of rounds, each of twelve resources.
churn: ## Creates, changes and deletes 36,000 resources beside rotated Secrets and killed servers; nothing may be left
	LYNC_MIRROR_CHURN=$${LYNC_MIRROR_CHURN:-3000} cargo test --locked --lib churn:: -- --nocapture

# LYNC_MIRROR_FUZZ sets the number of messages. LYNC_MIRROR_SEED repeats a run.
fuzz: ## Sends tens of thousands of randomly mutated messages through the client and the simulated server
	LYNC_MIRROR_FUZZ=$${LYNC_MIRROR_FUZZ:-60000} cargo test --locked --test wire protocol_fuzz:: -- --nocapture

# About 10 minutes. The ratios need a machine without other load. LYNC_MIRROR_TENANT_RATIO sets the largest one. The servers of the
# attacker run apart, so that the ratios show the operator and not the threads of the simulation.
tenants: ## Attacks from one namespace, beside the timed moves of another; the release build, with the memory of the chart
	cargo build --release --locked --bin lync-mirror
	cargo build --release --locked --package mirror-sim
	LYNC_MIRROR_BINARY=$(CURDIR)/target/release/lync-mirror LYNC_MIRROR_SIM=$(CURDIR)/target/release/mirror-sim \
	LYNC_MIRROR_TENANT_MOVES=15 LYNC_MIRROR_TENANT_RATIO=$${LYNC_MIRROR_TENANT_RATIO:-1.5} \
	cargo test --locked --test e2e tenants:: -- --nocapture

bench: ## Measures memory, latency and ratios of the release build; see docs/benchmarks.md
	cargo build --release --locked --bin lync-mirror
	LYNC_MIRROR_BINARY=$(CURDIR)/target/release/lync-mirror cargo test --locked --test bench
