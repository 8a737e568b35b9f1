//! SIPp in numbers: hundreds of calls over UDP and TCP, without loss and with SIPp's own. All complete, and whoever
//! answers hears of each request once, however often it came.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::net::SocketAddr;
use std::time::Duration;

use interop::{Call, Counts, Dir, Process, Server, Sipp, Uas, turn};

/// Calls of each run.
const CALLS: u32 = 200;
/// Of these, that `sip call` makes: a process each.
const OURS: usize = 32;
/// What a run with loss may take: Timer B, and what comes before and after.
const SECONDS: u64 = 90;

/// How SIPp reaches us.
#[derive(Clone, Copy)]
enum Way {
    Udp,
    /// With a share of what SIPp sends and receives lost, in percent.
    Losing(u32),
    Tcp,
}

impl Way {
    const ALL: [Way; 3] = [Way::Udp, Way::Tcp, Way::Losing(10)];

    fn of(self, sipp: Sipp) -> Sipp {
        match self {
            Way::Udp => sipp,
            Way::Losing(percent) => sipp.losing(percent),
            Way::Tcp => sipp.tcp(),
        }
    }

    /// Who answers: it loses a tenth where there is loss. With a fifth, one of some hundred runs had a call of which SIPp lost all: it
    /// sends an INVITE seven times within its 90 s.
    fn callee(self) -> Sipp {
        match self {
            Way::Udp => Sipp::scenario("uas-behind-proxy", None),
            Way::Tcp => Sipp::scenario("uas-behind-proxy", None).tcp(),
            Way::Losing(_) => Sipp::scenario("uas-losing", None).patient(),
        }
    }

    fn pick(self, udp: SocketAddr, tcp: SocketAddr) -> SocketAddr {
        if matches!(self, Way::Tcp) { tcp } else { udp }
    }

    fn name(self) -> String {
        match self {
            Way::Udp => "udp".into(),
            Way::Losing(percent) => format!("losing-{percent}"),
            Way::Tcp => "tcp".into(),
        }
    }
}

fn at(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// Server transactions of both kinds. A call may end before its lost ACK has been sent again.
#[test]
fn two_hundred_calls_of_sipp_reach_a_user_agent_once_each_whatever_is_lost() {
    let Some(_turn) = turn(&["sipp"]) else { return };
    let dir = Dir::new("load-uas");
    for way in Way::ALL {
        let mut uas = Uas::start(&dir, "127.0.0.1");
        let target = way.pick(uas.udp, uas.tcp);
        let sipp =
            Sipp::scenario("uac", Some(target)).with(["-key", "domain", &target.to_string(), "-d", "0"]);
        way.of(sipp).calls(CALLS, 100, SECONDS).run(&dir, &way.name());
        let counted = uas.end();
        let wanted = u64::from(CALLS);
        assert_eq!((counted.calls, counted.ended, counted.others), (wanted, wanted, 0), "{}", way.name());
        if !matches!(way, Way::Losing(_)) {
            assert_eq!(counted.acknowledged, wanted, "{}", way.name());
        }
    }
}

#[test]
fn two_hundred_registrations_and_options_of_sipp_are_each_answered_once_whatever_is_lost() {
    let Some(_turn) = turn(&["sipp"]) else { return };
    let dir = Dir::new("load-others");
    for way in [Way::Udp, Way::Tcp, Way::Losing(10)] {
        let mut server = Server::start(&dir, None, &[]);
        let target = Some(way.pick(server.udp, server.tcp));
        let ask = |scenario: &str| {
            let sipp = Sipp::scenario(scenario, target).calls(CALLS, 200, SECONDS).service("bob");
            let sipp = sipp.with(["-key", "domain", "example.test", "-key", "contact", "127.0.0.1:9"]);
            way.of(sipp).run(&dir, &format!("{scenario}-{}", way.name()));
        };
        ask("options");
        ask("register-for-another");
        let wanted = Counts { granted: u64::from(CALLS), proxied: 0, refused: 0, bindings: 1 };
        assert_eq!(server.end(), wanted, "{}", way.name());
    }
}

/// Calls of SIPp to SIPp through `sip server`, so many a second, each of so many milliseconds: all of them succeed.
fn through_the_proxy(dir: &Dir, way: Way, arguments: &[&str], calls: u32, per_second: u32, lasts: &str) {
    let mut server = Server::start(dir, None, arguments);
    let callee = way.callee().calls(calls, per_second, SECONDS);
    let transport = if matches!(way, Way::Tcp) { "tcp" } else { "udp" };
    let contact = format!("{};transport={transport}", at(callee.port));
    let name = format!("callee-{}", way.name());
    let callee = callee.start(dir, &name);
    let domain = ["-key", "domain", "example.test"];
    Sipp::scenario("register-for-another", Some(server.udp))
        .with(domain)
        .with(["-key", "contact", &contact])
        .service("bob")
        .run(dir, "register");
    let caller = Sipp::scenario("uac", Some(way.pick(server.udp, server.tcp)));
    let caller = caller.with(domain).service("bob").with(["-d", lasts]).calls(calls, per_second, SECONDS);
    way.of(caller).run(dir, &format!("caller-{}", way.name()));
    Sipp::succeed(callee, dir, &name, Duration::from_secs(SECONDS));
    let counted = server.end();
    // INVITE and BYE.
    let wanted = Counts { granted: 1, proxied: 2 * u64::from(calls), refused: 0, bindings: 1 };
    assert_eq!(counted, wanted, "{}", way.name());
}

/// Client transactions of both kinds: INVITE and BYE of SIPp on one side to SIPp on the other, which counts a request that
/// comes again as a new one, as unexpected.
#[test]
fn two_hundred_calls_of_sipp_to_sipp_through_the_proxy_whatever_is_lost() {
    let Some(_turn) = turn(&["sipp"]) else { return };
    let dir = Dir::new("load-proxy");
    for way in Way::ALL {
        through_the_proxy(&dir, way, &[], CALLS, 100, "300");
    }
}

/// Calls shared out among three threads: the BYE leaves right behind the ACK, and none overtakes it, which SIPp would call unexpected.
#[test]
fn six_thousand_calls_through_three_threads_keep_their_order() {
    let Some(_turn) = turn(&["sipp"]) else { return };
    let dir = Dir::new("load-threads");
    for way in [Way::Udp, Way::Tcp] {
        through_the_proxy(&dir, way, &["--threads", "3"], 3_000, 300, "0");
    }
}

/// Our own calls, eight at a time.
#[test]
fn calls_of_ours_to_sipp_complete_whatever_is_lost() {
    let Some(_turn) = turn(&["sipp"]) else { return };
    let dir = Dir::new("load-uac");
    for way in [Way::Tcp, Way::Losing(10)] {
        let sipp = way.callee().calls(OURS as u32, 100, SECONDS);
        let transport = if matches!(way, Way::Tcp) { "tcp" } else { "udp" };
        let uri = format!("sip:bob@{};transport={transport}", at(sipp.port));
        let mut sipp = sipp.start(&dir, &format!("callee-{}", way.name()));
        let listen = format!("{transport}:127.0.0.1:0");
        let mut running: Vec<Process> = Vec::new();
        for number in 0..OURS {
            if running.len() == 8 {
                complete(running.remove(0));
            }
            let name = format!("call-{}-{number}", way.name());
            running.push(Call::start(&dir, &name, &uri, ["--for", "0.2", "--listen", &listen]));
        }
        running.into_iter().for_each(complete);
        if matches!(way, Way::Losing(_)) {
            assert_eq!(sipp.finish_within(Duration::from_secs(20)), 0, "SIPp counted failed calls");
        }
    }
}

fn complete(call: Process) {
    let call = Call::end(call, Duration::from_secs(70));
    assert_eq!((call.code, call.value("/result").as_str()), (0, Some("ended")), "{}", call.json);
}
