//! A location file through crashes, damage and disks that fail.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use proptest::prelude::*;

use super::*;
use crate::AddressOfRecord;
use crate::location::record::Record;
use crate::location::{Answer, Binding, Bindings, Question, Version};

const EPOCH: Duration = Duration::from_secs(1_700_000_000);
const HOUR: Duration = Duration::from_secs(3_600);

/// A folder of its own for each test, gone with it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("sip-location-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn file(&self) -> PathBuf {
        self.0.join("location")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn aor(user: &str) -> AddressOfRecord {
    AddressOfRecord::new(&format!("sip:{user}@example.com").parse().unwrap(), "example.com").unwrap()
}

fn binding(contact: &str, expires_at: Instant) -> Binding {
    Binding {
        contact: contact.parse().unwrap(),
        q: 1000,
        expires_at,
        call_id: "c".into(),
        cseq: 1,
        path: Arc::new([]),
        flow: None,
        outbound: None,
    }
}

fn table(now: Instant, unix: Duration) -> MemoryLocation {
    MemoryLocation::new(1_000_000, now, unix)
}

fn found(table: &MemoryLocation, user: &str) -> Bindings {
    match table.look_up(&aor(user)) {
        Answer::Found(found) => found,
        other => panic!("{other:?}"),
    }
}

fn contacts(table: &MemoryLocation, user: &str) -> Vec<String> {
    found(table, user).list.iter().map(|binding| binding.uri().to_string()).collect()
}

/// The record that replaces all of a user by this contact, or removes him.
fn change(table: &mut MemoryLocation, now: Instant, user: &str, contact: Option<&str>) -> Record {
    let list: Vec<Binding> = contact.map(|contact| binding(contact, now + HOUR)).into_iter().collect();
    let version = found(table, user).version;
    table.prepare(now, &aor(user), version, &list).unwrap()
}

/// Stores a change, and has the table take it if that went well.
fn store(
    journal: &mut Journal,
    table: &mut MemoryLocation,
    now: Instant,
    user: &str,
    contact: Option<&str>,
) -> io::Result<()> {
    let record = change(table, now, user, contact);
    journal.append_and_sync(record.octets(), record.stamp().sequence)?;
    table.apply(record);
    Ok(())
}

fn rewrite(journal: &mut Journal, table: &MemoryLocation, now: Instant) -> io::Result<u32> {
    let mut steps = 0;
    while !journal.rewrite_from(table, now)? {
        steps += 1;
    }
    Ok(steps)
}

#[test]
fn what_was_stored_is_there_again() {
    let (folder, now) = (Folder::new(), Instant::now());
    let mut first = table(now, EPOCH);
    let mut journal = Journal::open(folder.file(), &mut first).unwrap();
    store(&mut journal, &mut first, now, "alice", Some("sip:a@h1")).unwrap();
    store(&mut journal, &mut first, now, "bob", Some("sip:b@h1")).unwrap();
    store(&mut journal, &mut first, now, "bob", Some("sip:b@h2")).unwrap();
    store(&mut journal, &mut first, now, "carol", Some("sip:c@h")).unwrap();
    store(&mut journal, &mut first, now, "carol", None).unwrap();
    let mut other = table(now, EPOCH);
    let error = Journal::open(folder.file(), &mut other).unwrap_err();
    assert!(matches!(error, JournalError::InUse(_)), "{error}");
    drop(journal);
    let mut second = table(now, EPOCH + Duration::from_secs(60));
    let mut journal = Journal::open(folder.file(), &mut second).unwrap();
    assert_eq!(second.len(), 2);
    assert_eq!(
        (contacts(&second, "alice"), contacts(&second, "bob")),
        (vec!["sip:a@h1".into()], vec!["sip:b@h2".into()])
    );
    assert_eq!(found(&second, "bob").list[0].remaining(now), HOUR - Duration::from_secs(60));
    // Versions go on, so that a reader of before cannot overwrite what came later.
    let before = found(&second, "bob").version;
    store(&mut journal, &mut second, now, "bob", Some("sip:b@h3")).unwrap();
    assert!(found(&second, "bob").version > before);
}

/// R40: the clock of the machine is set an hour back or forth. What runs, runs on; after a restart nothing lasts longer than
/// it was granted.
#[test]
fn a_clock_that_jumps() {
    let (folder, now) = (Folder::new(), Instant::now());
    let written = EPOCH + 2 * HOUR;
    let mut first = table(now, written);
    let mut journal = Journal::open(folder.file(), &mut first).unwrap();
    store(&mut journal, &mut first, now, "alice", Some("sip:a@h")).unwrap();
    drop(journal);
    for (wall, left) in [(written - HOUR, HOUR), (written, HOUR), (written + HOUR / 2, HOUR / 2)] {
        let mut table = table(now, wall);
        drop(Journal::open(folder.file(), &mut table).unwrap());
        assert_eq!(found(&table, "alice").list[0].remaining(now), left, "at {wall:?}");
        assert_eq!(table.poll_timeout(), Some(now + left));
    }
    let mut later = table(now, written + HOUR + Duration::from_secs(1));
    drop(Journal::open(folder.file(), &mut later).unwrap());
    assert_eq!(later.poll_timeout(), Some(now), "its end is due");
    later.handle_timeout(now);
    assert_eq!(later.len(), 0);
}

#[test]
fn flows_of_the_process_before() {
    use crate::location::OutboundFlow;
    use sip_transport::{FlowId, Local, Locals, Path, Transport};
    let (folder, now) = (Folder::new(), Instant::now());
    let here: std::net::SocketAddr = "192.0.2.1:5060".parse().unwrap();
    let path = |transport| Path {
        transport,
        local: here,
        remote: "203.0.113.9:40000".parse().unwrap(),
        flow: Some(FlowId(7)),
    };
    let instance = sip_message::headers::InstanceId::uuid([1; 16]);
    let outbound = |reg_id| Some(OutboundFlow { instance: instance.clone(), reg_id });
    let plain = |contact, transport| Binding { flow: Some(path(transport)), ..binding(contact, now + HOUR) };
    let list = [
        plain("sip:a@tcp", Transport::Tcp),
        Binding { outbound: outbound(1), ..plain("sip:a@tls-outbound", Transport::Tls) },
        plain("sip:a@udp", Transport::Udp),
        Binding { outbound: outbound(2), ..plain("sip:a@udp-outbound", Transport::Udp) },
    ];
    let mut first = table(now, EPOCH);
    let mut journal = Journal::open(folder.file(), &mut first).unwrap();
    let record = first.prepare(now, &aor("alice"), Version(0), &list).unwrap();
    journal.append_and_sync(record.octets(), 1).unwrap();
    first.apply(record);
    assert_eq!(found(&first, "alice").list.len(), 4);
    assert!(found(&first, "alice").list.iter().all(|binding| binding.flow.unwrap().flow == Some(FlowId(7))));
    drop(journal);
    for (bound, expected) in [
        (here, "sip:a@tcp - sip:a@udp udp sip:a@udp-outbound udp"),
        ("0.0.0.0:5060".parse().unwrap(), "sip:a@tcp - sip:a@udp udp sip:a@udp-outbound udp"),
        ("192.0.2.1:5070".parse().unwrap(), "sip:a@tcp - sip:a@udp -"),
    ] {
        let mut table = table(now, EPOCH);
        table.set_locals(Locals::new(vec![Local::new(Transport::Udp, bound)]));
        drop(Journal::open(folder.file(), &mut table).unwrap());
        let kept = found(&table, "alice")
            .list
            .iter()
            .map(|binding| {
                assert_eq!(
                    binding.flow.and_then(|flow| flow.flow),
                    None,
                    "numbers of flows are of one process"
                );
                format!("{} {}", binding.uri(), binding.flow.map_or("-", |flow| flow.transport.uri_param()))
            })
            .collect::<Vec<_>>();
        assert_eq!(kept.join(" "), expected, "{bound}");
    }
}

#[test]
fn what_is_dead_leaves_the_file() {
    let (folder, now) = (Folder::new(), Instant::now());
    let mut first = table(now, EPOCH);
    let mut journal = Journal::open(folder.file(), &mut first).unwrap();
    for round in 0..2_000 {
        store(&mut journal, &mut first, now, "alice", Some(&format!("sip:a@h{round}")))
            .unwrap_or_else(|error| panic!("{error}"));
        if round == 0 {
            store(&mut journal, &mut first, now, "gone", Some("sip:secret@place")).unwrap();
            store(&mut journal, &mut first, now, "gone", None).unwrap();
        }
    }
    let long = "x".repeat(3_000);
    for _ in 0..400 {
        store(&mut journal, &mut first, now, "bob", Some(&format!("sip:{long}@h"))).unwrap();
    }
    assert!(journal.wants_rewriting(first.octets()));
    // Changes between the steps are in the new file as well.
    let mut round = 0;
    while !journal.rewrite_from(&first, now).unwrap() {
        round += 1;
        let user = format!("u{}", round % 40);
        let contact = (round % 3 != 0).then(|| format!("sip:{round}@h"));
        store(&mut journal, &mut first, now, &user, contact.as_deref()).unwrap();
    }
    assert!(!journal.wants_rewriting(first.octets()));
    drop(journal);
    let octets = std::fs::read(folder.file()).unwrap();
    assert!(octets.len() < 100_000 && !octets.windows(6).any(|six| six == b"secret"));
    let mut second = table(now, EPOCH);
    let mut journal = Journal::open(folder.file(), &mut second).unwrap();
    assert_eq!(second.len(), first.len());
    for user in (0..40).map(|n| format!("u{n}")).chain(["alice".into(), "bob".into()]) {
        assert_eq!(contacts(&second, &user), contacts(&first, &user), "{user}");
    }
    // Nor does what has ended meanwhile stay.
    second.handle_timeout(now + 2 * HOUR);
    assert!(second.is_empty() && journal.has_dead(second.octets()));
    rewrite(&mut journal, &second, now).unwrap();
    assert_eq!(journal.octets(), 64);
}

/// The octets of a file with some changes, and what they amount to after each octet count: `(octets, contact of alice)`.
fn history(folder: &Folder) -> (Vec<u8>, Vec<(u64, Vec<String>)>) {
    let now = Instant::now();
    let mut first = table(now, EPOCH);
    let mut journal = Journal::open(folder.file(), &mut first).unwrap();
    let mut states = vec![(journal.octets(), Vec::new())];
    for round in 0..6 {
        let contact = (round != 3).then(|| format!("sip:a@h{round}"));
        store(&mut journal, &mut first, now, "alice", contact.as_deref()).unwrap();
        states.push((journal.octets(), contacts(&first, "alice")));
    }
    (std::fs::read(folder.file()).unwrap(), states)
}

/// R38: cut anywhere, it opens with what was written whole before the cut, and can be written to again.
#[test]
fn a_file_cut_short_opens_with_what_is_whole() {
    let (folder, now) = (Folder::new(), Instant::now());
    let (octets, states) = history(&folder);
    for length in 0..octets.len() {
        std::fs::write(folder.file(), &octets[..length]).unwrap();
        let mut table = table(now, EPOCH);
        let opened = Journal::open(folder.file(), &mut table);
        let whole = states.iter().rev().find(|(end, _)| *end <= length as u64);
        let Some((_, expected)) = whole else {
            let error = opened.unwrap_err();
            assert!(matches!(
                error,
                JournalError::Empty(_) | JournalError::Foreign(_) | JournalError::Damaged { .. }
            ));
            continue;
        };
        let mut journal = opened.unwrap();
        assert_eq!(&contacts(&table, "alice"), expected, "cut at {length}");
        store(&mut journal, &mut table, now, "bob", Some("sip:b@h")).unwrap();
        drop(journal);
        let mut again = self::table(now, EPOCH);
        drop(Journal::open(folder.file(), &mut again).unwrap());
        assert_eq!((&contacts(&again, "alice"), contacts(&again, "bob").len()), (expected, 1));
    }
}

/// R38: with any bit turned it refuses, or opens with a state that it once had; and a repair brings back a contact that there was.
#[test]
fn no_turned_bit_gives_a_wrong_binding() {
    let (folder, now) = (Folder::new(), Instant::now());
    let (octets, states) = history(&folder);
    let (mut refused, mut opened) = (0, 0);
    for at in 0..octets.len() {
        for bit in [0, 3, 7] {
            let mut damaged = octets.clone();
            damaged[at] ^= 1 << bit;
            std::fs::write(folder.file(), &damaged).unwrap();
            let mut table = table(now, EPOCH);
            match Journal::open(folder.file(), &mut table) {
                Ok(_) => {
                    // Only the last write can be taken for one that was cut short.
                    let last = states[states.len() - 2].0;
                    assert!(at as u64 >= last, "octet {at} bit {bit} went unnoticed");
                    assert_eq!(contacts(&table, "alice"), states[states.len() - 2].1);
                    opened += 1;
                }
                Err(error) => {
                    assert_eq!(
                        std::fs::read(folder.file()).unwrap(),
                        damaged,
                        "a refusal changes nothing: {error}"
                    );
                    refused += 1;
                }
            }
        }
    }
    assert!(refused > opened && opened > 0);
}

#[test]
fn a_repair_saves_what_can_be_read_and_keeps_the_old_file() {
    let (folder, now) = (Folder::new(), Instant::now());
    let mut first = table(now, EPOCH);
    let mut journal = Journal::open(folder.file(), &mut first).unwrap();
    let mut ends = vec![journal.octets()];
    for user in ["alice", "bob", "carol"] {
        store(&mut journal, &mut first, now, user, Some(&format!("sip:{user}@h"))).unwrap();
        ends.push(journal.octets());
    }
    drop(journal);
    assert_eq!(check(&folder.file()).unwrap().bindings, 3);
    let mut octets = std::fs::read(folder.file()).unwrap();
    octets[usize::try_from(ends[1]).unwrap() + 50] ^= 4;
    std::fs::write(folder.file(), &octets).unwrap();
    let error = Journal::open(folder.file(), &mut table(now, EPOCH)).unwrap_err();
    assert!(
        error.to_string().contains("is damaged at octet")
            && error.to_string().contains("sip location repair")
    );
    assert!(check(&folder.file()).is_err());
    let done = repair(&folder.file()).unwrap();
    assert_eq!((done.addresses, done.bindings, done.lost), (2, 2, ends[2] - ends[1]));
    assert_eq!(std::fs::read(&done.kept).unwrap(), octets);
    let mut second = table(now, EPOCH);
    let mut journal = Journal::open(folder.file(), &mut second).unwrap();
    assert_eq!((contacts(&second, "alice").len(), contacts(&second, "bob").len(), second.len()), (1, 0, 2));
    store(&mut journal, &mut second, now, "bob", Some("sip:bob@h")).unwrap();
    drop(journal);
    assert_eq!(list(&folder.file()).unwrap().iter().map(Record::aor).collect::<Vec<_>>().len(), 3);
    // A header that is gone is no reason to lose the rest.
    let mut octets = std::fs::read(folder.file()).unwrap();
    octets[20] ^= 1;
    std::fs::write(folder.file(), &octets).unwrap();
    assert_eq!(repair(&folder.file()).unwrap().bindings, 3);
    assert_eq!(
        check(&folder.file()).unwrap(),
        Checked { addresses: 3, bindings: 3, records: 3, torn: 0, unreadable: 0 }
    );
}

#[test]
fn what_is_no_location_file_is_left_alone() {
    let folder = Folder::new();
    let now = Instant::now();
    let mut newer = FileHeader { snapshot_end: 64, stamp: Stamp::default() }.octets();
    newer[8] = 2;
    let mut sum = crc32fast::Hasher::new();
    sum.update(&newer[..12]);
    sum.update(&newer[16..]);
    newer[12..16].copy_from_slice(&sum.finalize().to_le_bytes());
    for (octets, says) in [
        (&b""[..], "is empty and no location file; remove it to begin without bindings"),
        (b"alice:wonderland\n", "is no location file; name another"),
        (&newer, "has format 2 and this program reads 1; use the version that wrote it or a newer one"),
    ] {
        std::fs::write(folder.file(), octets).unwrap();
        let error = Journal::open(folder.file(), &mut table(now, EPOCH)).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
        assert_eq!(std::fs::read(folder.file()).unwrap(), octets);
    }
}

/// A disk that takes so many octets more, and whose syncs fail when told.
#[derive(Clone, Default)]
struct Faulty {
    fails: Arc<AtomicU32>,
}

const NO_SPACE: u32 = 1;
const NO_SYNC: u32 = 2;
const NO_CUT: u32 = 4;

struct FaultyFile(Box<dyn Medium>, Arc<AtomicU32>);

impl Disk for Faulty {
    fn open(&self, path: &Path, new: bool) -> io::Result<Box<dyn Medium>> {
        Ok(Box::new(FaultyFile(RealDisk.open(path, new)?, self.fails.clone())))
    }
    fn replace(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.replace(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove(path)
    }
}

impl Medium for FaultyFile {
    fn read_at(&mut self, octets: &mut [u8], at: u64) -> io::Result<usize> {
        self.0.read_at(octets, at)
    }
    fn write_at(&mut self, octets: &[u8], at: u64) -> io::Result<()> {
        if self.1.load(Ordering::Relaxed) & NO_SPACE != 0 {
            self.0.write_at(&octets[..octets.len() / 2], at)?;
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.0.write_at(octets, at)
    }
    fn sync(&mut self) -> io::Result<()> {
        if self.1.load(Ordering::Relaxed) & NO_SYNC != 0 {
            return Err(io::Error::other("the disk is gone"));
        }
        self.0.sync()
    }
    fn cut(&mut self, length: u64) -> io::Result<()> {
        if self.1.load(Ordering::Relaxed) & NO_CUT != 0 {
            return Err(io::Error::other("not even that"));
        }
        self.0.cut(length)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// R39: whatever fails whenever, what was acknowledged is there after a restart, and what was refused is not.
    #[test]
    fn a_failing_disk_loses_nothing(steps in prop::collection::vec((0..8_u32, 0..5_u8, any::<bool>(), 0..20_u8), 1..60)) {
        let (folder, now, disk) = (Folder::new(), Instant::now(), Faulty::default());
        let mut table = table(now, EPOCH);
        let mut journal = Journal::open_on(Box::new(disk.clone()), folder.file(), &mut table).unwrap();
        for (number, (fails, user, present, rewrites)) in steps.into_iter().enumerate() {
            disk.fails.store(fails, Ordering::Relaxed);
            let contact = present.then(|| format!("sip:{number}@h{}", "x".repeat(number)));
            let stored = store(&mut journal, &mut table, now, &format!("u{user}"), contact.as_deref());
            prop_assert_eq!(stored.is_ok(), fails & !NO_CUT == 0);
            if rewrites == 0 {
                let _ = rewrite(&mut journal, &table, now);
            }
        }
        // What a failed write has left behind and could not be cut off is written over.
        disk.fails.store(0, Ordering::Relaxed);
        store(&mut journal, &mut table, now, "last", Some("sip:a@h")).unwrap();
        drop(journal);
        let mut again = self::table(now, EPOCH);
        drop(Journal::open(folder.file(), &mut again).unwrap());
        prop_assert_eq!(again.len(), table.len());
        for user in 0..5 {
            prop_assert_eq!(contacts(&again, &format!("u{user}")), contacts(&table, &format!("u{user}")));
        }
    }

    #[test]
    fn any_octets_are_read_or_refused(octets in prop::collection::vec(any::<u8>(), 0..300), header in any::<bool>()) {
        let header = if header { FileHeader { snapshot_end: 64, stamp: Stamp::default() }.octets().to_vec() } else { Vec::new() };
        let octets = [header, octets].concat();
        let _ = format::load(octets.as_slice(), |_| {});
        let _ = format::salvage(octets.as_slice(), |_| {});
    }
}

#[test]
fn the_update_of_the_table_is_what_the_question_asks() {
    let now = Instant::now();
    let mut table = table(now, EPOCH);
    let list: Arc<[Binding]> = [binding("sip:a@h", now + HOUR)].into();
    let update = Question::Update { aor: aor("alice"), expected: Version(0), bindings: list.clone() };
    assert!(matches!(table.answer(now, update.clone()), Answer::Updated));
    assert_eq!(found(&table, "alice").list, list);
    assert!(matches!(table.answer(now, update), Answer::Conflict(_)));
}

/// The limit on bindings holds for what a file brings along: a table that may have fewer is no reason to forget some, and a file is no
/// way to fill memory. What has ended, was removed or replaced does not count.
#[test]
fn a_file_with_more_bindings_than_may_be_is_not_taken() {
    let (folder, now) = (Folder::new(), Instant::now());
    let mut first = table(now, EPOCH);
    let mut journal = Journal::open(folder.file(), &mut first).unwrap();
    for number in 0..10 {
        let user = format!("user{number}");
        store(&mut journal, &mut first, now, &user, Some("sip:a@h")).unwrap();
        store(&mut journal, &mut first, now, &user, Some("sip:b@h")).unwrap();
    }
    for gone in ["user8", "user9"] {
        store(&mut journal, &mut first, now, gone, None).unwrap();
    }
    drop(journal);
    let open = |limit: usize, unix: Duration| {
        let mut table = MemoryLocation::new(limit, now, unix);
        Journal::open(folder.file(), &mut table).map(|_| table.len())
    };
    assert_eq!(open(8, EPOCH).unwrap(), 8);
    for limit in [7, 4, 3, 1] {
        let error = open(limit, EPOCH).unwrap_err();
        let JournalError::TooMany { found, limit: told, .. } = &error else { panic!("{error}") };
        assert!(*found > limit && *told == limit, "{error}");
        assert!(error.to_string().contains("raise limits.bindings"), "{error}");
    }
    // Two hours later all have ended, and others come in their place, however often.
    let later = EPOCH + 2 * HOUR;
    let mut second = MemoryLocation::new(1, now, later);
    let mut journal = Journal::open(folder.file(), &mut second).unwrap();
    assert_eq!(second.len(), 0);
    for number in 0..10 {
        let at = now + 2 * HOUR * number;
        second.handle_timeout(at);
        store(&mut journal, &mut second, at, &format!("other{number}"), Some("sip:c@h")).unwrap();
    }
    drop(journal);
    assert_eq!(open(1, later + 2 * HOUR * 9).unwrap(), 1);
    // A clock that was set back to before them takes their own times.
    assert_eq!(open(1, EPOCH).unwrap(), 1);
}
