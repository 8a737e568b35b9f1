//! One address-of-record and its bindings as octets: what the table holds in memory and what lies on disk.
//!
//! All numbers are little-endian. Everything is bounds-checked and covered by a checksum.
//!
//! ```text
//!  0  ff b1   what no text of a record can hold, so that a record is found again behind damage
//!  2  1       version of this layout
//!  3  0
//!  4  u32     octets of the whole record
//!  8  u32     CRC-32 of all the rest
//! 12  u64     sequence number: the newest record of an address-of-record counts
//! 20  u64     when it was written, in milliseconds of the Unix epoch
//! 28  u64     when its first binding ends, likewise; 0 without bindings
//! 36  u32     number of the process that wrote it: its connections ended with it
//! 40  u16     how many bindings; none: the address-of-record was removed
//! 42  u16     octets of the address-of-record, which follows
//! 44  ...     the bindings
//! ```

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use sip_message::headers::NameAddr;
use sip_transport::{FlowId, Path, Transport};

use super::OutboundFlow;

/// The first two octets of every record. 0xff is in no UTF-8 text, so no peer can write a record into one.
pub(super) const MAGIC: [u8; 2] = [0xff, 0xb1];
/// The layout that is written and read.
pub(super) const VERSION: u8 = 1;
/// Octets before the address-of-record.
pub(super) const HEADER: usize = 44;
/// The longest record: ten bindings of the longest contacts and paths that fit into messages stay below it. What names more
/// octets on disk is damaged, and is not allocated for.
pub(super) const LONGEST: usize = 1 << 20;

/// An address-of-record with its bindings, encoded.
#[derive(Clone, PartialEq, Eq)]
pub struct Record(Box<[u8]>);

/// A binding as it is stored: a [`Binding`](super::Binding) whose end is a time of the wall clock.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    /// The contact with its parameters, `expires` taken off.
    pub contact: NameAddr,
    /// Its preference in thousandths.
    pub q: u16,
    /// When it ends, in milliseconds of the Unix epoch.
    pub expires: u64,
    /// Call-ID of the REGISTER that made it.
    pub call_id: String,
    /// CSeq number of that REGISTER.
    pub cseq: u32,
    /// The Path of that REGISTER.
    pub path: Vec<NameAddr>,
    /// The way the REGISTER came. Its flow number means something to the process that wrote it alone.
    pub flow: Option<Path>,
    /// Which flow of which user agent this is.
    pub outbound: Option<OutboundFlow>,
}

/// What a record says of itself beside the bindings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    /// The sequence number.
    pub sequence: u64,
    /// When it is written, in milliseconds of the Unix epoch.
    pub written: u64,
    /// The number of the process that writes it.
    pub run: u32,
}

/// Octets that are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// It ends too early or its checksum does not fit.
    #[error("it is damaged")]
    Damaged,
    /// A newer version of this program wrote it.
    #[error("it has layout {0}, this program reads layout {VERSION}")]
    Version(u8),
    /// Its checksum fits, but not what is in it.
    #[error("octet {0} is not understood")]
    Content(usize),
    /// It would be longer than any record may be.
    #[error("it has more than {LONGEST} octets")]
    TooLong,
}

impl Record {
    /// Encodes the bindings of an address-of-record, in the order given.
    ///
    /// # Errors
    /// When they are too long together.
    pub fn new<'a>(
        aor: &str,
        bindings: impl Iterator<Item = StoredRef<'a>>,
        stamp: Stamp,
    ) -> Result<Self, RecordError> {
        let mut out = Vec::with_capacity(256);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&[VERSION, 0]);
        out.extend_from_slice(&[0; 8]);
        out.extend_from_slice(&stamp.sequence.to_le_bytes());
        out.extend_from_slice(&stamp.written.to_le_bytes());
        out.extend_from_slice(&[0; 8]);
        out.extend_from_slice(&stamp.run.to_le_bytes());
        out.extend_from_slice(&[0; 2]);
        text(&mut out, aor.as_bytes())?;
        let (mut count, mut first) = (0_u16, u64::MAX);
        for binding in bindings {
            count = count.checked_add(1).ok_or(RecordError::TooLong)?;
            first = first.min(binding.expires);
            binding.write(&mut out)?;
        }
        let length = u32::try_from(out.len()).ok().filter(|_| out.len() <= LONGEST);
        let length = length.ok_or(RecordError::TooLong)?;
        let first = if count == 0 { 0 } else { first };
        put(&mut out, 4, &length.to_le_bytes());
        put(&mut out, 28, &first.to_le_bytes());
        put(&mut out, 40, &count.to_le_bytes());
        let sum = checksum(&out);
        put(&mut out, 8, &sum.to_le_bytes());
        Ok(Self(out.into_boxed_slice()))
    }

    /// The record at the start of `octets`, which may hold more behind it.
    ///
    /// # Errors
    /// When there is none. Only what is outside of the bindings is looked at; the checksum covers them.
    pub fn read(octets: &[u8]) -> Result<Self, RecordError> {
        Self::frame(octets).map(|frame| Self(frame.into()))
    }

    /// The same with the checksum made right before: for tests of what comes after it.
    ///
    /// # Errors
    /// As [`read`](Record::read).
    pub fn read_unchecked(octets: &[u8]) -> Result<Self, RecordError> {
        let mut octets = octets.to_vec();
        let length = u32::try_from(octets.len()).map_err(|_| RecordError::TooLong)?;
        put(&mut octets, 0, &MAGIC);
        put(&mut octets, 4, &length.to_le_bytes());
        let sum = checksum(&octets);
        put(&mut octets, 8, &sum.to_le_bytes());
        Self::read(&octets)
    }

    /// The octets of the record at the start of `octets`, checked.
    pub(super) fn frame(octets: &[u8]) -> Result<&[u8], RecordError> {
        let length = Self::length(octets).ok_or(RecordError::Damaged)?;
        let frame = octets.get(..length).ok_or(RecordError::Damaged)?;
        if number::<4>(frame, 8) != checksum(frame).to_le_bytes() {
            return Err(RecordError::Damaged);
        }
        match frame.get(2) {
            Some(&VERSION) => {}
            Some(&other) => return Err(RecordError::Version(other)),
            None => return Err(RecordError::Damaged),
        }
        let aor = HEADER.checked_add(usize::from(u16::from_le_bytes(number(frame, 42))));
        match aor.and_then(|end| frame.get(HEADER..end)) {
            Some(aor) if std::str::from_utf8(aor).is_ok() => Ok(frame),
            _ => Err(RecordError::Content(42)),
        }
    }

    /// How long the record at the start of `octets` says that it is; `None` if that is no start of a record.
    pub(super) fn length(octets: &[u8]) -> Option<usize> {
        if octets.len() < HEADER || !octets.starts_with(&MAGIC) {
            return None;
        }
        let length = usize::try_from(u32::from_le_bytes(number(octets, 4))).ok()?;
        (HEADER..=LONGEST).contains(&length).then_some(length)
    }

    /// All octets.
    #[must_use]
    pub fn octets(&self) -> &[u8] {
        &self.0
    }

    /// Sequence number, time and process.
    #[must_use]
    pub fn stamp(&self) -> Stamp {
        Stamp {
            sequence: u64::from_le_bytes(number(&self.0, 12)),
            written: u64::from_le_bytes(number(&self.0, 20)),
            run: u32::from_le_bytes(number(&self.0, 36)),
        }
    }

    /// When its first binding ends, in milliseconds of the Unix epoch.
    #[must_use]
    pub fn first_expiry(&self) -> u64 {
        u64::from_le_bytes(number(&self.0, 28))
    }

    /// How many bindings it has.
    #[must_use]
    pub fn count(&self) -> usize {
        usize::from(u16::from_le_bytes(number(&self.0, 40)))
    }

    fn aor_end(&self) -> usize {
        HEADER.saturating_add(usize::from(u16::from_le_bytes(number(&self.0, 42))))
    }

    /// The octets of the address-of-record.
    pub(super) fn key(&self) -> &[u8] {
        self.0.get(HEADER..self.aor_end()).unwrap_or_default()
    }

    /// The address-of-record.
    #[must_use]
    pub fn aor(&self) -> &str {
        std::str::from_utf8(self.key()).unwrap_or_default()
    }

    /// The bindings.
    pub fn bindings(&self) -> impl Iterator<Item = Result<Stored, RecordError>> + '_ {
        let mut cursor = Cursor { octets: &self.0, at: self.aor_end() };
        let mut left = self.count();
        std::iter::from_fn(move || {
            if left == 0 {
                // Nothing may stand behind the last one.
                let behind = cursor.at < cursor.octets.len();
                let at = std::mem::replace(&mut cursor.at, cursor.octets.len());
                return behind.then_some(Err(RecordError::Content(at)));
            }
            left = left.saturating_sub(1);
            let read = cursor.binding().ok_or(RecordError::Content(cursor.at));
            if read.is_err() {
                (left, cursor.at) = (0, cursor.octets.len());
            }
            Some(read)
        })
    }
}

impl std::fmt::Debug for Record {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Record")
            .field("aor", &self.aor())
            .field("stamp", &self.stamp())
            .field("count", &self.count())
            .finish_non_exhaustive()
    }
}

/// What is encoded of a binding, borrowed.
#[derive(Clone, Copy, Debug)]
pub struct StoredRef<'a> {
    /// See [`Stored`].
    pub contact: &'a NameAddr,
    /// See [`Stored`].
    pub q: u16,
    /// See [`Stored`].
    pub expires: u64,
    /// See [`Stored`].
    pub call_id: &'a str,
    /// See [`Stored`].
    pub cseq: u32,
    /// See [`Stored`].
    pub path: &'a [NameAddr],
    /// See [`Stored`].
    pub flow: Option<&'a Path>,
    /// See [`Stored`].
    pub outbound: Option<&'a OutboundFlow>,
}

impl<'a> From<&'a Stored> for StoredRef<'a> {
    fn from(stored: &'a Stored) -> Self {
        Self {
            contact: &stored.contact,
            q: stored.q,
            expires: stored.expires,
            call_id: &stored.call_id,
            cseq: stored.cseq,
            path: &stored.path,
            flow: stored.flow.as_ref(),
            outbound: stored.outbound.as_ref(),
        }
    }
}

const HAS_FLOW: u8 = 1;
const HAS_FLOW_NUMBER: u8 = 2;
const HAS_OUTBOUND: u8 = 4;

impl StoredRef<'_> {
    fn write(self, out: &mut Vec<u8>) -> Result<(), RecordError> {
        let mut flags = 0;
        if let Some(flow) = self.flow {
            flags |= HAS_FLOW | if flow.flow.is_some() { HAS_FLOW_NUMBER } else { 0 };
        }
        if self.outbound.is_some() {
            flags |= HAS_OUTBOUND;
        }
        let path = u8::try_from(self.path.len()).map_err(|_| RecordError::TooLong)?;
        out.extend_from_slice(&self.expires.to_le_bytes());
        out.extend_from_slice(&self.cseq.to_le_bytes());
        out.extend_from_slice(&self.q.to_le_bytes());
        out.extend_from_slice(&[flags, path]);
        address(out, self.contact)?;
        text(out, self.call_id.as_bytes())?;
        self.path.iter().try_for_each(|one| address(out, one))?;
        if let Some(flow) = self.flow {
            out.push(code(flow.transport));
            socket(out, flow.local);
            socket(out, flow.remote);
            if let Some(FlowId(number)) = flow.flow {
                out.extend_from_slice(&number.to_le_bytes());
            }
        }
        if let Some(outbound) = self.outbound {
            out.extend_from_slice(&outbound.reg_id.to_le_bytes());
            text(out, outbound.instance.as_str().as_bytes())?;
        }
        Ok(())
    }
}

struct Cursor<'a> {
    octets: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(count)?;
        let taken = self.octets.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = u16::from_le_bytes(self.array()?);
        std::str::from_utf8(self.take(length.into())?).ok()
    }

    fn socket(&mut self) -> Option<SocketAddr> {
        let [family] = self.array()?;
        let ip: IpAddr = match family {
            4 => Ipv4Addr::from(self.array::<4>()?).into(),
            6 => Ipv6Addr::from(self.array::<16>()?).into(),
            _ => return None,
        };
        Some(SocketAddr::new(ip, u16::from_le_bytes(self.array()?)))
    }

    fn binding(&mut self) -> Option<Stored> {
        let expires = u64::from_le_bytes(self.array()?);
        let cseq = u32::from_le_bytes(self.array()?);
        let q = u16::from_le_bytes(self.array()?);
        let [flags, hops] = self.array()?;
        if flags & !(HAS_FLOW | HAS_FLOW_NUMBER | HAS_OUTBOUND) != 0 {
            return None;
        }
        let contact = self.text()?.parse().ok()?;
        let call_id = self.text()?.to_owned();
        let path = (0..hops).map(|_| self.text()?.parse().ok()).collect::<Option<_>>()?;
        let flow = if flags & HAS_FLOW == 0 { None } else { Some(self.flow(flags)?) };
        let outbound = if flags & HAS_OUTBOUND == 0 {
            None
        } else {
            let reg_id = u32::from_le_bytes(self.array()?);
            Some(OutboundFlow { instance: self.text()?.parse().ok()?, reg_id })
        };
        Some(Stored { contact, q, expires, call_id, cseq, path, flow, outbound })
    }

    fn flow(&mut self, flags: u8) -> Option<Path> {
        let [transport] = self.array()?;
        let transport = Transport::ALL.into_iter().find(|one| code(*one) == transport)?;
        let (local, remote) = (self.socket()?, self.socket()?);
        let flow =
            if flags & HAS_FLOW_NUMBER == 0 { None } else { Some(FlowId(u64::from_le_bytes(self.array()?))) };
        Some(Path { transport, local, remote, flow })
    }
}

/// The number of a transport. What is on disk stays as it is: a new transport gets a new number.
const fn code(transport: Transport) -> u8 {
    match transport {
        Transport::Udp => 1,
        Transport::Tcp => 2,
        Transport::Tls => 3,
        Transport::Ws => 4,
        Transport::Wss => 5,
    }
}

/// A scope or a flow label of IPv6 is of this machine's interfaces now, and is left out.
fn socket(out: &mut Vec<u8>, address: SocketAddr) {
    match address.ip() {
        IpAddr::V4(ip) => {
            out.push(4);
            out.extend_from_slice(&ip.octets());
        }
        IpAddr::V6(ip) => {
            out.push(6);
            out.extend_from_slice(&ip.octets());
        }
    }
    out.extend_from_slice(&address.port().to_le_bytes());
}

fn text(out: &mut Vec<u8>, text: &[u8]) -> Result<(), RecordError> {
    let length = u16::try_from(text.len()).map_err(|_| RecordError::TooLong)?;
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(text);
    Ok(())
}

fn address(out: &mut Vec<u8>, address: &NameAddr) -> Result<(), RecordError> {
    let at = out.len();
    out.extend_from_slice(&[0; 2]);
    // Writing to a vector does not fail.
    let _ = write!(out, "{address}");
    let written = out.len().saturating_sub(at).saturating_sub(2);
    let length = u16::try_from(written).map_err(|_| RecordError::TooLong)?;
    put(out, at, &length.to_le_bytes());
    Ok(())
}

fn put(out: &mut [u8], at: usize, octets: &[u8]) {
    if let Some(place) = out.get_mut(at..).and_then(|rest| rest.get_mut(..octets.len())) {
        place.copy_from_slice(octets);
    }
}

/// `N` octets at `at`; zeros if they are not there.
pub(super) fn number<const N: usize>(octets: &[u8], at: usize) -> [u8; N] {
    octets.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0; N])
}

/// Of everything but its own place.
pub(super) fn checksum(octets: &[u8]) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    sum.update(octets.get(..8).unwrap_or_default());
    sum.update(octets.get(12..).unwrap_or_default());
    sum.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn addresses() -> impl Strategy<Value = NameAddr> {
        let parts =
            ("[a-z]{1,12}", "[a-z]{1,8}\\.example", any::<Option<u16>>(), any::<bool>(), "[ -~\u{e4}]{0,9}");
        parts.prop_map(|(user, host, port, lr, name)| {
            let port = port.map_or(String::new(), |port| format!(":{port}"));
            let lr = if lr { ";lr" } else { "" };
            let address: NameAddr = format!("<sip:{user}@{host}{port}{lr}>").parse().unwrap();
            address.with_display_name(&name).with_param("x", Some("1"))
        })
    }

    fn sockets() -> impl Strategy<Value = SocketAddr> {
        any::<(IpAddr, u16)>().prop_map(|(ip, port)| SocketAddr::new(ip, port))
    }

    fn flows() -> impl Strategy<Value = Path> {
        let transport = prop::sample::select(Transport::ALL.to_vec());
        (transport, sockets(), sockets(), any::<Option<u64>>()).prop_map(
            |(transport, local, remote, flow)| Path { transport, local, remote, flow: flow.map(FlowId) },
        )
    }

    fn outbound() -> impl Strategy<Value = OutboundFlow> {
        any::<([u8; 16], u32)>().prop_map(|(random, reg_id)| OutboundFlow {
            instance: sip_message::headers::InstanceId::uuid(random),
            reg_id,
        })
    }

    fn bindings() -> impl Strategy<Value = Stored> {
        let numbers = any::<(u16, u64, u32)>();
        let rest = (prop::option::of(flows()), prop::option::of(outbound()));
        let path = prop::collection::vec(addresses(), 0..3);
        (addresses(), numbers, "[!-~]{0,40}", path, rest).prop_map(
            |(contact, (q, expires, cseq), call_id, path, (flow, outbound))| Stored {
                contact,
                q,
                expires,
                call_id,
                cseq,
                path,
                flow,
                outbound,
            },
        )
    }

    fn record(aor: &str, list: &[Stored], stamp: Stamp) -> Record {
        Record::new(aor, list.iter().map(StoredRef::from), stamp).unwrap()
    }

    proptest! {
        #[test]
        fn a_record_reads_as_it_was_written(
            aor in "[a-z]{0,20}@[a-z.]{1,20}",
            list in prop::collection::vec(bindings(), 0..5),
            (sequence, written, run) in any::<(u64, u64, u32)>(),
            behind in prop::collection::vec(any::<u8>(), 0..20),
        ) {
            let stamp = Stamp { sequence, written, run };
            let record = record(&aor, &list, stamp);
            let octets = [record.octets(), &behind].concat();
            let read = Record::read(&octets).unwrap();
            prop_assert_eq!((read.aor(), read.stamp(), read.count()), (aor.as_str(), stamp, list.len()));
            prop_assert_eq!(read.first_expiry(), list.iter().map(|one| one.expires).min().unwrap_or(0));
            let again: Result<Vec<Stored>, _> = read.bindings().collect();
            prop_assert_eq!(again.unwrap(), list);
        }

        /// A record cut short or with any bit turned is none.
        #[test]
        fn damage_is_noticed(list in prop::collection::vec(bindings(), 0..3), at in any::<prop::sample::Index>(), bit in 0..8_u8) {
            let record = record("alice@example.com", &list, Stamp::default());
            let at = at.index(record.octets().len());
            prop_assert!(Record::read(&record.octets()[..at]).is_err());
            let mut octets = record.octets().to_vec();
            octets[at] ^= 1 << bit;
            prop_assert!(Record::read(&octets).is_err(), "octet {} bit {}", at, bit);
        }

        /// What has the right checksum and nonsense in it is an error, not a panic.
        #[test]
        fn nonsense_is_refused(list in prop::collection::vec(bindings(), 1..3), at in any::<prop::sample::Index>(), value in any::<u8>()) {
            let record = record("alice@example.com", &list, Stamp::default());
            let mut octets = record.octets().to_vec();
            let at = at.index(octets.len());
            octets[at] = value;
            let sum = checksum(&octets);
            put(&mut octets, 8, &sum.to_le_bytes());
            if let Ok(record) = Record::read(&octets) {
                prop_assert!(record.bindings().count() <= record.count() + 1);
            }
        }
    }

    #[test]
    fn what_is_too_long_is_no_record() {
        let contact: NameAddr = "sip:a@h".parse().unwrap();
        let call_id = "c".repeat(70_000);
        let one = StoredRef {
            contact: &contact,
            q: 0,
            expires: 0,
            call_id: &call_id,
            cseq: 0,
            path: &[],
            flow: None,
            outbound: None,
        };
        assert_eq!(Record::new("a@h", [one].into_iter(), Stamp::default()), Err(RecordError::TooLong));
        let call_id = "c".repeat(60_000);
        let many = std::iter::repeat_n(StoredRef { call_id: &call_id, ..one }, 20);
        assert_eq!(Record::new("a@h", many, Stamp::default()), Err(RecordError::TooLong));
    }

    #[test]
    fn a_newer_layout_says_so() {
        let mut octets = record("a@h", &[], Stamp::default()).octets().to_vec();
        octets[2] = 9;
        let sum = checksum(&octets);
        put(&mut octets, 8, &sum.to_le_bytes());
        assert_eq!(Record::read(&octets), Err(RecordError::Version(9)));
    }
}
