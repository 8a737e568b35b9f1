#!/usr/bin/env bash
# Kamailio's presence modules and `sip server`, one after the other, under the same load on the same processor.
#
#   interop/bench-presence/compare.sh [PRESENTITIES WATCHERS PUBLISHES]
#
# SIP names the program (target/release/sip). The servers run on processor 1, the load on processor 0.
set -euo pipefail
cd "$(dirname "$0")/../.."
PRESENTITIES=${1:-20000} WATCHERS=${2:-5} PUBLISHES=${3:-10000}
SIP=${SIP:-$PWD/target/release/sip}
RUN=$(mktemp -d)
trap 'rm -rf "$RUN"' EXIT
cargo build --quiet --release --manifest-path interop/bench-presence/Cargo.toml --target-dir target/bench-presence
LOAD=target/bench-presence/release/bench-presence

measure() { # NAME PORT PID
    sleep 2
    printf '%s ' "$1"
    taskset -c 0 "$LOAD" "127.0.0.1:$2" 127.0.0.1 "$3" "$PRESENTITIES" "$WATCHERS" "$PUBLISHES" || true
    kill -- "-$3" 2>/dev/null || true
    wait "$3" 2>/dev/null || true
}

mkdir "$RUN/tables"
for table in version presentity active_watchers watchers xcap; do
    cp "/usr/share/kamailio/dbtext/kamailio/$table" "$RUN/tables"
done
# Nobody is asked, and all that can be in memory is.
sed -e 's/@PORT@/15160/g' -e "s#@TABLES@#$RUN/tables#" interop/configs/kamailio-presence.cfg |
    sed -e 's/"publ_cache", 0/"publ_cache", 2/' -e 's/if (!pv_proxy_authenticate.*/$var(asked) = 0;/' -e '/consume_credentials/d' \
        -e 's/^modparam("presence", "notifier_processes", 0)/&\nmodparam("presence", "subs_htable_size", 16)\nmodparam("presence", "pres_htable_size", 16)/' >"$RUN/kamailio.cfg"
setsid taskset -c 1 kamailio -f "$RUN/kamailio.cfg" -DD -E -m 12000 -M 64 -P "$RUN/pid" -Y "$RUN" >"$RUN/kamailio.log" 2>&1 &
measure kamailio 15160 $!

cat >"$RUN/server.toml" <<TOML
listen = ["udp:127.0.0.1:15161"]
domains = ["127.0.0.1"]
authentication = false
[events]
per_source = 10000000
subscriptions = 10000000
TOML
setsid taskset -c 1 "$SIP" server --config "$RUN/server.toml" >"$RUN/sip.log" 2>&1 &
measure sip 15161 $!
