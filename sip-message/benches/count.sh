#!/bin/sh
# Instructions and allocations of each piece of work on each message, as a Markdown table.
# Needs valgrind. `benches/count.sh [WORK...]`
set -eu
cd "$(dirname "$0")/.."
cargo build --release --example count
target=${CARGO_TARGET_DIR:-../target}
program=$target/release/examples/count
[ $# -gt 0 ] || set -- parse read essentials check print copy edit reply

instructions() {
    valgrind --tool=callgrind --callgrind-out-file=/dev/null "$program" "$@" 2>&1 |
        sed -n 's/.*Collected : //p'
}
allocations() {
    valgrind "$program" "$@" 2>&1 | sed -n 's/.*total heap usage: \([0-9,]*\) allocs.*/\1/p' | tr -d ,
}

printf '| message | octets |'
for work; do printf ' %s |' "$work"; done
printf '\n|---|---:|'
for work; do printf -- '---:|'; done
printf '\n'
for file in benches/data/*.sip; do
    printf '| %s | %s |' "$(basename "$file" .sip)" "$(wc -c <"$file")"
    for work; do
        few=$(instructions "$work" "$file" 10)
        many=$(instructions "$work" "$file" 1010)
        few_allocated=$(allocations "$work" "$file" 10)
        many_allocated=$(allocations "$work" "$file" 110)
        printf ' %s (%s) |' $(((many - few) / 1000)) $(((many_allocated - few_allocated) / 100))
    done
    printf '\n'
done
