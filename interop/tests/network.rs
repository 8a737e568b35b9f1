//! Real networks that fail: two hosts, each a network namespace, and a link between them that loses, doubles, delays and
//! goes down.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::time::{Duration, Instant};

use interop::{
    Bad, Call, Counts, Dir, FAR, Faults, Link, NEAR, Process, Server, Sipp, TcpRelay, Uas, UdpRelay,
    isolated, program, turn,
};

/// Calls of a run: those of CI, or what the environment asks for.
fn calls(variable: &str, usual: u32) -> u32 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

/// The turn of a test of this name, inside of its own network.
fn inside(test: &str) -> Option<(interop::Turn, Link)> {
    let turn = turn(&["sipp", "ip", "nft", "unshare", "ss"])?;
    isolated(test).then(|| (turn, Link::new()))
}

/// Messages and repetitions of a line of SIPp's last screen.
fn of_screen(sipp: &Process, line: &str) -> [f64; 2] {
    let lines = sipp.lines();
    let found =
        lines.iter().rev().find(|one| one.trim_start().starts_with(line)).expect("SIPp's last screen");
    let mut numbers = found.split_whitespace().filter_map(|word| word.parse().ok());
    [(); 2].map(|()| numbers.next().expect("numbers"))
}

/// How often a request is repeated until its answer comes, on average, and the variance of that: each try is doubled,
/// lost, answered; the answers are doubled and lost.
fn repetitions(bad: Bad) -> [f64; 2] {
    let (lost, twice) = (f64::from(bad.loss) / 100.0, f64::from(bad.twice) / 100.0);
    let one_lost = (1.0 - twice) * lost + twice * lost * lost;
    let two_came = twice * (1.0 - lost) * (1.0 - lost);
    let one_came = 1.0 - one_lost - two_came;
    let done = one_came * (1.0 - one_lost) + two_came * (1.0 - one_lost * one_lost);
    [1.0 / done - 1.0, (1.0 - done) / (done * done)]
}

/// R28: 20 % lost and 5 % doubled, each way. The long run: `INTEROP_R28=5000`.
#[test]
fn r28_every_call_completes_once_at_20_percent_loss_and_5_percent_doubled() {
    let Some((_turn, link)) =
        inside("r28_every_call_completes_once_at_20_percent_loss_and_5_percent_doubled")
    else {
        return;
    };
    let dir = Dir::new("r28");
    let number = calls("INTEROP_R28", 200);
    let mut uas = Uas::start(&dir, NEAR);
    let bad = Bad { loss: 20, twice: 5 };
    link.make("udp", bad);
    let seconds = u64::from(number) / 50 + 80;
    let sipp = Sipp::scenario("uac", Some(uas.udp)).on_far().patient().calls(number, 50, seconds);
    let sipp = sipp.with(["-key", "domain", &uas.udp.to_string(), "-d", "0"]);
    let sipp = Sipp::succeed(sipp.start(&dir, "sipp"), &dir, "sipp", Duration::from_secs(seconds + 15));
    let counted = uas.end();
    let number = u64::from(number);
    assert_eq!((counted.calls, counted.ended, counted.others), (number, number, 0));

    let [sent, repeated] = of_screen(&sipp, "BYE ---------->");
    let [mean, variance] = repetitions(bad);
    let (expected, deviation) = (sent * mean, (sent * variance).sqrt());
    println!(
        "{number} of {number} calls complete; BYE repeated {repeated} times, {expected:.0} expected ({:+.1} %), deviation {deviation:.0}",
        (repeated / expected - 1.0) * 100.0
    );
    assert!((repeated - expected).abs() < 4.5 * deviation, "{repeated} repetitions, {expected} expected");
}

/// R29: 5 % lost by the link, and each datagram and each piece of a stream 150±80 ms late, which lets datagrams overtake
/// each other. The long run: `INTEROP_R29=1000`.
#[test]
fn r29_registrations_and_calls_complete_at_5_percent_loss_and_150_ms_with_jitter() {
    let Some((_turn, link)) =
        inside("r29_registrations_and_calls_complete_at_5_percent_loss_and_150_ms_with_jitter")
    else {
        return;
    };
    let dir = Dir::new("r29");
    let number = calls("INTEROP_R29", 100);
    let mut uas = Uas::start(&dir, "127.0.0.1");
    let mut server = Server::start(&dir, None, &["--next-hop", &format!("sip:{};transport=udp", uas.udp)]);
    let [delay, jitter] = [150, 80].map(Duration::from_millis);
    let faults = Faults { seed: 29, delay, jitter, ..Faults::default() };
    let udp = UdpRelay::at(&format!("{NEAR}:0"), server.udp, faults);
    let tcp = TcpRelay::at(&format!("{NEAR}:0"), server.tcp, &[], faults);
    let lossy = Bad { loss: 5, twice: 0 };
    link.make("udp", lossy);
    link.make("tcp", lossy);
    let seconds = u64::from(number) / 20 + 80;
    let run = |scenario: &str, transport: &str| {
        let target = if transport == "tcp" { tcp.address } else { udp.address };
        let sipp =
            Sipp::scenario(scenario, Some(target)).on_far().patient().service("bob").with(["-d", "500"]);
        let sipp = sipp.with(["-key", "domain", "example.test", "-key", "contact", "10.77.0.2:9"]);
        let sipp = if transport == "tcp" { sipp.tcp().with(["-pause_msg_ign"]) } else { sipp };
        let name = format!("{scenario}-{transport}");
        (sipp.calls(number, 20, seconds).start(&dir, &name), name)
    };
    // All at once, on connections and sockets of their own.
    let runs = [
        run("uac", "udp"),
        run("uac-late", "tcp"),
        run("register-for-another", "udp"),
        run("register-for-another", "tcp"),
    ];
    for (sipp, name) in runs {
        Sipp::succeed(sipp, &dir, &name, Duration::from_secs(seconds + 15));
    }
    let (told, counted) = (uas.end(), server.end());
    let number = u64::from(number);
    println!("{number} registrations and calls each over UDP and TCP complete; UDP: {:?}", udp.relayed());
    assert_eq!((told.calls, told.ended, told.others), (2 * number, 2 * number, 0));
    assert_eq!(counted, Counts { granted: 2 * number, proxied: 4 * number, refused: 0, bindings: 1 });
}

/// Calls while the link is down for twenty seconds, somewhere on the way: those that RFC 3261's timers let live do, the
/// others end when they should with the word that fits.
#[test]
fn calls_outlive_a_link_that_is_down_for_twenty_seconds_or_end_in_time() {
    const DOWN: Duration = Duration::from_secs(20);
    let Some((_turn, link)) = inside("calls_outlive_a_link_that_is_down_for_twenty_seconds_or_end_in_time")
    else {
        return;
    };
    let dir = Dir::new("link-down");
    let mut uas = Uas::start(&dir, FAR);
    let (udp, tcp) =
        (format!("sip:bob@{};transport=udp", uas.udp), format!("sip:bob@{};transport=tcp", uas.tcp));
    let listen = ["--listen", "udp:10.77.0.1:0", "--listen", "tcp:10.77.0.1:0"];
    // They stand when it goes down, and hang up meanwhile or later; TCP doubles its intervals, so that one is not far off.
    let mut standing =
        [("udp", &udp, "6"), ("tcp", &tcp, "12"), ("later", &udp, "22")].map(|(name, uri, lasts)| {
            Call::start_in_words(&dir, name, uri, listen.iter().chain(&["--for", lasts]))
        });
    for call in &mut standing {
        call.wait_for("answered after");
    }
    link.wait_until_acknowledged();
    link.set_up(false);
    let down = Instant::now();
    let dial = |name: &str, uri: &str, ring: &str| {
        Call::start(&dir, name, uri, listen.iter().chain(&["--for", "0.2", "--ring", ring]))
    };
    let impatient = dial("impatient", &udp, "5");
    let over_tcp = dial("over-tcp", &tcp, "60");
    // Repeated 0.5, 1.5, 3.5, 7.5 and 15.5 s later: the last one meets the link up again.
    std::thread::sleep(Duration::from_secs(6).saturating_sub(down.elapsed()));
    let patient = dial("patient", &udp, "60");
    let until = |seconds: u64| Duration::from_secs(seconds).saturating_sub(down.elapsed());
    let over_tcp = Call::end(over_tcp, until(14));
    println!("over TCP, after {:?}: {}", down.elapsed(), over_tcp.value("/error"));
    assert_eq!(over_tcp.code, 4, "{}", over_tcp.json);
    let impatient = Call::end(impatient, until(14));
    println!("impatient, after {:?}: {}", down.elapsed(), impatient.value("/error"));
    let result = impatient.value("/result").as_str();
    assert_eq!((impatient.code, result), (4, Some("unreachable")), "{}", impatient.json);
    let error = impatient.value("/error").as_str().unwrap();
    assert!(error.contains("nothing was heard in 5.0 s"), "{error}");
    std::thread::sleep(DOWN.saturating_sub(down.elapsed()));
    link.set_up(true);
    let patient = Call::end(patient, Duration::from_secs(10));
    assert_eq!(patient.code, 0, "{}", patient.json);
    let answered = patient.value("/answered_after_seconds").as_f64().unwrap();
    assert!((13.0..17.0).contains(&answered), "{answered}");
    for mut call in standing {
        assert_eq!(call.finish_within(Duration::from_secs(12)), 0, "a BYE is repeated until it is answered");
    }
    let told = uas.end();
    assert_eq!((told.calls, told.acknowledged, told.ended, told.others), (4, 4, 4, 0));
}

/// The far host breaks the connection of a call that stands: its BYE goes over a new one.
#[test]
fn a_call_whose_connection_is_reset_ends_over_another() {
    let Some((_turn, link)) = inside("a_call_whose_connection_is_reset_ends_over_another") else { return };
    let dir = Dir::new("reset");
    let mut uas = Uas::start(&dir, FAR);
    let uri = format!("sip:bob@{};transport=tcp", uas.tcp);
    let arguments = ["--listen", "tcp:10.77.0.1:0", "--for", "1.5"];
    let mut call = Call::start_in_words(&dir, "call", &uri, arguments);
    call.wait_for("answered after");
    if !link.break_connections() {
        println!("skipped: this kernel breaks no connections for ss -K");
        return;
    }
    assert_eq!(call.finish_within(Duration::from_secs(10)), 0);
    let told = uas.end();
    assert_eq!((told.calls, told.ended), (1, 1));
}

/// This host gets another address in the middle of a call, and nobody tells the phone (RFC 3261 §12.2.1.2, RFC 6141): the call
/// goes on with sound, the caller's BYE and the next call find the phone where it is.
#[test]
fn a_phone_notices_by_itself_that_it_is_at_another_address() {
    let Some((_turn, link)) = inside("a_phone_notices_by_itself_that_it_is_at_another_address") else {
        return;
    };
    link.lead_everywhere();
    let dir = Dir::new("moves");
    let mut server = Server::start_far(&dir);
    let proxy = server.uri();
    let arguments = ["--register", "sip:alice@example.test", "--proxy", &proxy, "--answer", "--echo"];
    let arguments = ["phone", "--listen", "udp:0.0.0.0:0"].iter().chain(&arguments);
    let mut alice = Process::start(&dir, "alice", program(), arguments);
    alice.wait_for("registered");
    let call = |name: &str, seconds: &str| {
        Call::start_far(&dir, name, "sip:alice@example.test", &["--proxy", &proxy, "--for", seconds])
    };
    let standing = call("standing", "10");
    alice.wait_for("answered");
    let since = Instant::now();
    std::thread::sleep(Duration::from_secs(1));
    link.move_near();
    let standing = Call::end(standing, Duration::from_secs(20));
    assert_eq!(standing.code, 0, "{}", standing.json);
    assert_eq!(standing.value("/ended_by").as_str(), Some("us"), "{}", standing.json);
    assert!(since.elapsed() >= Duration::from_secs(9));
    // 50 packets a second for ten seconds; two of them at most pass before the move is noticed.
    let received = standing.value("/media/received_packets").as_u64().unwrap();
    assert!(received > 330, "{}", standing.json);
    let next = Call::end(call("next", "1"), Duration::from_secs(20));
    assert_eq!(next.code, 0, "{}", next.json);
    assert_eq!(alice.interrupt(), 0);
    let counted = server.end();
    assert_eq!((counted.refused, counted.bindings), (0, 0), "no binding is left at the old address");
    println!("{received} of 500 packets came during the call, {counted:?}");
}

/// What is dead: the name servers, one of which refuses while the other says nothing, and the connection to a next hop, which
/// a firewall on the way has forgotten. Both at once, as the latter is half a minute of waiting.
#[test]
fn dead_name_servers_and_a_dead_connection_end_calls_in_bounded_time() {
    let Some((_turn, link)) = inside("dead_name_servers_and_a_dead_connection_end_calls_in_bounded_time")
    else {
        return;
    };
    let dir = Dir::new("dead");
    assert!(use_name_server(&dir), "/etc/resolv.conf can be replaced in a mount namespace");
    // The far host refuses, and nobody has the other address.
    let mut resolvers = [FAR, "10.77.0.99"].map(|server| {
        let arguments = ["resolve", "sip:bob@gone.example", "--dns", server];
        Process::start(&dir, &format!("resolve-{server}"), program(), arguments)
    });
    let lost = Call::start(&dir, "lost", "sip:bob@gone.example", ["--for", "1"]);
    let began = Instant::now();
    let due = |seconds| Duration::from_secs(seconds).saturating_sub(began.elapsed());
    let lost = Call::end(lost, due(5));
    assert_eq!((lost.code, lost.value("/status").as_u64()), (4, Some(503)), "{}", lost.json);
    let error = lost.value("/error").as_str().unwrap();
    assert!(error.contains("gone.example: the name servers could not answer"), "{error}");
    let [refusing, silent] = &mut resolvers;
    assert_eq!(refusing.finish_within(due(5)), 4);
    refusing.wait_for("sip: gone.example: the name servers could not answer");
    // Three questions of 4 s.
    assert_eq!(silent.finish_within(due(15)), 4);
    silent.wait_for("sip: gone.example: the name servers");

    a_dead_connection_costs_one_call(&dir, &link);
}

/// The call that finds out waits until the connection is given up, and goes on over a new one; the next one takes that at once.
/// Without a limit on what is not acknowledged it would take the kernel a quarter of an hour.
fn a_dead_connection_costs_one_call(dir: &Dir, link: &Link) {
    let mut uas = Uas::start(dir, FAR);
    let hop = format!("sip:{};transport=tcp", uas.tcp);
    let server = Server::start_at(dir, NEAR, None, &["--next-hop", &hop]);
    let call = || {
        let arguments = ["--proxy", &server.uri(), "--listen", "udp:10.77.0.1:0", "--for", "0.2"];
        Call::end(
            Call::start_in_words(dir, "call", "sip:bob@example.test", arguments.iter().chain(&["--json"])),
            Duration::from_secs(40),
        )
    };
    let first = call();
    assert_eq!(first.code, 0, "{}", first.json);
    link.forget_connections();
    let second = call();
    assert_eq!(second.code, 0, "{}", second.json);
    let third = call();
    assert_eq!(third.code, 0, "{}", third.json);
    let told = uas.end();
    assert_eq!((told.calls, told.ended), (3, 3));
}

/// Makes the far host the system's name server, in this test's mount namespace.
fn use_name_server(dir: &Dir) -> bool {
    let file = dir.write("resolv.conf", format!("nameserver {FAR}\n"));
    let mount = std::process::Command::new("mount").arg("--bind").arg(file).arg("/etc/resolv.conf").status();
    mount.is_ok_and(|status| status.success())
}
