//! RFC 3263 §4 and §5 paragraph by paragraph, with RFC 2782, RFC 7118 §5.5, RFC 7984 and the size rule of RFC 3261
//! §18.1.1: a URI, a zone, and what is asked and tried.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::collections::HashMap;
use std::time::Duration;

use sip_message::headers::Via;
use sip_transport::resolve::{
    FURTHER_TARGETS_DELAY, MAX_CANDIDATES, MAX_TARGETS, Need, Progress, RESOLUTION_DELAY, Resolution,
    Unreachable,
};
use sip_transport::{Naptr, Question, Records, ResolveError, Srv, Supported, Transport};

/// Zone data as in a zone file, one record a line: `name TYPE data`.
struct Zone(HashMap<String, Records>);

impl Zone {
    fn of(text: &str) -> Zone {
        let mut zone = HashMap::new();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let key = fields[..2].join(" ");
            let number = |index: usize| fields[index].parse().unwrap();
            let quoted = |index: usize| fields[index].trim_matches('"').to_owned();
            match fields[1] {
                "NAPTR" => {
                    let Records::Naptr(list) = zone.entry(key).or_insert(Records::Naptr(vec![])) else {
                        panic!()
                    };
                    list.push(Naptr {
                        order: number(2),
                        preference: number(3),
                        flags: quoted(4),
                        service: quoted(5),
                        regexp: quoted(6),
                        replacement: quoted(7),
                    });
                }
                "SRV" => {
                    let Records::Srv(list) = zone.entry(key).or_insert(Records::Srv(vec![])) else {
                        panic!()
                    };
                    let (priority, weight, port, target) = (number(2), number(3), number(4), quoted(5));
                    list.push(Srv { priority, weight, port, target });
                }
                _ => {
                    let Records::Addresses(list) = zone.entry(key).or_insert(Records::Addresses(vec![]))
                    else {
                        panic!()
                    };
                    list.push(fields[2].parse().unwrap());
                }
            }
        }
        Zone(zone)
    }

    fn answer(&self, question: &Question) -> Result<Records, ResolveError> {
        self.0.get(&question.to_string()).cloned().ok_or(ResolveError::NotFound)
    }
}

/// All transports over both families.
fn everything() -> Supported {
    Transport::ALL
        .iter()
        .fold(Supported::NONE, |set, transport| set.with(*transport, true).with(*transport, false))
}

/// UDP and TCP over IPv4.
fn plain() -> Supported {
    Supported::NONE.with(Transport::Udp, true).with(Transport::Tcp, true)
}

fn need(size: usize, supported: Supported) -> Need {
    Need { size, supported, random: 1 }
}

/// Asks the zone until the end. Gives the questions, those of one stage in one line, and what is to be tried.
fn run(mut resolution: Resolution, zone: &Zone) -> (Vec<String>, Vec<String>) {
    let mut stages = Vec::new();
    loop {
        let questions = resolution.ask();
        if questions.is_empty() {
            break;
        }
        stages.push(questions.iter().map(Question::to_string).collect::<Vec<_>>().join(", "));
        for question in &questions {
            resolution.answer(question, zone.answer(question));
        }
    }
    let tried = match resolution.progress() {
        Progress::Done(list) => {
            list.iter().map(|to| format!("{} {}", to.transport.uri_param(), to.remote)).collect()
        }
        Progress::Failed(reason) => vec![format!("failed: {reason}")],
        Progress::Waiting(_) => panic!("waits for nothing"),
    };
    (stages, tried)
}

fn resolve(uri: &str, size: usize, supported: Supported, zone: &str) -> (Vec<String>, Vec<String>) {
    run(Resolution::new(&uri.parse().unwrap(), need(size, supported)), &Zone::of(zone))
}

#[track_caller]
fn check(uri: &str, supported: Supported, zone: &str, stages: &[&str], tried: &[&str]) {
    let (asked, places) = resolve(uri, 900, supported, zone);
    assert_eq!(asked, stages, "asked for {uri}");
    assert_eq!(places, tried, "tried for {uri}");
}

/// The zone of the example of RFC 3263 §4.1.
const EXAMPLE: &str = r#"
    example.com            NAPTR 50  50 "s" "SIPS+D2T" "" _sips._tcp.example.com.
    example.com            NAPTR 90  50 "s" "SIP+D2T"  "" _sip._tcp.example.com
    example.com            NAPTR 100 50 "s" "SIP+D2U"  "" _sip._udp.example.com.
    _sips._tcp.example.com SRV   0 1 5061 server3.example.com
    _sip._tcp.example.com  SRV   0 1 5060 server1.example.com
    _sip._tcp.example.com  SRV   5 2 5060 server2.example.com
    _sip._udp.example.com  SRV   0 1 5060 server4.example.com
    server1.example.com    A     192.0.2.1
    server2.example.com    A     192.0.2.2
    server3.example.com    A     192.0.2.3
    server4.example.com    A     192.0.2.4
"#;

/// "Since the client supports TCP and UDP, TCP will be used, targeted to a host determined by an SRV lookup of
/// _sip._tcp.example.com."
#[test]
fn rfc_3263_4_1_the_example_over_tcp_and_udp() {
    check(
        "sip:user@example.com",
        plain(),
        EXAMPLE,
        &["example.com NAPTR", "_sip._tcp.example.com SRV", "server1.example.com A, server2.example.com A"],
        &["tcp 192.0.2.1:5060", "tcp 192.0.2.2:5060"],
    );
}

/// "A client resolving a SIP URI SHOULD retain records with "SIPS" as the protocol, if the client supports TLS."
#[test]
fn rfc_3263_4_1_a_client_with_tls_uses_it_where_the_domain_prefers_it() {
    check(
        "sip:user@example.com",
        plain().with(Transport::Tls, true),
        EXAMPLE,
        &["example.com NAPTR", "_sips._tcp.example.com SRV", "server3.example.com A"],
        &["tls 192.0.2.3:5061"],
    );
}

/// "A client resolving a SIPS URI MUST discard any services that do not contain "SIPS" as the protocol."
#[test]
fn rfc_3263_4_1_a_sips_uri_takes_secure_services_only() {
    let unsecured = EXAMPLE.lines().filter(|line| !line.contains("ips")).collect::<Vec<_>>().join("\n");
    let all = plain().with(Transport::Tls, true);
    check(
        "sips:user@example.com",
        all,
        EXAMPLE,
        &["example.com NAPTR", "_sips._tcp.example.com SRV", "server3.example.com A"],
        &["tls 192.0.2.3:5061"],
    );
    check(
        "sips:user@example.com",
        all,
        &unsecured,
        &["example.com NAPTR", "_sips._tcp.example.com SRV", "example.com A"],
        &["failed: example.com: no such name or no such record"],
    );
}

/// "A client MUST discard any service fields that identify a resolution service whose value is not "D2X""; records
/// that are not terminal or have a regular expression are not of this application.
#[test]
fn rfc_3263_4_1_records_that_do_not_fit_are_discarded() {
    let zone = r#"
        example.com NAPTR 1 1 "u" "E2U+sip"  "!^.*$!sip:info@example.com!" .
        example.com NAPTR 2 1 "s" "SIP+D2S"  ""    _sip._sctp.example.com
        example.com NAPTR 3 1 "s" "SIPS+D2U" ""    _sips._udp.example.com
        example.com NAPTR 4 1 "a" "SIP+D2U"  ""    host.example.com
        example.com NAPTR 5 1 "s" "SIP+D2U"  "!x!y!" _sip._udp.example.com
        example.com NAPTR 6 1 "s" "SIP+D2U"  ""    .
        example.com NAPTR 7 1 "S" "sip+d2t"  ""    _sip._tcp.example.com
        _sip._tcp.example.com SRV 0 0 5070 a.example.com
        a.example.com A 192.0.2.1
    "#;
    let stages = ["example.com NAPTR", "_sip._tcp.example.com SRV", "a.example.com A"];
    check("sip:example.com", plain(), zone, &stages, &["tcp 192.0.2.1:5070"]);
}

/// "It is not necessary for the domain suffixes in the NAPTR replacement field to match the domain of the original
/// query."
#[test]
fn rfc_3263_4_1_a_replacement_may_be_in_another_domain() {
    let zone = r#"
        example.com NAPTR 1 1 "s" "SIP+D2U" "" _sip._udp.school.edu
        _sip._udp.school.edu SRV 0 0 5060 sip.school.edu
        sip.school.edu A 192.0.2.9
    "#;
    let stages = ["example.com NAPTR", "_sip._udp.school.edu SRV", "sip.school.edu A"];
    check("sip:example.com", plain(), zone, &stages, &["udp 192.0.2.9:5060"]);
}

/// RFC 3403 §4.1: records of one order stand in for each other by preference, those of another order MUST NOT be
/// considered once there is a match; only a service that leads to nothing at all is none.
#[test]
fn rfc_3403_4_1_order_decides_and_preference_sorts() {
    let zone = r#"
        example.com NAPTR 10 20 "s" "SIP+D2U" "" u.example.com
        example.com NAPTR 10 10 "s" "SIP+D2T" "" t.example.com
        example.com NAPTR 20 1  "s" "SIP+D2U" "" late.example.com
        t.example.com SRV 0 0 5061 a.example.com
        u.example.com SRV 0 0 5062 a.example.com
        late.example.com SRV 0 0 5063 a.example.com
        a.example.com A 192.0.2.1
    "#;
    let stages = ["example.com NAPTR", "t.example.com SRV, u.example.com SRV", "a.example.com A"];
    check("sip:example.com", plain(), zone, &stages, &["tcp 192.0.2.1:5061"]);
    let gone = zone.replace("t.example.com SRV", "x.example.com SRV");
    check("sip:example.com", plain(), &gone, &stages, &["udp 192.0.2.1:5062"]);
    let gone = gone.replace("u.example.com SRV", "x.example.com SRV");
    let stages = [stages[0], stages[1], "late.example.com SRV", stages[2]];
    check("sip:example.com", plain(), &gone, &stages, &["udp 192.0.2.1:5063"]);
}

/// "If no NAPTR records are found, the client constructs SRV queries for those transport protocols it supports, and
/// does a query for each."
#[test]
fn rfc_3263_4_1_without_naptr_each_transport_is_asked_for() {
    let both = r"
        _sip._udp.example.com SRV 0 0 5070 a.example.com
        _sip._tcp.example.com SRV 0 0 5080 a.example.com
        a.example.com A 192.0.2.1
    ";
    let srv = "_sip._udp.example.com SRV, _sip._tcp.example.com SRV";
    let stages = ["example.com NAPTR", srv, "a.example.com A"];
    check("sip:example.com", plain(), both, &stages, &["udp 192.0.2.1:5070"]);
    check("sip:example.com", plain(), &both.replace("_sip._udp", "_x"), &stages, &["tcp 192.0.2.1:5080"]);

    let tcp = Supported::NONE.with(Transport::Tcp, true);
    let stages = ["example.com NAPTR", "_sip._tcp.example.com SRV", "a.example.com A"];
    check("sip:example.com", tcp, both, &stages, &["tcp 192.0.2.1:5080"]);
}

/// "If no SRV records are found, the client SHOULD use TCP for a SIPS URI, and UDP for a SIP URI", and §4.2: "the
/// client performs an A or AAAA record lookup of the domain name", at the default port of the transport.
#[test]
fn rfc_3263_4_2_without_srv_the_addresses_of_the_domain_are_tried() {
    let zone = "example.com A 192.0.2.1\nexample.com AAAA 2001:db8::1";
    let all = everything();
    let srv = "_sip._udp.example.com SRV, _sip._tcp.example.com SRV";
    let addresses = "example.com AAAA, example.com A";
    let stages = ["example.com NAPTR", srv, addresses];
    check("sip:example.com", all, zone, &stages, &["udp [2001:db8::1]:5060", "udp 192.0.2.1:5060"]);
    let stages = ["example.com NAPTR", "_sips._tcp.example.com SRV", addresses];
    check("sips:example.com", all, zone, &stages, &["tls [2001:db8::1]:5061", "tls 192.0.2.1:5061"]);
    let tcp = Supported::NONE.with(Transport::Tcp, true);
    let stages = ["example.com NAPTR", "_sip._tcp.example.com SRV", "example.com A"];
    check("sip:example.com", tcp, zone, &stages, &["tcp 192.0.2.1:5060"]);
}

/// "If TARGET is a numeric IP address, the client uses that address", over UDP for a SIP URI and TCP (TLS) for a SIPS
/// URI; "if no port is specified, it uses the default port".
#[test]
fn rfc_3263_4_1_and_4_2_numeric_hosts_are_used_as_they_are() {
    for (uri, place) in [
        ("sip:192.0.2.1", "udp 192.0.2.1:5060"),
        ("sip:bob@192.0.2.1:5070;transport=tcp", "tcp 192.0.2.1:5070"),
        ("sip:[2001:db8::1]:5070", "udp [2001:db8::1]:5070"),
        ("sip:[::ffff:192.0.2.1]", "udp 192.0.2.1:5060"),
        ("sips:192.0.2.1", "tls 192.0.2.1:5061"),
        ("sips:192.0.2.1;transport=tcp", "tls 192.0.2.1:5061"),
        ("sip:192.0.2.1;transport=tls", "tls 192.0.2.1:5061"),
        ("sip:example.com;maddr=192.0.2.3", "udp 192.0.2.3:5060"),
        ("sip:example.com:5070;maddr=192.0.2.3", "udp 192.0.2.3:5070"),
    ] {
        check(uri, everything(), "", &[], &[place]);
    }
}

/// "If the TARGET was not a numeric IP address, but a port is present in the URI, the client performs an A or AAAA
/// record lookup", also for 5060.
#[test]
fn rfc_3263_4_2_a_port_means_addresses_alone() {
    let zone =
        "example.com A 192.0.2.1\nexample.com A 192.0.2.2\n_sip._udp.example.com SRV 0 0 1 example.com";
    for port in [5060, 5070] {
        let uri = format!("sip:bob@example.com:{port}");
        let places = [format!("udp 192.0.2.1:{port}"), format!("udp 192.0.2.2:{port}")];
        check(&uri, plain(), zone, &["example.com A"], &[&places[0], &places[1]]);
    }
}

/// §4.2: "because a transport was specified explicitly, the client performs an SRV query for that specific transport,
/// using the service identifier "_sips" for SIPS URIs. For a SIP URI, if the client wishes to use TLS, it also uses
/// the service identifier "_sips"."
#[test]
fn rfc_3263_4_2_a_named_transport_is_asked_for_alone() {
    for (uri, name, default) in [
        ("sip:example.com;transport=udp", "_sip._udp.example.com", "udp 192.0.2.1:5060"),
        ("sip:example.com;transport=TCP", "_sip._tcp.example.com", "tcp 192.0.2.1:5060"),
        ("sip:example.com;transport=tls", "_sips._tcp.example.com", "tls 192.0.2.1:5061"),
        ("sips:example.com;transport=tcp", "_sips._tcp.example.com", "tls 192.0.2.1:5061"),
        ("sip:x.org;maddr=example.com;transport=tcp", "_sip._tcp.example.com", "tcp 192.0.2.1:5060"),
    ] {
        let supported = plain().with(Transport::Tls, true);
        let srv = format!("{name} SRV");
        check(uri, supported, "example.com A 192.0.2.1", &[&srv, "example.com A"], &[default]);
        let zone = format!("{name} SRV 0 0 7 a.example.com\na.example.com A 192.0.2.7");
        let transport = default.split(' ').next().unwrap();
        check(uri, supported, &zone, &[&srv, "a.example.com A"], &[&format!("{transport} 192.0.2.7:7")]);
    }
}

/// RFC 7118 §5.5: NAPTR knows WebSocket, SRV names are not defined for it, the ports are 80 and 443.
#[test]
fn rfc_7118_5_5_websocket_servers_are_found_by_naptr_or_by_their_addresses() {
    let all = everything();
    let v4 = "example.com AAAA, example.com A";
    check("sip:example.com;transport=ws", all, "example.com A 192.0.2.1", &[v4], &["ws 192.0.2.1:80"]);
    check("sips:example.com;transport=ws", all, "example.com A 192.0.2.1", &[v4], &["wss 192.0.2.1:443"]);
    check("sip:192.0.2.1;transport=ws", all, "", &[], &["ws 192.0.2.1:80"]);
    let zone = r#"
        example.com NAPTR 1 1 "s" "SIPS+D2W" "" _sips._ws.example.com
        _sips._ws.example.com SRV 0 0 8443 a.example.com
        a.example.com A 192.0.2.1
    "#;
    let stages = ["example.com NAPTR", "_sips._ws.example.com SRV", "a.example.com AAAA, a.example.com A"];
    check("sips:example.com", all, zone, &stages, &["wss 192.0.2.1:8443"]);
}

#[test]
fn rfc_2782_targets_are_tried_by_priority_and_then_their_addresses() {
    let zone = r"
        _sip._udp.example.com SRV 20 0 5060 b.example.com.
        _sip._udp.example.com SRV 10 0 5070 a.example.com
        _sip._udp.example.com SRV 30 0 5080 nowhere.example.com
        a.example.com A 192.0.2.1
        a.example.com A 192.0.2.2
        b.example.com A 192.0.2.3
    ";
    let stages = ["_sip._udp.example.com SRV", "a.example.com A, b.example.com A, nowhere.example.com A"];
    let places = ["udp 192.0.2.1:5070", "udp 192.0.2.2:5070", "udp 192.0.2.3:5060"];
    check("sip:example.com;transport=udp", plain(), zone, &stages, &places);
}

/// "A Target of "." means that the service is decidedly not available at this domain."
#[test]
fn rfc_2782_a_root_target_says_no() {
    let zone = "_sip._udp.example.com SRV 0 0 0 .\nexample.com A 192.0.2.1";
    let srv = ["_sip._udp.example.com SRV"];
    check(
        "sip:example.com;transport=udp",
        plain(),
        zone,
        &srv,
        &["failed: example.com offers no SIP service"],
    );
    // Another transport may be offered all the same.
    let zone = format!("{zone}\n_sip._tcp.example.com SRV 0 0 5060 example.com");
    let stages =
        ["example.com NAPTR", "_sip._udp.example.com SRV, _sip._tcp.example.com SRV", "example.com A"];
    check("sip:example.com", plain(), &zone, &stages, &["tcp 192.0.2.1:5060"]);
}

/// RFC 3261 §18.1.1: over 1300 octets a connection, and the datagram only when there is none.
#[test]
fn rfc_3261_18_1_1_large_requests_go_over_connections_first() {
    let large = |uri, zone| resolve(uri, 1301, plain(), zone);
    assert_eq!(resolve("sip:192.0.2.1", 1300, plain(), "").1, ["udp 192.0.2.1:5060"]);
    assert_eq!(large("sip:192.0.2.1", "").1, ["tcp 192.0.2.1:5060", "udp 192.0.2.1:5060"]);
    let udp = Supported::NONE.with(Transport::Udp, true);
    assert_eq!(resolve("sip:192.0.2.1", 1301, udp, "").1, ["udp 192.0.2.1:5060"]);

    let zone = r"
        _sip._udp.example.com SRV 0 0 5070 a.example.com
        _sip._tcp.example.com SRV 0 0 5080 a.example.com
        a.example.com A 192.0.2.1
    ";
    let (asked, tried) = large("sip:example.com", zone);
    assert_eq!(asked[1], "_sip._tcp.example.com SRV, _sip._udp.example.com SRV");
    assert_eq!(tried, ["tcp 192.0.2.1:5080", "tcp 192.0.2.1:5070", "udp 192.0.2.1:5070"]);

    // All connections of a host before its datagrams, so that those of two address families can race.
    let (_, tried) =
        resolve("sip:d.org:5060", 1301, everything(), "d.org A 192.0.2.1\nd.org AAAA 2001:db8::1");
    let tcp = ["tcp [2001:db8::1]:5060", "tcp 192.0.2.1:5060"];
    assert_eq!(tried, [tcp[0], tcp[1], "udp [2001:db8::1]:5060", "udp 192.0.2.1:5060"]);

    let naptr = r#"
        example.com NAPTR 1 1 "s" "SIP+D2U" "" _sip._udp.example.com
        example.com NAPTR 2 1 "s" "SIP+D2T" "" _sip._tcp.example.com
    "#;
    assert_eq!(large("sip:example.com", &format!("{naptr}{zone}")).1[0], "tcp 192.0.2.1:5080");
}

/// The example of RFC 7984 §4, in its order: the addresses of one target are sorted among themselves (RFC 6724), and
/// those of two targets are never mixed.
#[test]
fn rfc_7984_4_the_example() {
    let zone = r"
        _sip._tcp.example.com SRV 10 1 5060 sip-1.example.com.
        _sip._tcp.example.com SRV 20 1 5060 sip-2.example.com.
        sip-1.example.com A 192.0.2.45
        sip-1.example.com A 203.0.113.109
        sip-1.example.com A 198.51.100.24
        sip-1.example.com AAAA 2001:0db8:58:c02::face
        sip-1.example.com AAAA 2001:0db8:c:a06::2:cafe
        sip-1.example.com AAAA 2001:0db8:44:204::d1ce
        sip-2.example.com A 192.0.2.75
        sip-2.example.com A 203.0.113.38
        sip-2.example.com A 198.51.100.140
        sip-2.example.com AAAA 2001:0db8:58:c02::dead
        sip-2.example.com AAAA 2001:0db8:c:a06::2:beef
        sip-2.example.com AAAA 2001:0db8:44:204::c0de
    ";
    let (_, tried) = resolve("sip:example.com;transport=tcp", 0, everything(), zone);
    let expected = [
        "[2001:db8:58:c02::face]",
        "[2001:db8:c:a06::2:cafe]",
        "[2001:db8:44:204::d1ce]",
        "192.0.2.45",
        "203.0.113.109",
        "198.51.100.24",
        "[2001:db8:58:c02::dead]",
        "[2001:db8:c:a06::2:beef]",
        "[2001:db8:44:204::c0de]",
        "192.0.2.75",
        "203.0.113.38",
        "198.51.100.140",
    ];
    assert_eq!(tried, expected.map(|ip| format!("tcp {ip}:5060")));
}

/// RFC 7984 §3.1: families that we do not support are not asked for, and ignored where they come all the same.
#[test]
fn rfc_7984_3_1_addresses_of_other_families_are_ignored() {
    let v6 = Supported::NONE.with(Transport::Udp, false);
    let mut resolution = Resolution::new(&"sip:example.com:5060".parse().unwrap(), need(0, v6));
    assert_eq!(resolution.ask(), [Question::Aaaa("example.com".into())]);
    let mixed = ["192.0.2.1", "2001:db8::1", "::", "ff02::1"].map(|ip| ip.parse().unwrap()).to_vec();
    resolution.answer(&Question::A("example.com".into()), Ok(Records::Addresses(mixed.clone())));
    resolution.answer(&Question::Aaaa("example.com".into()), Ok(Records::Addresses(mixed)));
    let Progress::Done(list) = resolution.progress() else { panic!() };
    assert_eq!(list.iter().map(|to| to.remote.to_string()).collect::<Vec<_>>(), ["[2001:db8::1]:5060"]);
}

/// RFC 8305 §3: the family that is there does not wait long for the other one.
#[test]
fn rfc_8305_3_a_family_that_is_slow_is_waited_for_a_moment_and_another_server_a_little_longer() {
    let srv = |priority, target: &str| Srv { priority, weight: 0, port: 1, target: target.into() };
    let mut resolution =
        Resolution::new(&"sip:example.com;transport=udp".parse().unwrap(), need(0, everything()));
    let service = resolution.ask().remove(0);
    assert_eq!(resolution.progress(), Progress::Waiting(None));
    resolution.answer(&service, Ok(Records::Srv(vec![srv(1, "one"), srv(2, "two")])));
    assert_eq!(resolution.ask().len(), 4);
    let addresses = |ip: &str| Ok(Records::Addresses(vec![ip.parse().unwrap()]));
    let waits = |resolution: &Resolution, time: Option<Duration>| {
        assert_eq!(resolution.progress(), Progress::Waiting(time));
    };

    resolution.answer(&Question::A("two".into()), addresses("192.0.2.2"));
    waits(&resolution, None); // the first server has nothing yet
    resolution.answer(&Question::Aaaa("two".into()), Err(ResolveError::NotFound));
    waits(&resolution, None);
    resolution.answer(&Question::A("one".into()), addresses("192.0.2.1"));
    waits(&resolution, Some(RESOLUTION_DELAY));

    let mut other = resolution.clone();
    resolution.settle();
    let Progress::Done(list) = resolution.progress() else { panic!() };
    assert_eq!(list.len(), 2);
    // In time after all.
    other.answer(&Question::Aaaa("one".into()), addresses("2001:db8::1"));
    let Progress::Done(list) = other.progress() else { panic!() };
    assert!(list[0].remote.is_ipv6() && list.len() == 3);

    let mut resolution = Resolution::new(&"sip:example.com;transport=udp".parse().unwrap(), need(0, plain()));
    let service = resolution.ask().remove(0);
    resolution.answer(&service, Ok(Records::Srv(vec![srv(1, "one"), srv(2, "two")])));
    assert_eq!(resolution.ask().len(), 2);
    resolution.answer(&Question::A("one".into()), addresses("192.0.2.1"));
    waits(&resolution, Some(FURTHER_TARGETS_DELAY));
}

#[test]
fn what_cannot_be_reached_says_why() {
    for (uri, reason) in [
        ("tel:+15551234", Unreachable::Scheme("tel".into())),
        ("sip:192.0.2.1;transport=sctp", Unreachable::UnknownTransport("sctp".into())),
        ("sips:192.0.2.1;transport=udp", Unreachable::Insecure(Transport::Udp)),
        ("sip:192.0.2.1;transport=ws", Unreachable::NoLocal(Transport::Ws)),
        ("sip:example.com;transport=tls", Unreachable::NoLocal(Transport::Tls)),
        ("sip:[2001:db8::1]", Unreachable::NoLocal(Transport::Udp)),
        ("sips:example.com:5061", Unreachable::NoLocal(Transport::Tls)),
    ] {
        let mut resolution = Resolution::new(&uri.parse().unwrap(), need(0, plain()));
        assert!(resolution.ask().is_empty(), "{uri}");
        assert_eq!(resolution.progress(), Progress::Failed(reason), "{uri}");
    }
    let mut nowhere = Resolution::new(&"sip:nowhere.example:5060".parse().unwrap(), need(0, everything()));
    for (question, error) in nowhere.ask().iter().zip([ResolveError::NotFound, ResolveError::TimedOut]) {
        nowhere.answer(question, Err(error));
    }
    let error = Unreachable::Name { name: "nowhere.example".into(), error: ResolveError::TimedOut };
    assert_eq!(nowhere.progress(), Progress::Failed(error));
}

#[test]
fn a_name_server_that_fails_at_naptr_and_srv_does_not_hide_the_addresses() {
    let mut resolution = Resolution::new(&"sip:example.com".parse().unwrap(), need(0, plain()));
    for error in [ResolveError::TimedOut, ResolveError::Unsupported] {
        for question in resolution.ask() {
            resolution.answer(&question, Err(error));
        }
    }
    let questions = resolution.ask();
    assert_eq!(questions, [Question::A("example.com".into())]);
    resolution.answer(&questions[0], Ok(Records::Addresses(vec!["192.0.2.1".parse().unwrap()])));
    assert!(matches!(resolution.progress(), Progress::Done(_)));
}

#[test]
fn answers_to_other_questions_and_second_answers_are_ignored() {
    let mut resolution = Resolution::new(&"sip:example.com:5060".parse().unwrap(), need(0, everything()));
    let addresses = |ip: &str| Ok(Records::Addresses(vec![ip.parse().unwrap()]));
    let before = resolution.clone();
    resolution.answer(&Question::A("example.com".into()), addresses("192.0.2.66")); // not taken to be asked yet
    assert_eq!(resolution.progress(), before.progress());
    assert_eq!(resolution.ask().len(), 2);
    for forged in [Question::A("example.org".into()), Question::Srv("example.com".into())] {
        resolution.answer(&forged, addresses("192.0.2.66"));
    }
    resolution.answer(&Question::A("example.com".into()), addresses("192.0.2.1"));
    resolution.answer(&Question::A("example.com".into()), addresses("192.0.2.66"));
    resolution.answer(&Question::Aaaa("example.com".into()), Err(ResolveError::NotFound));
    let Progress::Done(list) = resolution.progress() else { panic!() };
    assert_eq!(list.iter().map(|to| to.remote.to_string()).collect::<Vec<_>>(), ["192.0.2.1:5060"]);
}

#[test]
fn a_zone_of_many_records_does_not_make_us_ask_forever() {
    let mut zone = String::new();
    for n in 0..1000 {
        zone.push_str(&format!("_sip._udp.example.com SRV {n} 0 5060 h{n}.example.com\n"));
        zone.push_str(&format!("h{n}.example.com A 192.0.2.{}\n", n % 250 + 1));
        for m in 0..10 {
            zone.push_str(&format!("h{n}.example.com A 198.51.{m}.{}\n", n % 250 + 1));
        }
    }
    let (asked, tried) = resolve("sip:example.com;transport=udp", 0, plain(), &zone);
    assert_eq!(asked[1].split(", ").count(), MAX_TARGETS);
    assert_eq!(tried.len(), MAX_CANDIDATES);
}

/// §5: "it attempts to send the response to that address, using the transport protocol from the Via header, and the
/// port from sent-by"; with a name and a port its addresses, with a name alone SRV, "_sips" if the transport is TLS.
#[test]
fn rfc_3263_5_responses_fall_back_to_the_sent_by() {
    let zone = Zone::of(
        r"
        client.example.com A 192.0.2.9
        _sip._udp.client.example.com SRV 1 0 5062 backup.example.com
        _sip._udp.client.example.com SRV 0 0 5061 client.example.com
        backup.example.com A 192.0.2.10
        ",
    );
    for (transport, host, port, stages, places) in [
        ("TCP", "192.0.2.7", None, &[][..], &["tcp 192.0.2.7:5060"][..]),
        ("TLS", "192.0.2.7", None, &[], &["tls 192.0.2.7:5061"]),
        ("UDP", "192.0.2.7", Some(5070), &[], &["udp 192.0.2.7:5070"]),
        ("TCP", "client.example.com", Some(5070), &["client.example.com A"], &["tcp 192.0.2.9:5070"]),
        (
            "UDP",
            "client.example.com",
            None,
            &["_sip._udp.client.example.com SRV", "client.example.com A, backup.example.com A"],
            &["udp 192.0.2.9:5061", "udp 192.0.2.10:5062"],
        ),
        (
            "TLS",
            "client.example.com",
            None,
            &["_sips._tcp.client.example.com SRV", "client.example.com A"],
            &["tls 192.0.2.9:5061"],
        ),
        ("SCTP", "client.example.com", None, &[], &["failed: unknown transport \"SCTP\""]),
    ] {
        let via = Via::new(transport, host, port);
        // Its size does not matter: the transport is that of the request.
        let resolution = Resolution::for_response(&via, need(5000, plain().with(Transport::Tls, true)));
        let (asked, tried) = run(resolution, &zone);
        assert_eq!(
            (asked.as_slice(), tried.as_slice()),
            (
                &stages.iter().map(ToString::to_string).collect::<Vec<_>>()[..],
                &places.iter().map(ToString::to_string).collect::<Vec<_>>()[..]
            ),
            "{transport} {host}"
        );
    }
}
