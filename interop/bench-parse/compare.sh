#!/bin/sh
# What parsing costs here and in other libraries, as one Markdown table: instructions a message (callgrind) and
# nanoseconds (the best of five runs; compare them within a row only). Needs cargo and valgrind.
#
#     ./compare.sh [MESSAGE...]        default: all of sip-message/benches/data
set -eu
cd "$(dirname "$0")"
cargo build --release --quiet
program=${CARGO_TARGET_DIR:-target}/release/bench-parse
data=../../sip-message/benches/data
[ $# -gt 0 ] || set -- "$data"/*.sip

instructions() {
    valgrind --tool=callgrind --callgrind-out-file=/dev/null "$program" "$@" 2>&1 >/dev/null |
        sed -n 's/.*Collected : //p'
}

printf '| message | work | ours | ours, typed values or a copy | rsip | rsipstack | ezk-sip-types | rvoip-sip-core |\n'
printf '|---|---|---:|---:|---:|---:|---:|---:|\n'
for file; do
    for work in parse read print; do
        printf '| %s, %s octets | %s |' "$(basename "$file" .sip)" "$(wc -c <"$file")" "$work"
        for library in ours ours-typed rsip rsipstack ezk rvoip; do
            said=$("$program" "$library" "$work" "$file" 1 2>/dev/null)
            if [ "$said" = refused ]; then
                printf ' refused |'
                continue
            fi
            few=$(instructions "$library" "$work" "$file" 10)
            many=$(instructions "$library" "$work" "$file" 210)
            best=$(for _ in 1 2 3 4 5; do "$program" "$library" "$work" "$file" 20000 2>/dev/null; done |
                cut -d' ' -f1 | sort -n | head -1)
            printf ' %s (%s ns)' "$(((many - few) / 200))" "$best"
            # What the message has and the library did not find.
            lost=$("$program" ours "$work" "$file" 1 | cut -d' ' -f2-)
            mine=${said#* }
            [ "$work" != read ] || [ "$mine" = "$lost" ] || printf ', loses %s (ours: %s)' "$mine" "${lost:-nothing}"
            printf ' |'
        done
        printf '\n'
    done
done
