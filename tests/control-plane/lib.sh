# shellcheck shell=bash
# Sourced by the scripts beside it. Words, processes, certificates and kubeconfigs that more
# than one of them needs. Not here: anything that only one of them does.

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly here
# cargo sets these variables for a test. A cargo that inherits them compiles most of the workspace again (tests/support/mod.rs).
unset -v "${!CARGO_PKG_@}" "${!CARGO_MANIFEST_@}"
readonly marker=.lync-mirror-control-plane
readonly ready_deadline=60

info() { printf '%s\n' "$*" >&2; }

# die CODE MESSAGE...: 1 something failed, 2 wrong use or a missing tool, 3 this machine cannot.
die() {
    local code=$1
    shift
    printf '%s: %s\n' "$(basename "$0")" "$*" >&2
    exit "$code"
}

# usage [CODE]: the comment block under the first line of the script, as it stands there.
usage() {
    [[ ${1:-0} -eq 0 ]] || exec >&2
    sed -n '2,/^[^#]/{s/^# \{0,1\}//p}' "$0"
    exit "${1:-0}"
}

need() {
    local tool missing=()
    for tool in "$@"; do
        command -v "$tool" >/dev/null || missing+=("$tool")
    done
    [[ ${#missing[@]} -eq 0 ]] || die 2 "missing on this machine: ${missing[*]} (Debian: apt-get install ${missing[*]})"
}

# retry WHAT COMMAND...: up to three times, for commands that depend on a network. Each failure is printed.
retry() {
    local what=$1 try
    shift
    for try in 1 2 3; do
        "$@" && return 0
        info "$what failed (try $try of 3)"
        [[ $try -eq 3 ]] || sleep $((try * 5))
    done
    return 1
}

# --- progress ----------------------------------------------------------------------------------
# Long commands are quiet. A reporter prints a line every few seconds: label, elapsed time, and the last line of output.
readonly progress_interval=10

# last_line LOG: the last line with a letter or digit, without colours, at most 110 characters.
last_line() {
    tail -c 4000 "$1" 2>/dev/null | tr '\r' '\n' | sed -E 's/\x1b\[[0-9;]*[A-Za-z]//g; s/^[[:space:]]+|[[:space:]]+$//g; s/\[[=> ]+\] //' |
        grep '[[:alnum:]]' | tail -n 1 | cut -c 1-110 || true
}

# start_progress LABEL LOG [DETAIL...]: reports until stop_progress. DETAIL is a command that prints the state; the
# default is the last line of LOG.
start_progress() {
    local label=$1 log=$2
    shift 2
    [[ $# -gt 0 ]] || set -- last_line "$log"
    (
        started=$SECONDS
        # A sleep without a process: a killed reporter leaves nothing behind that holds the caller's descriptors.
        exec {never}<> <(:)
        while [[ -e /proc/$$ ]]; do
            read -r -t "$progress_interval" -u "$never" || true
            detail=$("$@" 2>/dev/null || true)
            info "  $label: $((SECONDS - started)) s${detail:+, $detail}"
        done
    ) >&2 9>&- &
    reporter=$!
}

stop_progress() {
    kill "$reporter" 2>/dev/null || true
    wait "$reporter" 2>/dev/null || true
}

# with_progress LABEL COMMAND...: runs COMMAND, whose standard error goes to a log, and reports. A failure prints the log.
with_progress() {
    local label=$1 log status=0 started=$SECONDS
    shift
    log=$(mktemp)
    start_progress "$label" "$log"
    # cargo draws its bar ("120/350: tokio") only on a terminal: ask for it, so that a report shows how far the build is.
    CARGO_TERM_PROGRESS_WHEN=always CARGO_TERM_PROGRESS_WIDTH=100 "$@" 2>"$log" || status=$?
    stop_progress
    if [[ $status -ne 0 ]]; then
        # Without the drawings of a progress bar.
        tr '\r' '\n' <"$log" | grep -vE '^[[:space:]]*([A-Za-z]+ \[[=> ]+\].*)?$' | tail -n 100 >&2 || true
        info "  $label: failed after $((SECONDS - started)) s"
    elif ((SECONDS - started >= 2)); then
        info "  $label: done in $((SECONDS - started)) s"
    fi
    rm -f "$log"
    return "$status"
}

# --- packages ----------------------------------------------------------------------------------

# install_packages PACKAGE:WHAT...: the Debian packages whose WHAT (a command, or a pattern of a file's path) is not there.
install_packages() {
    local part what packages=()
    for part in "$@"; do
        what=${part#*:}
        compgen -G "$what" >/dev/null || command -v "$what" >/dev/null || packages+=("${part%%:*}")
    done
    [[ ${#packages[@]} -gt 0 ]] || return 0
    command -v apt-get >/dev/null || die 3 "missing on this machine: ${packages[*]} (these are Debian's names)"
    [[ $(id -u) -eq 0 ]] || die 2 "missing on this machine: ${packages[*]} (as root: apt-get install ${packages[*]})"
    info "installing Debian packages: ${packages[*]}"
    with_progress "apt-get install" retry "apt-get install ${packages[*]}" apt_get_install "${packages[@]}" ||
        die 3 "apt-get could not install ${packages[*]}; its last lines are above"
}

# What cargo needs to build the operator and the simulated pair, beside Rust.
install_build_packages() {
    command -v cargo >/dev/null || die 2 "cargo is missing: install Rust with rustup (https://rustup.rs)"
    install_packages gcc:cc libc6-dev:/usr/include/stdio.h pkg-config:pkg-config libssl-dev:/usr/include/openssl/ssl.h \
        libkrb5-dev:/usr/include/gssapi/gssapi.h 'libclang-dev:/usr/lib/llvm-*/lib/libclang.so'
}

# Its output is progress, never an answer.
apt_get_install() {
    apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@"
} </dev/null >&2

cache_root() {
    printf '%s\n' "${LYNC_MIRROR_CACHE:-${XDG_CACHE_HOME:-${HOME:?HOME is not set: set LYNC_MIRROR_CACHE}/.cache}/lync-mirror}"
}

# state_dir DIR: its absolute path, if it is one of ours.
state_dir() {
    [[ -n ${1:-} ]] || usage 2
    [[ -e $1/$marker ]] || die 2 "$1 is not a control plane's folder (no $marker in it): pass the folder that 'up' printed"
    (cd "$1" && pwd -P)
}

# claim_dir DIR: make it ours; refuses one that holds something else, for 'down' removes it.
claim_dir() {
    mkdir -p "$1"
    [[ -z $(ls -A "$1") ]] || die 2 "$1 is not empty: pass a new folder, or none"
    chmod 700 "$1"
    : >"$1/$marker"
    (cd "$1" && pwd -P)
}

# --- processes -------------------------------------------------------------------------------
# DIR/pids holds "NAME PID START" lines. START (the kernel's start time) makes a reused number
# of a dead process impossible to hit.

started_at() { # PID -> start time in ticks; nothing when it is gone or a zombie
    local stat
    stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 0
    stat=${stat##*) }
    # shellcheck disable=SC2086 # the fields after the name, split on purpose
    set -- $stat
    [[ $1 == Z || $1 == X ]] || printf '%s\n' "${20}"
}

is_running() { # PID START
    [[ -n $2 && $(started_at "$1") == "$2" ]]
}

# launch DIR NAME COMMAND...: in the background, in a session of its own (Ctrl-C at the caller's
# terminal is not for it), with no descriptor of the caller's, so that $(up) returns.
launch() {
    local dir=$1 name=$2 pid
    shift 2
    setsid "$@" </dev/null >>"$dir/$name.log" 2>&1 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&- &
    pid=$!
    disown "$pid" 2>/dev/null || true
    record "$dir" "$name" "$pid"
}

record() { # DIR NAME PID: replaces the line of that name
    {
        grep -v "^$2 " "$1/pids" 2>/dev/null || true
        printf '%s %s %s\n' "$2" "$3" "$(started_at "$3")"
    } >"$1/pids.new"
    mv "$1/pids.new" "$1/pids"
}

# signal DIR NAME SIGNAL: false when no such process runs.
signal() {
    local name pid start
    while read -r name pid start; do
        if [[ $name == "$2" ]] && is_running "$pid" "$start"; then
            kill "-$3" "$pid" 2>/dev/null
            return
        fi
    done <"$1/pids"
    return 1
}

alive() { signal "$1" "$2" 0; }

kill_and_wait() { # DIR NAME
    local _
    [[ -e $1/pids ]] || return 0
    for _ in {1..100}; do
        signal "$1" "$2" KILL || return 0
        sleep 0.05
    done
    die 1 "$2 of $1 did not end within 5 s of SIGKILL (it hangs in the kernel: see 'ps -eo pid,stat,wchan:30,args')"
}

fail_with_logs() { # DIR MESSAGE LOG...
    local dir=$1 message=$2 log
    shift 2
    for log in "$@"; do
        info "--- last lines of $log.log"
        tail -n 15 "$dir/$log.log" >&2 2>/dev/null || true
    done
    die 1 "$message"
}

# watch_over DIR PID DOWN: runs 'DOWN DIR' when PID is gone. Ends by itself once DIR is.
watch_over() {
    local dir=$1 pid=$2 down=$3 start
    start=$(started_at "$pid")
    [[ -n $start ]] || die 2 "--watch-pid $pid: no such process"
    # shellcheck disable=SC2016 # its own variables
    launch "$dir" guard bash -c '
        source "$1/lib.sh"
        while [[ -e $2/$marker ]] && is_running "$3" "$4"; do sleep 0.5; done
        [[ ! -e $2/$marker ]] || exec "$5" "$2"
    ' guard "$here" "$dir" "$pid" "$start" "$down"
}

# --- certificates and kubeconfigs --------------------------------------------------------------

# make_ca DIR: DIR/ca.crt and ca.key, and the key pair that signs ServiceAccount tokens.
make_ca() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=lync-mirror-test-ca \
        -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign \
        -keyout "$1/ca.key" -out "$1/ca.crt" 2>/dev/null || die 1 "openssl could not make a CA (OpenSSL 1.1.1 or newer is needed)"
    openssl ecparam -name prime256v1 -genkey -noout -out "$1/sa.key"
    openssl ec -in "$1/sa.key" -pubout -out "$1/sa.pub" 2>/dev/null
}

# make_cert DIR NAME SUBJECT USAGE [SAN]: DIR/NAME.crt and NAME.key signed by the CA. USAGE: serverAuth | clientAuth
make_cert() {
    local dir=$1 name=$2 subject=$3 usage=$4 san=${5:-}
    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "$subject" \
        -keyout "$dir/$name.key" -out "$dir/$name.csr" 2>/dev/null
    openssl x509 -req -in "$dir/$name.csr" -CA "$dir/ca.crt" -CAkey "$dir/ca.key" -CAcreateserial -days 30 -out "$dir/$name.crt" \
        -extfile <(printf 'extendedKeyUsage=%s\n%s' "$usage" "${san:+subjectAltName=$san}") 2>/dev/null ||
        die 1 "openssl could not sign the certificate of $name"
    rm "$dir/$name.csr"
}

random_token() { openssl rand -hex 16; }

# write_kubeconfig DIR USER TOKEN NAMESPACE: to stdout. The server is that of DIR/server.
write_kubeconfig() {
    cat <<YAML
apiVersion: v1
kind: Config
clusters:
- name: lync-mirror
  cluster:
    server: $(<"$1/server")
    certificate-authority-data: $(base64 -w0 <"$1/ca.crt")
users:
- name: $2
  user:
    token: $3
contexts:
- name: lync-mirror
  context: {cluster: lync-mirror, user: $2, namespace: $4}
current-context: lync-mirror
YAML
}

# write_env DIR: DIR/env. No quotes: a line is a KEY, '=' and the value up to its end.
# Helm and kubectl keep their caches in the run's own folder, not in the home of who tests.
write_env() {
    local dir=$1 bin
    bin=$(<"$dir/bin")
    cat >"$dir/env" <<ENV
KUBECONFIG=$dir/kubeconfig
KUBE_API=$(<"$dir/server")
KUBE_CA=$dir/ca.crt
AUDIT=$dir/audit.log
BIN=$bin
PATH=$bin:$PATH
KUBECACHEDIR=$dir/kube-cache
HELM_CACHE_HOME=$dir/helm/cache
HELM_CONFIG_HOME=$dir/helm/config
HELM_DATA_HOME=$dir/helm/data
ENV
}

# --- the API server ----------------------------------------------------------------------------
# DIR/apiserver.args holds its arguments, one a line, so that it can be started again just so.

launch_api() { # DIR
    local args
    mapfile -t args <"$1/apiserver.args"
    launch "$1" apiserver "$(<"$1/bin")/kube-apiserver" "${args[@]}"
}

# wait_ready DIR: until /readyz answers ok to the admin.
wait_ready() {
    local dir=$1 deadline=$((SECONDS + ready_deadline))
    until [[ $(curl -sS --max-time 5 --noproxy '*' --cacert "$dir/ca.crt" -H "@$dir/admin.header" "$(<"$dir/server")/readyz" 2>/dev/null) == ok ]]; do
        alive "$dir" apiserver || fail_with_logs "$dir" "kube-apiserver ended before it was ready" apiserver etcd
        ((SECONDS < deadline)) || fail_with_logs "$dir" "kube-apiserver was not ready within $ready_deadline s" apiserver etcd
        sleep 0.1
    done
}

# --- the node ----------------------------------------------------------------------------------

# node_init DIR: the process id, seen from the host, of the first process of the namespaces.
node_init() {
    local pid
    pid=$(sed -n 's/^node \([0-9]*\) .*/\1/p' "$1/pids" 2>/dev/null)
    [[ -n $pid ]] && alive "$1" node && cat "/proc/$pid/task/$pid/children"
}

# forget_proxy: nothing leaves the node's namespaces, and no proxy can be reached from inside.
forget_proxy() { unset http_proxy https_proxy all_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY; }

# cgroup_mounts: the root of every hierarchy of the machine. On a hybrid one (v1 with an empty v2
# beside it) that v2 is among them: runc makes groups there too.
cgroup_mounts() { findmnt -rno TARGET -t cgroup,cgroup2; }
