#!/bin/sh
# What parsing costs here and in other libraries, as one Markdown table: instructions a message (callgrind) and
# nanoseconds (the best of five runs; compare them within a row only). Needs cargo and valgrind; oSIP and Sofia-SIP
# join where gcc and Debian's libosip2-dev and libsofia-sip-ua-dev are installed.
#
#     ./compare.sh [MESSAGE...]        default: all of sip-message/benches/data
set -eu
cd "$(dirname "$0")"
cargo build --release --quiet
built=${CARGO_TARGET_DIR:-target}/release
data=../../sip-message/benches/data
[ $# -gt 0 ] || set -- "$data"/*.sip

libraries="ours ours-typed rsip rsipstack ezk rvoip"
titles="ours | ours, typed values or a copy | rsip | rsipstack | ezk-sip-types | rvoip-sip-core"
if gcc -O2 -o "$built/bench-osip2" c/osip2.c -losipparser2 2>/dev/null; then
    libraries="$libraries osip2"
    titles="$titles | oSIP $(dpkg-query -W -f '${source:Upstream-Version}' libosip2-dev)"
fi
if gcc -O2 $(pkg-config --cflags sofia-sip-ua 2>/dev/null) -o "$built/bench-sofia" c/sofia.c -lsofia-sip-ua 2>/dev/null; then
    libraries="$libraries sofia"
    titles="$titles | Sofia-SIP $(pkg-config --modversion sofia-sip-ua)"
fi

# run PREFIX LIBRARY WORK FILE ROUNDS
run() {
    prefix=$1 library=$2
    shift 2
    case $library in
    osip2 | sofia) $prefix "$built/bench-$library" "$@" ;;
    *) $prefix "$built/bench-parse" "$library" "$@" ;;
    esac
}
instructions() {
    run "valgrind --tool=callgrind --callgrind-out-file=/dev/null" "$@" 2>&1 >/dev/null | sed -n 's/.*Collected : //p'
}

printf '| message | work | %s |\n|---|---' "$titles"
for library in $libraries; do printf '|---:'; done
printf '|\n'
for file; do
    for work in parse read print; do
        printf '| %s, %s octets | %s |' "$(basename "$file" .sip)" "$(wc -c <"$file")" "$work"
        for library in $libraries; do
            said=$(run "" "$library" "$work" "$file" 1 2>/dev/null)
            if [ "$said" = refused ]; then
                printf ' refused |'
                continue
            fi
            few=$(instructions "$library" "$work" "$file" 10)
            many=$(instructions "$library" "$work" "$file" 210)
            best=$(for _ in 1 2 3 4 5; do run "" "$library" "$work" "$file" 20000 2>/dev/null; done |
                cut -d' ' -f1 | sort -n | head -1)
            printf ' %s (%s ns)' "$(((many - few) / 200))" "$best"
            # What the message has and the library did not find.
            lost=$(run "" ours "$work" "$file" 1 | cut -d' ' -f2-)
            mine=${said#* }
            [ "$work" != read ] || [ "$mine" = "$lost" ] || printf ', loses %s (ours: %s)' "$mine" "${lost:-nothing}"
            printf ' |'
        done
        printf '\n'
    done
done
