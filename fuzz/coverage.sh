#!/bin/sh
# Lines of a crate that the committed inputs reach, by file; ends with 1 if those of the message crate's parsers are
# less than 90 in a hundred. Needs cargo-fuzz, a nightly toolchain and LLVM's tools of its version: those that rustup
# installs, Debian's, or those in the folder that LLVM_BIN names. About seven minutes from nothing.
#
#     fuzz/coverage.sh                                 seeds and corpus.tar.xz
#     CORPUS=fuzz/corpus fuzz/coverage.sh              seeds and what a fuzzing session found
#     MISSED=1 fuzz/coverage.sh                        and each line that is not reached
#     CRATE=sdp TARGETS=sdp fuzz/coverage.sh           another crate, for which no number is asked
set -eu
cd "$(dirname "$0")/.."
built=${CARGO_TARGET_DIR:-fuzz/target}/coverage
crate=${CRATE:-sip-message}
targets=${TARGETS:-message framing uri field body}
# Whatever looks at octets or text that arrived counts as a parser. These do not: they put messages together, print
# them, or are tables. Builders and printers within the other files count with them.
not_parsers='build|print|status|error|limits'
least=90
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

version=$(rustc +nightly -vV)
bundled=$(rustc +nightly --print sysroot)/lib/rustlib/$(echo "$version" | sed -n 's/^host: //p')/bin
debian=/usr/lib/llvm-$(echo "$version" | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')/bin
llvm=${LLVM_BIN:-$debian}
if [ ! -x "$llvm/llvm-cov" ]; then
    [ -x "$bundled/llvm-cov" ] || rustup component add llvm-tools --toolchain nightly >&2
    llvm=$bundled
fi
"$llvm/llvm-cov" --version >/dev/null || {
    echo "no llvm-cov in $llvm: rustup component add llvm-tools --toolchain nightly" >&2
    exit 2
}
if [ -z "${CORPUS:-}" ]; then
    tar xJf fuzz/corpus.tar.xz -C "$work"
    CORPUS=$work
fi

for target in $targets; do
    set -- "fuzz/seeds/$target"
    [ ! -d "$CORPUS/$target" ] || set -- "$@" "$CORPUS/$target"
    cargo +nightly fuzz coverage "$target" --target-dir "$built" --llvm-path "$llvm" "$@" >&2
    # One by one: merged profiles lose what each program made of a generic function.
    "$llvm/llvm-cov" export -format=lcov "$(find "$built" -path "*/release/$target" -type f | head -1)" \
        -instr-profile="fuzz/coverage/$target/coverage.profdata" --sources "$crate/src" >>"$work/lines"
done

awk -F '[:,]' -v crate="/$crate/src/" -v not="^($not_parsers)[.]rs$" -v least="$least" -v missed="${MISSED:-}" '
    /^SF:/ { file = substr($2, index($2, crate) + length(crate)) }
    /^DA:/ { hits[file ":" $2] += $3 }
    END {
        for (line in hits) {
            split(line, at, ":")
            all[at[1]]++
            if (hits[line]) reached[at[1]]++
            else if (missed != "") print "missed " line | "sort -t: -k1,1 -k2n >&2"
        }
        sort = "sort"
        for (file in all) {
            printf "%-28s %5d of %5d  %5.1f %%%s\n", file, reached[file], all[file], 100 * reached[file] / all[file],
                file ~ not ? "  no parser" : "" | sort
            if (file !~ not) { lines += all[file]; got += reached[file] }
        }
        close(sort)
        if (!lines) { print "no lines of the crate" crate "in the profiles"; exit 2 }
        printf "parsers: %d of %d lines, %.1f %%\n", got, lines, 100 * got / lines
        if (crate == "/sip-message/src/" && 100 * got < least * lines) {
            printf "less than %d %%\n", least
            exit 1
        }
    }' "$work/lines"
