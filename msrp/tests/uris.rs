//! Which URIs are the same (RFC 4975 §6.1), and which are none (§9).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use msrp::{Path, Uri, UriError};

fn uri(text: &str) -> Uri {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn rfc_4975_6_1_which_uris_are_the_same() {
    let one = uri("msrp://host.example.com:8493/asfd34;tcp");
    for (same, text) in [
        (true, "MSRP://HOST.example.COM:8493/asfd34;TCP"),
        (true, "msrp://alice@host.example.com:8493/asfd34;tcp"),
        (true, "msrp://%68ost.example.com:8493/asfd34;tcp"),
        (true, "msrp://host.example.com:8493/asfd34;tcp;extra=1"),
        (false, "msrps://host.example.com:8493/asfd34;tcp"),
        (false, "msrp://host.example.com:8494/asfd34;tcp"),
        (false, "msrp://host.example.com/asfd34;tcp"),
        (false, "msrp://host.example.com:8493/ASFD34;tcp"),
        (false, "msrp://host.example.com:8493;tcp"),
        (false, "msrp://host.example.com:8493/asfd34;sctp"),
        (false, "msrp://host.example.org:8493/asfd34;tcp"),
    ] {
        assert_eq!(one == uri(text), same, "{text}");
    }
    assert_eq!(uri("msrp://[2001:DB8:0:0::1]:1/a;tcp"), uri("msrp://[2001:db8::1]:1/a;tcp"));
    assert_ne!(uri("msrp://192.0.2.1:1/a;tcp"), uri("msrp://192.0.2.2:1/a;tcp"));
}

#[test]
fn rfc_4975_9_what_is_no_uri() {
    for (text, error) in [
        ("sip:host;tcp", UriError::Scheme),
        ("http://host:1/a;tcp", UriError::Scheme),
        ("msrp://:1/a;tcp", UriError::Host),
        ("msrp://300.1.1.1:1/a;tcp", UriError::Host),
        ("msrp://[::1:1/a;tcp", UriError::Host),
        ("msrp://ho st:1/a;tcp", UriError::Host),
        ("msrp://host:0/a;tcp", UriError::Port),
        ("msrp://host:70000/a;tcp", UriError::Port),
        ("msrp://host:1/;tcp", UriError::SessionId),
        ("msrp://host:1/a?b;tcp", UriError::SessionId),
        ("msrp://host:1/a", UriError::Transport),
        ("msrp://host:1;", UriError::Transport),
        ("msrp://host:1/a;tcp;=", UriError::Parameter),
        ("msrp://a b@host:1/a;tcp", UriError::User),
    ] {
        assert_eq!(text.parse::<Uri>(), Err(error), "{text}");
    }
    assert_eq!(format!("msrp://{}:1/a;tcp", "h".repeat(2_000)).parse::<Uri>(), Err(UriError::TooLong));
    assert!("".parse::<Path>().is_err());
    assert!(vec!["msrp://h:1/a;tcp"; 17].join(" ").parse::<Path>().is_err());
}
