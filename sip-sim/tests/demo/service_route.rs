//! A registrar that tells its phones by which proxy their calls leave (RFC 3608).

use super::*;

const CAROL: &str = "192.0.2.3:5060";
const EDGE: &str = "192.0.2.101:5060";

/// RFC 3608 §6.1, §6.3: what the 200 to REGISTER names is the pre-loaded route of the phone's calls, and no more so when it has
/// given up its registration.
#[test]
fn calls_leave_by_the_route_that_the_registrar_has_named() {
    for named in [false, true] {
        let mut sim = Sim::new(7, Conditions::PERFECT);
        let node = |sim: &mut Sim, at: &str, change: &dyn Fn(&mut sip_server::Config)| {
            let locals = Sim::locals(at.parse().unwrap(), &[Transport::Udp]);
            let mut config = sip_server::Config::new(sim.core_seed(), locals.clone());
            change(&mut config);
            let core = ServerCore::new(config, sim.now(), Duration::from_secs(1_700_000_000)).unwrap();
            sim.add("server", locals, core)
        };
        let registrar = node(&mut sim, SERVER, &|config| {
            config.domains = vec!["example.com".into()];
            let route = format!("sip:{EDGE};lr").parse().unwrap();
            config.service_route = named.then_some(route).into_iter().collect();
        });
        let edge = node(&mut sim, EDGE, &|config| {
            config.next_hop = Some(format!("sip:{SERVER}").parse().unwrap());
        });
        let person = |sim: &mut Sim, user: &str, at: &str| {
            let core = phone(sim, user, at, |config| {
                config.route = vec![Route::new(&format!("sip:{SERVER};lr").parse().unwrap())];
            });
            let locals = Sim::locals(at.parse().unwrap(), &[Transport::Udp]);
            let media = at.replace(":5060", ":4000");
            let node = sim.add(user, locals, Person::new(core, &media, None));
            sim.with(node, |person, now| person.plan(now, Act::Register));
            node
        };
        let (bob, carol) = (person(&mut sim, "bob", BOB), person(&mut sim, "carol", CAROL));
        sim.run_for(Duration::from_secs(2));
        assert_eq!(sim.node(registrar).bindings(), 2);
        sim.with(bob, |bob, now| bob.call(now, "sip:carol@example.com"));
        sim.run_for(Duration::from_secs(4));
        assert_eq!(sim.node(carol).story().agreed.len(), 1, "the call has arrived");
        // The INVITE, and whatever comes in its dialog while the edge stays in it.
        assert_eq!(sim.node(edge).counters().proxied > 0, named);
    }
}
