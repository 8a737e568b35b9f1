//! What the documents claim is there.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every requirement in CONFORMANCE.md names a file and tests that are in it.
#[test]
fn every_test_of_the_conformance_table_exists() {
    let mut tests = 0;
    for line in read("CONFORMANCE.md").lines().filter(|line| line.starts_with("| ") && line.contains(".rs` "))
    {
        let shown_by = line.rsplit_once(" | ").unwrap().1;
        let mut source = String::new();
        for name in shown_by.split('`').skip(1).step_by(2) {
            if name.ends_with(".rs") {
                source = read(name);
            } else {
                assert!(source.contains(&format!("fn {name}(")), "{name} is gone, but claimed in: {line}");
                tests += 1;
            }
        }
    }
    assert!(tests > 100, "only {tests} tests were found in the tables");
}

/// Links of the documents to files and folders lead somewhere.
#[test]
fn links_lead_somewhere() {
    for document in ["README.md", "ARCHITECTURE.md", "CONFORMANCE.md", "CHANGELOG.md"] {
        let text = read(document);
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if !link.starts_with("http") {
                assert!(root().join(link).exists(), "{document} links to {link}");
            }
        }
    }
}

/// The map of ARCHITECTURE.md names folders and files that are there.
#[test]
fn the_map_is_true() {
    for line in
        read("ARCHITECTURE.md").lines().filter(|line| line.starts_with("| ") && line.contains("/src/"))
    {
        let place = line.rsplit_once(" | ").unwrap().1;
        let mut folder = PathBuf::new();
        for name in place.split('`').skip(1).step_by(2) {
            // What follows in the same line is beside what came first.
            let path = if name.contains("/src") { PathBuf::from(name) } else { folder.join(name) };
            assert!(root().join(&path).exists(), "{} of: {line}", path.display());
            folder = path.parent().map(Path::to_path_buf).unwrap_or_default();
        }
    }
}

/// Descriptions and media are of use without SIP: their crates depend on none of the others.
#[test]
fn sdp_and_rtp_know_nothing_of_sip() {
    for manifest in ["sdp/Cargo.toml", "rtp/Cargo.toml"] {
        let named = read(manifest);
        let other = named.lines().find(|line| line.trim_start().starts_with("sip-"));
        assert_eq!(other, None, "{manifest}");
    }
}
