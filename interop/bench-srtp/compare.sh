#!/usr/bin/env bash
# One packet protected and unprotected by this stack, rtc-srtp, webrtc-srtp and Debian's libsrtp2, one after the other.
# Needs cc and, for the last one, libsrtp2-dev.
set -euo pipefail
cd "$(dirname "$0")"
target=${CARGO_TARGET_DIR:-target}
cargo build --release --quiet
"$target/release/bench-srtp"
if cc -O2 -o "$target/libsrtp2" c/libsrtp2.c -lsrtp2 2>/dev/null; then
    "$target/libsrtp2"
else
    echo "libsrtp2 is left out: install libsrtp2-dev" >&2
fi
