//! Bindings in a table in memory.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use hashbrown::HashTable;
use sip_transport::{Locals, Path, Transport};

use super::record::{Record, Stamp, Stored, StoredRef};
use super::{Answer, Binding, Bindings, Question, StoreError, Version};
use crate::AddressOfRecord;

/// Parts of the table, which grow one by one: a table that doubles as a whole makes everybody wait.
const SHARDS: usize = 256;

/// Notes of ends that came to nothing are swept out when they are more than the others and this many.
const WORTH_SWEEPING: usize = 1024;

/// A location store in memory. Bindings leave it when they end.
///
/// It holds each address-of-record as one [`Record`], the octets that a durable store writes, and reads it anew for each
/// look-up: a binding costs some 300 octets, the table included, and a file of them is loaded without being read in detail.
///
/// It does no I/O and reads no clock: whoever owns it calls [`handle_timeout`](MemoryLocation::handle_timeout) when
/// [`poll_timeout`](MemoryLocation::poll_timeout) says so. Without that, what has ended stays until it is replaced.
///
/// ```
/// use sip_server::location::{Answer, MemoryLocation, Question};
/// use sip_server::AddressOfRecord;
/// use std::time::{Duration, Instant};
/// let now = Instant::now();
/// let mut store = MemoryLocation::new(1000, now, Duration::from_secs(1_700_000_000));
/// let aor = AddressOfRecord::new(&"sip:alice@example.com".parse()?, "example.com").unwrap();
/// let Answer::Found(bindings) = store.answer(now, Question::Lookup { aor }) else { panic!() };
/// assert!(bindings.list.is_empty());
/// # Ok::<(), sip_message::ValueError>(())
/// ```
#[derive(Debug)]
pub struct MemoryLocation {
    shards: Vec<HashTable<Entry>>,
    hasher: RandomState,
    /// Hashes of addresses-of-record by the second in which something of theirs ends. A refresh leaves its note where it is; it
    /// is moved when its time has come.
    ends: BTreeMap<u32, Vec<u64>>,
    noted: usize,
    clock: Clock,
    /// The newest record's number.
    sequence: u64,
    /// The number of this process: flows in records of others are not ours.
    run: u32,
    /// What datagrams can leave from.
    locals: Locals,
    addresses: usize,
    bindings: usize,
    octets: u64,
    limit: usize,
}

#[derive(Debug)]
struct Entry {
    record: Record,
    /// The second at which it is noted in `ends`.
    noted: u32,
    /// The upper half of its hash, so that a part of the table that grows need not look into the records.
    hash: u32,
}

impl Entry {
    /// What the part of the table knows it by.
    fn place(&self) -> u64 {
        spread(self.hash)
    }
}

fn upper(hash: u64) -> u32 {
    u32::try_from(hash >> 32).unwrap_or(0)
}

/// 32 bits spread over 64: tables take the lowest and the highest ones.
const fn spread(hash: u32) -> u64 {
    (hash as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Time of the wall clock that runs as the monotonic clock does: setting the system's clock moves no binding's end.
#[derive(Clone, Copy, Debug)]
struct Clock {
    started: Instant,
    unix: u64,
}

impl Clock {
    fn unix(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.started);
        self.unix.saturating_add(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    fn instant(&self, unix: u64) -> Instant {
        let since = Duration::from_millis(unix.saturating_sub(self.unix));
        self.started.checked_add(since).unwrap_or(self.started)
    }
}

fn second_after(milliseconds: u64) -> u32 {
    u32::try_from(milliseconds.div_ceil(1000)).unwrap_or(u32::MAX)
}

impl MemoryLocation {
    /// An empty table with room for `limit` bindings. `now` is `unix_time` after the Unix epoch.
    #[must_use]
    pub fn new(limit: usize, now: Instant, unix_time: Duration) -> Self {
        let unix = u64::try_from(unix_time.as_millis()).unwrap_or(u64::MAX);
        Self {
            shards: (0..SHARDS).map(|_| HashTable::new()).collect(),
            hasher: RandomState::new(),
            ends: BTreeMap::new(),
            noted: 0,
            clock: Clock { started: now, unix },
            sequence: 0,
            run: 1,
            locals: Locals::default(),
            addresses: 0,
            bindings: 0,
            octets: 0,
            limit,
        }
    }

    /// Answers a question at once.
    pub fn answer(&mut self, now: Instant, question: Question) -> Answer {
        match question {
            Question::Lookup { aor } => self.look_up(&aor),
            Question::Update { aor, expected, bindings } => {
                match self.prepare(now, &aor, expected, &bindings) {
                    Ok(record) => {
                        self.apply(record);
                        Answer::Updated
                    }
                    Err(answer) => answer,
                }
            }
        }
    }

    /// What there is of an address-of-record.
    pub fn look_up(&self, aor: &AddressOfRecord) -> Answer {
        self.current(aor).map_or_else(Answer::Failed, Answer::Found)
    }

    fn current(&self, aor: &AddressOfRecord) -> Result<Bindings, StoreError> {
        let Some(record) = self.get(aor.as_str().as_bytes()) else { return Ok(Bindings::none()) };
        let stamp = record.stamp();
        let ours = stamp.run == self.run;
        let mut list = Vec::with_capacity(record.count());
        for stored in record.bindings() {
            let stored = stored.map_err(|error| {
                tracing::error!(%aor, %error, "a stored binding cannot be read");
                StoreError::Unreadable
            })?;
            list.extend(self.binding(stored, ours));
        }
        Ok(Bindings { version: Version(stamp.sequence), list: list.into() })
    }

    /// A stored binding as it is good for now. Connections ended with the process that had them: a binding that is nothing
    /// but such a flow (RFC 5626 §6) is gone, any other is called at its contact's URI. A datagram's way back stays as long as
    /// there is the socket that it led to.
    fn binding(&self, stored: Stored, ours: bool) -> Option<Binding> {
        let Stored { contact, q, expires, call_id, cseq, path, flow, outbound } = stored;
        let flow = if ours { flow } else { flow.and_then(|flow| self.kept(flow, &path)) };
        if !ours && outbound.is_some() && flow.is_none() && path.is_empty() {
            return None;
        }
        let expires_at = self.clock.instant(expires);
        Some(Binding { contact, q, expires_at, call_id, cseq, path: path.into(), flow, outbound })
    }

    fn kept(&self, flow: Path, path: &[sip_message::headers::NameAddr]) -> Option<Path> {
        let is_there = self.locals.iter().any(|local| {
            local.transport == Transport::Udp
                && (local.bound == flow.local
                    || local.bound.ip().is_unspecified()
                        && local.bound.port() == flow.local.port()
                        && local.bound.is_ipv4() == flow.local.is_ipv4())
        });
        (path.is_empty() && flow.transport == Transport::Udp && is_there)
            .then_some(Path { flow: None, ..flow })
    }

    /// The record that an update would make of an address-of-record: [`apply`](MemoryLocation::apply) it when it is stored.
    ///
    /// # Errors
    /// The answer, if the update is not made.
    pub(crate) fn prepare(
        &mut self,
        now: Instant,
        aor: &AddressOfRecord,
        expected: Version,
        bindings: &[Binding],
    ) -> Result<Record, Answer> {
        let (version, before) = self
            .get(aor.as_str().as_bytes())
            .map_or((0, 0), |record| (record.stamp().sequence, record.count()));
        if Version(version) != expected {
            return Err(self.current(aor).map_or_else(Answer::Failed, Answer::Conflict));
        }
        let total = self.bindings.saturating_sub(before).saturating_add(bindings.len());
        if total > self.limit && bindings.len() > before {
            return Err(Answer::Failed(StoreError::Full));
        }
        let sequence = self.sequence.saturating_add(1);
        let stamp = Stamp { sequence, written: self.clock.unix(now), run: self.run };
        let stored = bindings.iter().map(|binding| StoredRef {
            contact: &binding.contact,
            q: binding.q,
            expires: self.clock.unix(binding.expires_at),
            call_id: &binding.call_id,
            cseq: binding.cseq,
            path: &binding.path,
            flow: binding.flow.as_ref(),
            outbound: binding.outbound.as_ref(),
        });
        let record =
            Record::new(aor.as_str(), stored, stamp).map_err(|_| Answer::Failed(StoreError::Full))?;
        self.sequence = sequence;
        Ok(record)
    }

    fn hash(&self, key: &[u8]) -> u64 {
        self.hasher.hash_one(key)
    }

    /// The lower half chooses the part.
    fn shard(hash: u64) -> usize {
        usize::try_from(hash % SHARDS as u64).unwrap_or(0)
    }

    fn get(&self, key: &[u8]) -> Option<&Record> {
        let hash = self.hash(key);
        self.shards
            .get(Self::shard(hash))?
            .find(spread(upper(hash)), |entry| entry.record.key() == key)
            .map(|entry| &entry.record)
    }

    /// Puts a record in the place of what there is of its address-of-record, unless that is newer.
    pub(crate) fn apply(&mut self, record: Record) {
        let stamp = record.stamp();
        self.sequence = self.sequence.max(stamp.sequence);
        let hash = self.hash(record.key());
        let place = spread(upper(hash));
        let Some(shard) = self.shards.get_mut(Self::shard(hash)) else { return };
        let found = shard.find_entry(place, |entry| entry.record.key() == record.key());
        let (count, octets) = (record.count(), record.octets().len() as u64);
        let second = second_after(record.first_expiry());
        match found {
            Ok(mut place) => {
                let old = &place.get().record;
                if old.stamp().sequence > stamp.sequence {
                    return;
                }
                self.bindings = self.bindings.saturating_sub(old.count());
                self.octets = self.octets.saturating_sub(old.octets().len() as u64);
                if count == 0 {
                    place.remove();
                    self.addresses = self.addresses.saturating_sub(1);
                    return self.sweep();
                }
                let entry = place.get_mut();
                // A note that comes too early is moved then; one that comes too late is of no use.
                let noted = entry.noted;
                entry.record = record;
                entry.noted = noted.min(second);
                if second < noted {
                    self.note(second, hash);
                }
            }
            Err(_) if count == 0 => return,
            Err(absent) => {
                let entry = Entry { record, noted: second, hash: upper(hash) };
                absent.into_table().insert_unique(place, entry, Entry::place);
                self.addresses = self.addresses.saturating_add(1);
                self.note(second, hash);
            }
        }
        self.bindings = self.bindings.saturating_add(count);
        self.octets = self.octets.saturating_add(octets);
    }

    fn note(&mut self, second: u32, hash: u64) {
        self.ends.entry(second).or_default().push(hash);
        self.noted = self.noted.saturating_add(1);
        self.sweep();
    }

    /// Who registers and unregisters in turn leaves notes: they must not become more than twice the entries.
    fn sweep(&mut self) {
        if self.noted <= self.addresses.saturating_mul(2).saturating_add(WORTH_SWEEPING) {
            return;
        }
        let mut noted = 0_usize;
        let (shards, ends) = (&self.shards, &mut self.ends);
        ends.retain(|second, hashes| {
            hashes.sort_unstable();
            hashes.dedup();
            hashes.retain(|hash| Self::noted_at(shards, *hash, *second));
            hashes.shrink_to_fit();
            noted = noted.saturating_add(hashes.len());
            !hashes.is_empty()
        });
        self.noted = noted;
    }

    fn noted_at(shards: &[HashTable<Entry>], hash: u64, second: u32) -> bool {
        let is_it = |entry: &Entry| entry.noted == second && entry.hash == upper(hash);
        shards.get(Self::shard(hash)).is_some_and(|shard| shard.find(spread(upper(hash)), is_it).is_some())
    }

    /// Puts in a record that a file has, if there is room for it: for twice the bindings that may be live, since a file is written while
    /// users come and go. What has ended when a record was written makes room. Whether there was any.
    pub(crate) fn load(&mut self, record: Record) -> bool {
        let room = self.limit.saturating_mul(2);
        let before = self.get(record.key()).map_or(0, Record::count);
        let more = record.count().saturating_sub(before);
        if self.bindings.saturating_add(more) > room {
            let written = record.stamp().written.max(self.clock.unix);
            self.expire(written);
        }
        let fits = more == 0 || self.bindings.saturating_add(more) <= room;
        if fits {
            self.apply(record);
        }
        fits
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// All is loaded.
    ///
    /// # Errors
    /// How many bindings are live, and how many may be, if those are fewer.
    pub(crate) fn loaded(&mut self) -> Result<(), (usize, usize)> {
        if self.bindings > self.limit {
            self.expire(self.clock.unix);
        }
        if self.bindings > self.limit { Err((self.bindings, self.limit)) } else { Ok(()) }
    }

    /// Removes what has ended by `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        let unix = self.clock.unix(now);
        self.expire(unix);
    }

    fn expire(&mut self, unix: u64) {
        while let Some(due) = self.ends.first_entry().filter(|due| u64::from(*due.key()) * 1000 <= unix) {
            let (second, hashes) = due.remove_entry();
            self.noted = self.noted.saturating_sub(hashes.len());
            for hash in hashes {
                self.end(unix, second, hash);
            }
        }
    }

    /// The time of a note has come: what has ended goes, what goes on is noted again.
    fn end(&mut self, unix: u64, second: u32, hash: u64) {
        let Some(shard) = self.shards.get_mut(Self::shard(hash)) else { return };
        let is_it = |entry: &Entry| entry.noted == second && entry.hash == upper(hash);
        let Some(entry) = shard.find_mut(spread(upper(hash)), is_it) else { return };
        if entry.record.first_expiry() > unix {
            let second = second_after(entry.record.first_expiry());
            entry.noted = second;
            return self.note(second, hash);
        }
        // Its stamp stays: nothing is written for an end, since whoever loads the record knows it as well.
        let live: Result<Vec<Stored>, _> = entry.record.bindings().collect();
        let mut live = live.unwrap_or_default();
        live.retain(|stored| stored.expires > unix);
        let (aor, stamp) = (entry.record.aor(), entry.record.stamp());
        let record = Record::new(aor, live.iter().map(StoredRef::from), stamp);
        entry.noted = u32::MAX;
        if let Ok(record) = record {
            self.apply(record);
        }
    }

    /// When there is something to remove: the full second after the next binding ends.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let (second, _) = self.ends.first_key_value()?;
        Some(self.clock.instant(u64::from(*second).saturating_mul(1000)))
    }

    /// How many bindings there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bindings
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bindings == 0
    }

    /// Octets of all records.
    #[must_use]
    pub fn octets(&self) -> u64 {
        self.octets
    }

    /// The listeners: ways back of datagrams that were stored by another process are taken only to these.
    pub fn set_locals(&mut self, locals: Locals) {
        self.locals = locals;
    }

    /// Goes on behind what was loaded: another process's flows are not ours, versions grow, and time does not go back behind what
    /// was written, or bindings would last longer than they were granted.
    pub(super) fn go_on(&mut self, last: Stamp) {
        self.run = last.run.wrapping_add(1);
        self.sequence = self.sequence.max(last.sequence);
        self.clock.unix = self.clock.unix.max(last.written);
    }

    /// What the next record follows.
    pub(crate) fn stamp(&self, now: Instant) -> Stamp {
        Stamp { sequence: self.sequence, written: self.clock.unix(now), run: self.run }
    }

    /// Appends the octets of all records of one part of the table. `false`: there is no such part.
    pub(crate) fn copy_part(&self, part: usize, out: &mut Vec<u8>) -> bool {
        let Some(shard) = self.shards.get(part) else { return false };
        for entry in shard {
            out.extend_from_slice(entry.record.octets());
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn table(limit: usize) -> MemoryLocation {
        MemoryLocation::new(limit, Instant::now(), Duration::from_secs(1_700_000_000))
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

    fn update(aor: &AddressOfRecord, expected: Version, list: Vec<Binding>) -> Question {
        Question::Update { aor: aor.clone(), expected, bindings: list.into() }
    }

    fn found(store: &mut MemoryLocation, aor: &AddressOfRecord) -> Bindings {
        match store.answer(Instant::now(), Question::Lookup { aor: aor.clone() }) {
            Answer::Found(bindings) => bindings,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_update_from_an_old_version_changes_nothing() {
        let (mut store, now, alice) = (table(10), Instant::now(), aor("alice"));
        let hour = now + Duration::from_secs(3600);
        assert!(matches!(
            store.answer(now, update(&alice, Version(0), vec![binding("sip:a@h1", hour)])),
            Answer::Updated
        ));
        let Answer::Conflict(current) =
            store.answer(now, update(&alice, Version(0), vec![binding("sip:a@h2", hour)]))
        else {
            panic!("the second of two writers that read the same version must lose")
        };
        assert_eq!(current.list[0].uri().host(), "h1");
        assert!(matches!(store.answer(now, update(&alice, current.version, vec![])), Answer::Updated));
        assert!(store.is_empty());
        assert_eq!(found(&mut store, &alice).version, Version(0));
    }

    #[test]
    fn bindings_end_each_at_its_time() {
        let (mut store, now, alice) = (table(10), Instant::now(), aor("alice"));
        let (minute, hour) = (now + Duration::from_secs(60), now + Duration::from_secs(3600));
        store.answer(
            now,
            update(&alice, Version(0), vec![binding("sip:a@h1", hour), binding("sip:a@h2", minute)]),
        );
        // The notes are of whole seconds.
        let second = Duration::from_secs(1);
        let first = store.poll_timeout().unwrap();
        assert!(first >= minute - second / 1000 && first <= minute + second);
        store.handle_timeout(first);
        assert_eq!(store.len(), 1);
        assert_eq!(found(&mut store, &alice).list[0].uri().host(), "h1");
        store.handle_timeout(store.poll_timeout().unwrap());
        assert_eq!((store.len(), store.poll_timeout()), (0, None));
    }

    #[test]
    fn a_full_store_still_lets_go_and_refresh() {
        let (mut store, now) = (table(1), Instant::now());
        let hour = now + Duration::from_secs(3600);
        store.answer(now, update(&aor("alice"), Version(0), vec![binding("sip:a@h", hour)]));
        let more = store.answer(now, update(&aor("bob"), Version(0), vec![binding("sip:b@h", hour)]));
        assert!(matches!(more, Answer::Failed(StoreError::Full)));
        let version = found(&mut store, &aor("alice")).version;
        let again = update(&aor("alice"), version, vec![binding("sip:a@h", hour)]);
        assert!(matches!(store.answer(now, again), Answer::Updated));
    }
}
