//! Digest authentication for SIP: challenges, credentials and their verification, as pure computation.
