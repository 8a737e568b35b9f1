//! `sip call --sound-card` with a sound card that is none: it opens, the call is made with it, and both end.
#![cfg(all(feature = "sound-card", target_os = "linux"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod running;

use std::process::Command;

use running::Running;

fn call(config: &str) -> std::process::Output {
    let phone = Running::start(&["phone", "--listen", "udp:127.0.0.1:0", "--answer", "--echo"]);
    Command::new(env!("CARGO_BIN_EXE_sip"))
        .args(["call", &format!("sip:bob@{}", phone.address()), "--sound-card", "--for", "1"])
        .env("ALSA_CONFIG_PATH", config)
        .output()
        .unwrap()
}

#[test]
fn a_call_with_the_microphone_and_the_loudspeaker() {
    let output = call(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/alsa/null.conf"));
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("answered"), "{output:?}");
}

/// Nobody is called where there is no sound card.
#[test]
fn a_machine_without_a_sound_card_says_so() {
    let output = call("/dev/null");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("microphone"), "{said}");
}
