//! A call between two scripts over a network that loses a fifth, drawn as it happened.
//!
//!     cargo run -p sip-sim --example call_flow -- 7        # another seed, another network
#![allow(clippy::print_stdout)]

use std::time::Duration;

use sip_sim::{Conditions, Invariants, Script, Sim};

fn main() {
    let seed = std::env::args().nth(1).and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let ms = Duration::from_millis;
    let mut sim = Sim::new(seed, Conditions::rough(0.2));
    let alice = Script::new("192.0.2.1:5060")
        .to("sip:bob@example.com", "192.0.2.2:5060")
        .send("INVITE")
        .expect("200")
        .send("ACK")
        .wait(ms(3_000))
        .send("BYE")
        .expect("200");
    let bob = Script::new("192.0.2.2:5060")
        .expect("INVITE")
        .wait(ms(100))
        .reply(180)
        .wait(ms(1_500))
        .reply(200)
        .expect("ACK")
        .expect("BYE")
        .reply(200);
    let (alice, bob) = (sim.add_script("alice", alice), sim.add_script("bob", bob));
    let at_rest = sim.run_until_idle(Duration::from_secs(300));
    print!("{}", sim.trace().ladder());
    for (name, script) in [("alice", alice), ("bob", bob)] {
        let script = sim.node(script);
        println!(
            "{name}: {}",
            if script.is_done() { "all as written".to_owned() } else { script.problems().join("; ") }
        );
    }
    let broken = Invariants::new().check(sim.trace());
    println!("at rest: {at_rest}; broken: {broken:?}");
}
