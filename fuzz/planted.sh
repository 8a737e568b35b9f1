#!/bin/sh
# Is the fuzzing alive? Takes one bound check at a time out of a copy of the message crate and counts how often a short
# run from the committed seeds finds that. Needs cargo-fuzz and a nightly toolchain; about seven minutes.
#
#     fuzz/planted.sh            SECONDS_EACH=30 by default
#     fuzz/planted.sh syntax.rs  those in one file alone
set -eu
cd "$(dirname "$0")/.."
seconds=${SECONDS_EACH:-30}
only=${1:-}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/fuzz"
cp -r sip-message "$work/"
cp -r fuzz/fuzz_targets fuzz/seeds fuzz/sip.dict "$work/fuzz/"
printf '[workspace]\nmembers = ["sip-message"]\nexclude = ["fuzz"]\n' >"$work/Cargo.toml"
awk '/^\[/ { on = /^\[workspace\./ } on' Cargo.toml >>"$work/Cargo.toml"
{
    printf '[package]\nname = "planted"\nversion = "0.0.0"\nedition = "2024"\n\n[package.metadata]\ncargo-fuzz = true\n'
    printf '\n[dependencies]\nbytes = "1"\nlibfuzzer-sys = "0.4"\nsip-message = { path = "../sip-message" }\n\n[workspace]\n'
    for target in message framing uri body; do
        printf '\n[[bin]]\nname = "%s"\npath = "fuzz_targets/%s.rs"\ntest = false\ndoc = false\n' "$target" "$target"
    done
} >"$work/fuzz/Cargo.toml"
cd "$work"

planted=0 found=0
plant() { # file, fuzz target, the check, what stands in its place
    [ -z "$only" ] || [ "$only" = "$1" ] || return 0
    file=sip-message/src/$1 planted=$((planted + 1))
    cp "$file" "$work/kept"
    OLD=$3 NEW=$4 perl -0pi -e 's/\Q$ENV{OLD}\E/$ENV{NEW}/ or die "no such check: $ENV{OLD}\n"' "$file"
    cargo +nightly fuzz build "$2" >build.log 2>&1 || { cat build.log; exit 1; }
    mkdir -p "corpus/$planted"
    if cargo +nightly fuzz run "$2" "corpus/$planted" "fuzz/seeds/$2" -- \
        -max_total_time="$seconds" -timeout=10 -dict=fuzz/sip.dict >run.log 2>&1; then
        echo "missed  $2: $1: $3"
    else
        found=$((found + 1))
        grep -q 'panicked at\|ERROR: AddressSanitizer\|libFuzzer: timeout' run.log || { tail -5 run.log; exit 1; }
        echo "found   $2: $1: $3"
    fi
    mv "$work/kept" "$file"
}

plant message.rs message 'match length.min(arrived) {' 'match length {'
plant message.rs message "octets.get(end), Some(b' ' | b'\\t')" "octets[end], b' ' | b'\\t'"
plant message.rs message 'is_version(line.get(..4))' 'is_version(Some(&line[..4]))'
plant syntax.rs message 'behind.get(at..)?' '&behind[at..]'
plant framing.rs framing 'self.buffer.len() < length' 'false'
plant body.rs body 'from.min(end)..end' 'from..end'
plant uri.rs uri "octets.get(colon) != Some(&b':')" "octets[colon] != b':'"
plant uri.rs uri "octets.get(user_end) == Some(&b'@')" "octets[user_end] == b'@'"
plant uri.rs uri "octets.get(at) == Some(&b':')" "octets[at] == b':'"
plant uri/service.rs uri 'text.get(..PREFIX.len())' 'Some(&text[..PREFIX.len()])'

echo "found $found of $planted"
[ "$planted" -gt 0 ] && [ $((found * 10)) -ge $((planted * 9)) ]
