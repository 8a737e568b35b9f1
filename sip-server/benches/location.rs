//! What the location table costs: `cargo bench -p sip-server --bench location`.
//!
//! Octets per binding, look-ups, changes made and applied, and how long a file with a hundred thousand and a million bindings takes
//! to load. The bindings are like those of phones behind a NAT: contact, Call-ID of 36 octets, the way back.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::print_stdout)]

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sip_server::AddressOfRecord;
use sip_server::location::{Answer, Binding, Journal, MemoryLocation, Question, Version};
use sip_transport::{FlowId, Path, Transport};

fn aor(number: usize) -> AddressOfRecord {
    AddressOfRecord::new(&format!("sip:user{number}@example.com").parse().unwrap(), "example.com").unwrap()
}

fn binding(number: usize, expires_at: Instant) -> Binding {
    let port = 1024 + number % 60_000;
    Binding {
        contact: format!("<sip:user{number}@192.168.1.17:{port};ob>").parse().unwrap(),
        q: 1000,
        expires_at,
        call_id: format!("{number:08x}-1c9b-4e7f-a1d2-6f0b8d3c5e7a"),
        cseq: 2,
        path: Arc::new([]),
        flow: Some(Path {
            transport: Transport::Udp,
            local: "192.0.2.1:5060".parse().unwrap(),
            remote: ([203, 0, 113, 9], u16::try_from(port).unwrap()).into(),
            flow: Some(FlowId(1)),
        }),
        outbound: None,
    }
}

/// Memory of this process in octets, shared pages left out.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap_or("0 kB");
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0) * 1024
}

fn per(what: &str, count: usize, began: Instant) {
    println!("{what}: {:.0} ns", began.elapsed().as_secs_f64() * 1e9 / count as f64);
}

fn main() {
    let folder = std::env::temp_dir().join(format!("sip-bench-location-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    for count in [100_000, 1_000_000] {
        let now = Instant::now();
        let end = now + Duration::from_secs(3600);
        let (before, path) = (resident(), folder.join(count.to_string()));
        let mut table = MemoryLocation::new(count, now, Duration::from_secs(1_700_000_000));
        for number in 0..count {
            let end = end + Duration::from_millis(number as u64 * 7 % 600_000);
            let bindings = [binding(number, end)].into();
            let question = Question::Update { aor: aor(number), expected: Version(0), bindings };
            assert!(matches!(table.answer(now, question), Answer::Updated));
        }
        println!("{count} bindings");
        println!(
            "  octets per binding: {} in memory, {} on disk",
            (resident() - before) / count as u64,
            table.octets() / count as u64
        );
        let wanted: Vec<AddressOfRecord> = (0..100_000).map(|number| aor(number * 7919 % count)).collect();
        let began = Instant::now();
        for aor in &wanted {
            let Answer::Found(found) = table.look_up(black_box(aor)) else { panic!() };
            assert_eq!(black_box(found).list.len(), 1);
        }
        per("  a look-up", wanted.len(), began);
        let mut other = MemoryLocation::new(count, now, Duration::from_secs(1_700_000_000));
        let mut journal = Journal::open(&path, &mut other).unwrap();
        let began = Instant::now();
        while !journal.rewrite_from(&table, now).unwrap() {}
        println!("  the file written anew: {:?}", began.elapsed());
        drop((journal, table, other));
        for _ in 0..3 {
            let began = Instant::now();
            let mut table = MemoryLocation::new(count, now, Duration::from_secs(1_700_000_000));
            let journal = Journal::open(&path, &mut table).unwrap();
            println!("  loaded in {:?}", began.elapsed());
            assert_eq!(table.len(), count);
            drop(journal);
        }
    }
    std::fs::remove_dir_all(&folder).unwrap();
}
