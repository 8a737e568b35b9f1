#!/bin/sh
# What parsing and reading cost as messages grow, in instructions (valgrind): a Markdown table and docs/scale.svg.
set -eu
cd "$(dirname "$0")/.."
cargo build --release --quiet --example count
program=${CARGO_TARGET_DIR:-../target}/release/examples/count
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# grow OCTETS: an INVITE with header fields of 240 octets each until it is that large.
grow() {
    awk -v want="$1" 'BEGIN {
        head = "INVITE sip:b@h SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@h>;tag=1\r\nTo: <sip:b@h>\r\n"
        head = head "Call-ID: c@h\r\nCSeq: 1 INVITE\r\nMax-Forwards: 70\r\nContact: <sip:a@h>\r\n"
        while (length(head) + 242 < want) { line = "X-Trace: "; while (length(line) < 238) line = line "trace"; head = head substr(line, 1, 238) "\r\n" }
        printf "%s\r\n", head
    }' >"$folder/$1.sip"
}
instructions() {
    valgrind --tool=callgrind --callgrind-out-file=/dev/null "$program" "$@" 2>&1 | sed -n 's/.*Collected : //p'
}

printf '| octets | parse | an octet | parse and what a proxy reads | an octet |\n|---:|---:|---:|---:|---:|\n'
for size in 200 500 1000 2000 5000 10000 20000 40000 60000; do
    grow $size
    octets=$(wc -c <"$folder/$size.sip")
    printf '| %s |' "$octets"
    printf '%s' "$octets" >>"$folder/points"
    for work in parse essentials; do
        few=$(instructions "$work" "$folder/$size.sip" 10)
        many=$(instructions "$work" "$folder/$size.sip" 110)
        each=$(((many - few) / 100))
        printf ' %s | %s |' "$each" "$(awk "BEGIN { printf \"%.2f\", $each / $octets }")"
        printf ' %s' "$each" >>"$folder/points"
    done
    printf '\n'
    printf '\n' >>"$folder/points"
done

awk '
    { x[NR] = $1; y[NR] = $2; z[NR] = $3; if ($3 > top) top = $3 }
    function X(v) { return 60 + v / x[NR] * 520 }
    function Y(v) { return 330 - v / top * 300 }
    function path(of, color, name, at,   i, d) {
        d = "M"; for (i = 1; i <= NR; i++) d = d sprintf("%.1f %.1f ", X(x[i]), Y(of[i]))
        printf "<path d=\"%s\" fill=\"none\" stroke=\"%s\" stroke-width=\"2\"/>", d, color
        for (i = 1; i <= NR; i++) printf "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3\" fill=\"%s\"/>", X(x[i]), Y(of[i]), color
        printf "<text x=\"80\" y=\"%d\" fill=\"%s\">%s</text>\n", at, color, name
    }
    END {
        print "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 620 380\" font-family=\"sans-serif\" font-size=\"13\">"
        print "<rect width=\"620\" height=\"380\" fill=\"white\"/><path d=\"M60 20V330H600\" fill=\"none\" stroke=\"#444\"/>"
        for (i = 0; i <= 60; i += 10) printf "<text x=\"%.0f\" y=\"350\" text-anchor=\"middle\">%d kB</text>", X(i * 1000), i
        for (i = 0; i <= 4; i++) printf "<text x=\"54\" y=\"%.0f\" text-anchor=\"end\">%.0fk</text>", Y(top * i / 4) + 4, top * i / 4000
        print "<text x=\"330\" y=\"372\" text-anchor=\"middle\">size of the message</text><text x=\"10\" y=\"14\">instructions</text>"
        path(z, "#c2410c", "parse and what a proxy reads", 40); path(y, "#1d4ed8", "parse", 60)
        print "</svg>"
    }' "$folder/points" >docs/scale.svg
