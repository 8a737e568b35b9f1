//! Files of settings: every fault with its line and column, and what is said of it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::path::Path;

use proptest::prelude::*;
use sip_server::settings::{Settings, reference};
use sip_server::{Config, Server};

/// All that is wrong, a line each.
fn faults(text: &str) -> String {
    Settings::parse(text).expect_err("faults").to_string()
}

const WELL: &str = "authentication = false\ndomains = [\"example.com\"]\n";

fn faults_after(text: &str) -> String {
    faults(&format!("{WELL}{text}"))
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

#[test]
fn all_faults_are_told_together_with_line_and_column() {
    let text = r#"listen = ["udp:nowhere", "tls:127.0.0.1:0"]
domians = ["example.com"]
domains = ["example.com", "a b"]
digest = ["MD6"]
record_route = "yes"
next_hop = "tel:+1"

[registrar]
min_expires = 7200
max_expires = 60

[limits]
contexts = 0
branches = -1

[[user]]
name = "alice"
password = ""

[[user]]
name = "alice"
ha1 = "123"
forward = { busy = "bobb", sometimes = "x" }

[[user]]
name = "bob"
password = "x"

[[hunt_group]]
name = "team"
strategy = "seriel"
members = ["alice", "bop", "team"]

[[route]]
pattern = "(00"
reject = 404

[[route]]
prefix = "0"

[[route]]
pattern = "0(.*)"
trunk = "carier"
number = "$2"

[[trunk]]
name = "carrier"
gateways = [{ uri = "sip:me@gw.example" }]

[[block]]
status = 200
"#;
    let expected = r#"1:11: "nowhere" is no address with a port: write it like 127.0.0.1:5060 or [::]:5060
1:26: tls:127.0.0.1:0 needs a certificate: add [tls] with certificate = "FILE"
2:1: unknown key "domians"; did you mean "domains"?
3:27: "a b" is no host name or address
4:11: "MD6" is no digest algorithm that is known; did you mean "MD5"?
5:16: expected true or false, found a string
6:12: "tel:+1" is no sip or sips URI
9:15: min_expires: expected 1 to 3600
10:15: max_expires: expected 7200 to 4294967295
13:12: contexts: 0 would let nothing through; leave it out for the default
14:12: expected a number from 0 to 18446744073709551615
18:12: the password is empty: everybody could be that user
21:8: the user "alice" is there already; take one of the two out
22:7: expected 32 hexadecimal digits
23:20: there is no user, alias or hunt group "bobb", and no route for it; did you mean "bob"?
23:28: unknown key "sometimes"
31:12: expected "parallel", "serial" or "round-robin"; did you mean "serial"?
32:21: there is no user, alias or hunt group "bop", and no route for it; did you mean "bob"?
32:28: a hunt group cannot be a member of one; name it in otherwise, or name its members
35:11: "(00" is no regular expression: unclosed group
38:1: a route does one thing: name one of to, via, trunk, redirect, reject
43:9: there is no trunk "carier"; did you mean "carrier"?
44:10: $2: the pattern has 1 groups in parentheses
48:21: the user part of a gateway's URI is the called number: leave it out
50:1: a [[block]] that names nobody would stop everybody: add caller, source or called
51:10: 200 is no status for this: expected 400 to 699"#;
    let found = faults(text);
    let (found, expected): (Vec<&str>, Vec<&str>) = (found.lines().collect(), expected.lines().collect());
    assert_eq!(found, expected);
}

#[test]
fn what_is_no_toml_is_told_too() {
    assert!(
        faults("domains = [\"a\"\nx = ").starts_with("1:")
            || faults("domains = [\"a\"\nx = ").starts_with("2:")
    );
    assert!(faults("a = 1\na = 2").contains("2:1: "), "{}", faults("a = 1\na = 2"));
}

#[test]
fn the_defaults_are_the_safe_ones() {
    assert_eq!(
        faults("domains = [\"example.com\"]"),
        "1:1: there are no users: add [[user]] or users_file = \"FILE\", or write authentication = false if nobody shall \
         be asked who they are"
    );
    let settings =
        Settings::parse("domains = [\"example.com\"]\n[[user]]\nname = \"alice\"\npassword = \"x\"").unwrap();
    assert!(settings.file().listen.iter().all(|listen| listen.contains(":127.0.0.1:")));
    let mut config = Config::new([0; 32], sip_transport::Locals::default());
    settings.configure(&mut config);
    assert!(!config.open_relay && config.challenge_calls && config.users.is_some());
    assert!(faults("").contains("there is nobody to serve"));
}

/// Whoever prints settings prints no password.
#[test]
fn passwords_are_not_shown() {
    let text = "domains = [\"example.com\"]\nhep = { collector = \"192.0.2.5:9060\", key = \"hush-1\" }\n[[user]]\nname = \"a\"\n\
        password = \"hush-2\"\n[[user]]\nname = \"b\"\nha1 = \"0123456789abcdef0123456789abcdef\"\n[[trunk]]\nname = \"t\"\n\
        username = \"u\"\npassword = \"hush-3\"\ngateways = [{ uri = \"sip:gw\" }]\n";
    let shown = format!("{:?}", Settings::parse(text).unwrap());
    assert!(
        shown.contains("example.com") && !shown.contains("hush") && !shown.contains("0123456789abcdef"),
        "{shown}"
    );
}

#[test]
fn a_route_that_nobody_can_take_is_a_fault() {
    let route = "[[route]]\nprefix = \"0\"\ntrunk = \"t\"\n[[trunk]]\nname = \"t\"\ngateways = [{ uri = \"sip:gw\" }]\n";
    assert!(faults_after(route).starts_with("3:1: nobody proves to be a user"));
    Settings::parse(&format!("{WELL}{}", route.replace("prefix", "callers = \"anyone\"\nprefix"))).unwrap();
}

#[test]
fn names_that_lead_round_in_a_circle_are_faults() {
    assert_eq!(
        faults_after("[aliases]\na = \"b\"\nb = \"c\"\nc = \"a\"\nd = \"a\""),
        "4:5: \"a\" leads back to itself: a -> b -> c -> a\n5:5: \"b\" leads back to itself: b -> c -> a -> b\n6:5: \"c\" leads \
         back to itself: c -> a -> b -> c"
    );
    let users =
        "[[user]]\nname = \"x\"\nforward.always = \"y\"\n[[user]]\nname = \"y\"\nforward.always = \"x\"";
    assert!(faults_after(users).contains("\"x\" leads back to itself"));
    assert!(
        faults_after("[aliases]\nx = \"y\"\ny = \"sip:a@b\"\n[[user]]\nname = \"x\"")
            .contains("has the name of a user")
    );
}

#[test]
fn groups_of_patterns_are_counted_and_nested_repetition_has_a_limit() {
    let route = |pattern: &str, to: &str| {
        format!("[[route]]\npattern = '{pattern}'\nto = \"{to}\"\ncallers = \"anyone\"")
    };
    Settings::parse(&format!("{WELL}{}", route("(.)(.*)", "sip:${2}x$1@h"))).unwrap();
    assert!(faults_after(&route("(.*)", "sip:$1x@h")).contains("$1x is a name; write ${1} before letters"));
    assert!(faults_after(&route("((a{999}){999}){999}", "sip:h")).contains("is no regular expression"));
    assert!(faults_after(&route("a)(b", "sip:h")).contains("is no regular expression"));
}

#[test]
fn a_users_file_is_read_beside_the_settings() {
    let folder = std::env::temp_dir().join(format!("sip-settings-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("server.toml");
    let text = "domains = [\"example.com\"]\nusers_file = \"users.txt\"\n[aliases]\nsales = \"dave\"\nshop = \"dive\"\n";
    std::fs::write(&file, text).unwrap();
    assert!(Settings::parse(text).is_ok(), "without the file anybody may be in it");
    let error = Settings::read(&file).unwrap_err().to_string();
    assert!(error.contains("server.toml:2:14: cannot read the users"), "{error}");
    std::fs::write(folder.join("users.txt"), "dave:secret\n").unwrap();
    let error = Settings::read(&file).unwrap_err().to_string();
    assert!(
        error.ends_with(
            "server.toml:5:8: there is no user, alias or hunt group \"dive\", and no route for it"
        ),
        "{error}"
    );
    std::fs::write(&file, text.replace("dive", "dave")).unwrap();
    assert_eq!(Settings::read(&file).unwrap().users().unwrap().len(), 1);
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(Settings::read(&file).unwrap_err().to_string().contains("server.toml:1:1: cannot be read: "));
}

/// `docs/server-settings.md` is what the types say. `SETTINGS_REFERENCE=write` writes it.
#[test]
fn the_reference_is_up_to_date() {
    let path = root().join("docs/server-settings.md");
    if std::env::var("SETTINGS_REFERENCE").is_ok_and(|value| value == "write") {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, reference()).unwrap();
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        there == reference(),
        "docs/server-settings.md is stale: run this test with SETTINGS_REFERENCE=write"
    );
}

/// The example is read, and a server runs by it (on other ports).
#[tokio::test]
async fn the_example_is_well_and_starts() {
    let text = std::fs::read_to_string(root().join("examples/server.toml")).unwrap();
    Settings::parse(&text).unwrap_or_else(|error| panic!("{error}"));
    let settings = Settings::parse(&text.replace(":5060\"", ":0\"")).unwrap();
    let server = Server::from_settings(&settings).unwrap().build().await.unwrap();
    assert!(server.locals().iter().count() > 0);
    server.close().await;
}

#[tokio::test]
async fn a_running_server_takes_other_settings() {
    let text = |listen: &str, user: &str| {
        format!(
            "listen = [\"{listen}\"]\ndomains = [\"example.com\"]\n[[user]]\nname = \"{user}\"\npassword = \"x\"\n"
        )
    };
    let first = Settings::parse(&text("udp:127.0.0.1:0", "alice")).unwrap();
    let server = Server::from_settings(&first).unwrap().build().await.unwrap();
    let handle = server.handle();
    assert_eq!(handle.reload(Settings::parse(&text("udp:127.0.0.1:0", "bob")).unwrap()).unwrap(), [""; 0]);
    let moved = Settings::parse(&text("udp:127.0.0.1:5999", "bob")).unwrap();
    assert_eq!(handle.reload(moved.clone()).unwrap(), ["listen"]);
    assert_eq!(handle.reload(moved).unwrap(), ["listen"], "still not");
    server.close().await;
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,200}") {
        let _ = Settings::parse(&text);
    }

    #[test]
    fn nor_does_a_changed_example(cut in 0_usize..4000, word in "[\\[\\]{}=\"',.#a-z0-9\n]{0,6}") {
        let text = std::fs::read_to_string(root().join("examples/server.toml")).unwrap();
        let cut = text.char_indices().map(|(at, _)| at).nth(cut).unwrap_or(text.len());
        let changed = format!("{}{word}{}", &text[..cut], &text[cut..]);
        if let Err(error) = Settings::parse(&changed) {
            prop_assert!(!error.faults.is_empty());
            for fault in &error.faults {
                prop_assert!(fault.line >= 1 && fault.column >= 1 && fault.line <= changed.matches('\n').count() + 1);
            }
        }
    }
}

#[test]
fn the_watch_over_sources_and_what_the_program_does_beside() {
    let settings = Settings::parse(
        r#"
        domains = ["example.com"]
        [[user]]
        name = "alice"
        password = "wonderland"
        [protection]
        trusted = ["192.0.2.0/24"]
        wrong_passwords = 3
        [operation]
        call_records = "calls.jsonl"
        http = "127.0.0.1:9090"
        drain = 60
        "#,
    )
    .unwrap();
    let mut config = Config::new([0; 32], sip_transport::Locals::default());
    settings.configure(&mut config);
    let watch = config.protection.unwrap();
    assert_eq!(watch.wrong_passwords, 3);
    assert!(watch.trusted.iter().any(|network| network.contains("192.0.2.7".parse().unwrap())));
    let operation = settings.operation();
    assert_eq!(operation.call_records.as_deref(), Some(Path::new("calls.jsonl")));
    assert_eq!((operation.http.unwrap().port(), operation.drain.as_secs()), (9090, 60));
    // Where nobody proves anything, nobody is watched; and it can be switched off.
    let configured = |text: &str| {
        let mut config = Config::new([0; 32], sip_transport::Locals::default());
        Settings::parse(text).unwrap().configure(&mut config);
        config.protection
    };
    assert_eq!(configured(WELL), None);
    let off =
        "domains = [\"a.example\"]\n[protection]\non = false\n[[user]]\nname = \"a\"\npassword = \"b\"\n";
    assert_eq!(configured(off), None);
    assert_eq!(
        faults_after(
            "[protection]\ntrusted = [\"here\"]\n[operation]\nhttp = \"9090\"\ncall_records = \"\"\n"
        ),
        "4:12: \"here\" is no network: write it like 10.0.0.0/8 or 192.0.2.1\n\
         6:8: http: expected an ADDRESS:PORT, such as \"127.0.0.1:9090\"\n\
         7:16: call_records is empty: name a file, or leave it out"
    );
}

/// Names may be those of users in the database, which is not searched for them.
#[test]
fn users_of_a_database_may_be_named_in_rules() {
    let settings = Settings::parse(
        r#"
        domains = ["example.com"]
        users_database = "users.db"
        [[hunt_group]]
        name = "sales"
        members = ["alice", "bob"]
        "#,
    )
    .unwrap();
    let mut config = Config::new([0; 32], sip_transport::Locals::default());
    settings.configure(&mut config);
    assert!(config.external_users && config.protection.is_some());
}

/// A database is named by its URL or its file, and what is said of one that is not given is a fault.
#[test]
fn faults_of_the_users_database() {
    let faults = |text: &str| {
        Settings::parse(&format!("domains = [\"example.com\"]\n{text}")).err().map(|error| error.to_string())
    };
    assert_eq!(
        faults(
            "users_database = \"postgres://sip@db.example.com/sip\"\nusers_query = \"SELECT ha1 FROM s WHERE u = $1\"\n"
        ),
        None
    );
    assert_eq!(
        faults("users_file = \"users\"\nusers_query = \"SELECT 1\"\n").unwrap().lines().last().unwrap(),
        "3:15: users_query is about the users_database, which is not given"
    );
    assert_eq!(
        faults("users_database = \"users.db\"\nusers_database_authority = \"ca.pem\"\n").unwrap(),
        "3:28: users_database_authority is for a PostgreSQL database, and this is a file"
    );
    #[cfg(feature = "postgres")]
    {
        let wrong = faults("users_database = \"postgres://sip@localhost/sip?shoe=42\"\n").unwrap();
        assert!(wrong.starts_with("2:18: users_database: ") && wrong.contains("shoe"), "{wrong}");
    }
}

/// Calls are shared out among 1 to 64 threads.
#[test]
fn faults_of_the_threads() {
    let with = |threads: u32| {
        Settings::parse(&format!(
            "domains = [\"example.com\"]\nauthentication = false\nthreads = {threads}\n"
        ))
    };
    assert_eq!(with(64).unwrap().file().threads.as_deref(), Some(&64));
    for wrong in [0, 65] {
        assert_eq!(with(wrong).unwrap_err().to_string(), "3:11: threads: expected 1 to 64");
    }
}

/// A location is a file or the URL of a Redis, and what is said of the other one is a fault.
#[test]
fn faults_of_the_location() {
    let faults = |text: &str| {
        Settings::parse(&format!("domains = [\"example.com\"]\nauthentication = false\n{text}"))
            .err()
            .map_or_else(String::new, |error| error.to_string())
    };
    assert_eq!(faults("location = \"l\"\nlocation_flush = 5\n"), "");
    assert_eq!(
        faults("location = \"l\"\nlocation_prefix = \"x:\"\n"),
        "4:19: location_prefix is about a location in Redis: write location = \"redis://HOST\""
    );
    assert_eq!(
        faults("location_authority = \"ca.pem\"\n"),
        "3:22: location_authority is about a location in Redis: write location = \"redis://HOST\""
    );
    #[cfg(not(feature = "redis"))]
    assert_eq!(
        faults("location = \"redis://localhost\"\n"),
        "3:12: location: this program was built without the feature redis"
    );
    #[cfg(feature = "redis")]
    {
        let secure = "location = \"rediss://sip:secret@db.example.com/2\"\n";
        assert_eq!(
            faults(&format!("{secure}location_prefix = \"x:\"\nlocation_authority = \"ca.pem\"\n")),
            ""
        );
        assert_eq!(
            faults("location = \"redis://localhost\"\nlocation_authority = \"ca.pem\"\n"),
            "4:22: location_authority is for TLS: write location = \"rediss://HOST\""
        );
        assert_eq!(
            faults(&format!("{secure}location_flush = 5\n")),
            "4:18: location_flush is for a file: when its disk has a binding, Redis is told itself (appendfsync)"
        );
        let wrong = faults("location = \"redis://sip:secret@localhost/first\"\n");
        assert!(wrong.starts_with("3:12: location: ") && !wrong.contains("secret"), "{wrong}");
    }
}

/// What the guides show is what a server takes, by the checks of `--check`; what a block leaves out (who there is to serve) is added.
#[test]
fn every_setting_in_the_guides_is_taken() {
    let mut seen = 0;
    for name in ["docs/operating.md", "docs/from-kamailio.md", "README.md"] {
        let guide = std::fs::read_to_string(root().join(name)).unwrap();
        for (at, block) in guide.split("```toml\n").skip(1).enumerate() {
            let block = block.split("```").next().unwrap();
            if block.contains("[dependencies]") || block.contains("[package]") {
                continue; // Cargo's
            }
            if block.contains("redis") && cfg!(not(feature = "redis")) {
                continue; // told so itself
            }
            seen += 1;
            let has = |key: &str| block.lines().any(|line| line.trim_start().starts_with(key));
            let domains = if has("domains") { "" } else { "domains = [\"example.com\"]\n" };
            let served =
                has("[[user]]") || has("users_file") || has("users_database") || has("authentication");
            let users = if served { "" } else { "\n[[user]]\nname = \"alice\"\npassword = \"wonderland\"\n" };
            if let Err(error) = Settings::parse(&format!("{domains}{block}{users}")) {
                panic!("{name}, block {}: {error}\n{block}", at + 1);
            }
        }
    }
    assert!(seen >= 4, "{seen} blocks: the guides have lost theirs, or this test its eyes");
}

/// What is told of a listener is what goes into Via, Contact and Record-Route, and its own name is known.
#[tokio::test]
async fn a_listener_tells_its_outer_address() {
    let settings = Settings::parse(&format!(
        "{WELL}listen = [\"udp:127.0.0.1:0\", \"tcp:127.0.0.1:0\", \"udp:[::1]:0\"]\n[advertise]\n\
         \"udp:127.0.0.1:0\" = \"203.0.113.7:5070\"\n\"tcp:127.0.0.1:0\" = \"sip.example.com\"\n"
    ))
    .unwrap();
    let server = Server::from_settings(&settings).unwrap().build().await.unwrap();
    let told: Vec<(String, u16, u16)> =
        server.locals().iter().map(|one| (one.host.clone(), one.port, one.bound.port())).collect();
    assert_eq!((told[0].0.as_str(), told[0].1), ("203.0.113.7", 5070));
    assert_eq!((told[1].0.as_str(), told[1].1), ("sip.example.com", told[1].2));
    assert_eq!((told[2].0.as_str(), told[2].1), ("[::1]", told[2].2));
}

#[test]
fn faults_of_outer_addresses_and_service_routes() {
    assert_eq!(
        faults_after(
            "listen = [\"udp:10.0.0.1:5060\"]\n[advertise]\n\"udp:10.0.0.1:5061\" = \"203.0.113.7\"\n\
             \"udp:10.0.0.1:5060\" = \"a b\"\n[registrar]\nservice_route = [\"sip:edge.example.com\", \"tel:1\"]\n"
        ),
        "5:1: there is no listener \"udp:10.0.0.1:5061\"; did you mean \"udp:10.0.0.1:5060\"?\n\
         6:23: \"a b\" is no host: write it like 203.0.113.7 or sip.example.com:5060\n\
         8:18: a route needs ;lr: write it like \"sip:edge.example.com;lr\"\n\
         8:42: \"tel:1\" is no sip or sips URI"
    );
    assert!(faults_after("[advertise]\n\"udp:127.0.0.1:5060\" = \"0.0.0.0\"\n").contains("is no host"));
}

#[test]
fn faults_of_lists_of_users() {
    assert_eq!(
        faults_after(
            "[[user]]\nname = \"bob\"\npassword = \"x\"\n[events]\nfile = \"\"\n[[events.list]]\nname = \"bob\"\n\
             members = [\"alice\"]\n[[events.list]]\nname = \"sales\"\n[[events.list]]\nname = \"sales\"\nmembers = [\"a\"]\n"
        ),
        "7:8: events.file is empty: name a file, or leave it out to keep subscriptions in memory\n\
         9:8: \"bob\" is a user: a list needs a name of its own\n\
         12:8: the list \"sales\" needs from 1 to 200 members\n\
         14:8: there are two lists \"sales\""
    );
}
