//! A run that fails is made simpler and told: its seed, its ladder, its capture. In a program of its own, since it says
//! so on standard error.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::process::Command;
use std::time::Duration;

use sip_sim::{Conditions, Run, Runs, Script};

const CHILD: &str = "SIM_TEST_CHILD";

/// Fails when a message comes twice; everything else does not matter.
fn scenario(run: &Run) {
    let mut sim = run.sim();
    sim.set_tracing(false);
    for number in 0..run.size() {
        let (a, b) = (format!("192.0.2.{}:5060", 2 * number + 1), format!("192.0.2.{}:5060", 2 * number + 2));
        let alice = Script::new(&a).to("sip:bob@example.com", &b).send("OPTIONS").expect("200");
        sim.add_script("alice", alice);
        sim.add_script("bob", Script::new(&b).expect("OPTIONS").reply(200));
        let _ = sim.run_until_idle(Duration::from_secs(60));
        assert_eq!(sim.counters().duplicated, 0, "something came twice");
    }
}

#[test]
fn a_failing_run() {
    if std::env::var_os(CHILD).is_some() {
        Runs::new(1000).conditions(|_| Conditions::rough(0.1)).size(5).each(scenario);
    }
}

#[test]
fn a_failure_is_told_in_its_simplest_form_with_seed_ladder_and_capture() {
    let pcap = std::env::temp_dir().join(format!("sip-sim-shrink-{}.pcap", std::process::id()));
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["a_failing_run", "--exact", "--nocapture", "--test-threads=1"])
        .env(CHILD, "1")
        .env("SIM_PCAP", &pcap)
        .env_remove("SIM_SEED")
        .output()
        .unwrap();
    let text =
        String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success(), "{text}");
    assert!(text.contains(" failed: assertion"), "{text}");
    assert!(text.contains(", size 1, 0 % lost, 10 % twice, 0 % out of order, 5 to 5 ms"), "{text}");
    assert!(text.contains("\n2 messages until then:"), "{text}");
    assert!(text.contains("something came twice"), "{text}");
    assert!(text.contains("OPTIONS 1 ------"), "{text}");
    assert!(text.contains("SIM_SEED="), "{text}");
    let capture = std::fs::read(&pcap).unwrap();
    assert_eq!(capture[..4], [0xd4, 0xc3, 0xb2, 0xa1], "a pcap file");
    assert!(capture.len() > 100);
    std::fs::remove_file(&pcap).unwrap();
}
