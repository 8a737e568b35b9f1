#!/bin/sh
# Lines of a crate that the committed seeds reach, by file. Needs cargo-fuzz, a nightly toolchain, and llvm-profdata and
# llvm-cov of its LLVM version (Debian: llvm-22; LLVM_BIN names their folder).
#
#     fuzz/coverage.sh                            the message crate by its targets
#     CORPUS=fuzz/corpus fuzz/coverage.sh         what a fuzzing session found, besides
set -eu
cd "$(dirname "$0")/.."
llvm=${LLVM_BIN:-/usr/lib/llvm-22/bin}
built=${CARGO_TARGET_DIR:-fuzz/target/coverage}
crate=${CRATE:-sip-message}
targets=${TARGETS:-message framing uri field body}

objects= profiles=
for target in $targets; do
    set -- "fuzz/seeds/$target"
    [ -z "${CORPUS:-}" ] || [ ! -d "$CORPUS/$target" ] || set -- "$@" "$CORPUS/$target"
    cargo +nightly fuzz coverage "$target" --target-dir "$built" --llvm-path "$llvm" "$@" >&2
    objects="$objects -object $(find "$built" -path "*/release/$target" -type f | head -1)"
    profiles="$profiles fuzz/coverage/$target/coverage.profdata"
done
"$llvm/llvm-profdata" merge -sparse $profiles -o fuzz/coverage/all.profdata
"$llvm/llvm-cov" report $objects -instr-profile=fuzz/coverage/all.profdata --sources "$crate/src" |
    awk 'NR > 2 { print $1, $(NF - 5), $(NF - 4), $(NF - 3) }' | column -t
