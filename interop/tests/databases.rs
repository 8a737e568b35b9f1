//! Users in a PostgreSQL database: found, changed, and what happens when the database does not answer or is gone.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::time::{Duration, Instant};

use interop::{Certificates, Dir, Postgres, Process, Server, program, turn};

/// What `sip register` says of a user, and how long it took.
fn register(dir: &Dir, server: &Server, user: &str, password: &str) -> (i32, String, Duration) {
    let uri = format!("sip:{user}@example.test");
    let proxy = server.uri();
    let begin = Instant::now();
    let mut process = Process::start(
        dir,
        "register",
        program(),
        ["register", &uri, "--password", password, "--proxy", &proxy, "--list"],
    );
    (process.finish(), process.lines().join("\n"), begin.elapsed())
}

#[track_caller]
fn assert_registers(dir: &Dir, server: &Server, user: &str, password: &str) {
    let (code, said, _) = register(dir, server, user, password);
    assert_eq!(code, 0, "{user}: {said}");
}

/// A connection that failed is tried again after a moment.
#[track_caller]
fn registers_soon(dir: &Dir, server: &Server, user: &str, password: &str) {
    let begin = Instant::now();
    loop {
        let (code, said, _) = register(dir, server, user, password);
        if code == 0 {
            return;
        }
        assert!(begin.elapsed() < Duration::from_secs(5), "the database is not found again: {said}");
        // Who asks all the time is taken for a flood.
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn r41_users_of_postgresql_come_and_go_and_the_database_too() {
    let Some(_turn) = turn(&["psql", "runuser"]) else { return };
    let dir = Dir::new("postgres");
    let certificates = Certificates::new(&dir);
    let mut database = Postgres::start(&dir, &certificates);
    database.sql(
        "CREATE TABLE users (name TEXT PRIMARY KEY, password TEXT, ha1 TEXT, ha1_sha256 TEXT);
         INSERT INTO users (name, password) VALUES ('alice', 'wonderland'), ('bob', 'builder'), ('carol', 'singer'), ('dave', 'x');",
    );
    let settings = format!(
        "domains = [\"example.test\"]\nusers_database = \"{}\"\nusers_database_authority = \"{}\"\n",
        database.url("?sslmode=require"),
        certificates.ca.display()
    );
    let mut server = Server::start_by(&dir, &settings);
    assert_registers(&dir, &server, "alice", "wonderland");
    for (user, password) in [("bob", "wrong"), ("nobody", "x"), ("alice' OR 'a'='a", "x")] {
        let (code, said, _) = register(&dir, &server, user, password);
        assert!(code != 0, "{user}: {said}");
    }

    // Silent: whoever was asked for lately is known, the others get 503 in time.
    database.freeze();
    assert_registers(&dir, &server, "alice", "wonderland");
    let (code, said, took) = register(&dir, &server, "carol", "singer");
    assert!(code != 0 && said.contains("503"), "{said}");
    assert!(took < Duration::from_secs(15), "{took:?}");
    database.thaw();
    assert_registers(&dir, &server, "carol", "singer");

    // Gone, and back: found again with the next question.
    database.stop();
    let (code, said, _) = register(&dir, &server, "dave", "x");
    assert!(code != 0 && said.contains("503"), "{said}");
    database.start_again(&dir);
    registers_soon(&dir, &server, "dave", "x");
    server.end();
}

/// A table that was made for another server, and a server that starts before its database.
#[test]
fn a_subscriber_table_and_a_database_that_comes_later() {
    let Some(_turn) = turn(&["psql", "runuser"]) else { return };
    let dir = Dir::new("subscriber");
    let certificates = Certificates::new(&dir);
    let mut database = Postgres::start(&dir, &certificates);
    // MD5 of alice:example.test:wonderland.
    let ha1 = "c3436a6e569a0110423c5cab51b74106";
    database.sql(&format!(
        "CREATE TABLE subscriber (id SERIAL, username VARCHAR(64), domain VARCHAR(64), ha1 CHAR(128));
         INSERT INTO subscriber (username, domain, ha1) VALUES ('alice', 'example.test', '{ha1}');"
    ));
    database.stop();
    let settings = format!(
        "domains = [\"example.test\"]\nusers_database = \"{}\"\n\
         users_query = \"SELECT ha1 FROM subscriber WHERE username = $1 AND domain = 'example.test'\"\n",
        database.url("?sslmode=disable"),
    );
    let mut server = Server::start_by(&dir, &settings);
    database.start_again(&dir);
    registers_soon(&dir, &server, "alice", "wonderland");
    let (code, said, _) = register(&dir, &server, "alice", "wrong");
    assert!(code != 0, "{said}");
    server.end();
    let lines = server.process.lines();
    assert!(lines.iter().any(|line| line.contains("until that changes")), "the operator was told: {lines:?}");
}
