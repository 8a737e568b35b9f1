//! What stands in a key: the [`Record`] of an address-of-record, and nothing else.

use std::time::{Duration, Instant};

use super::super::record::{Record, RecordError, Stamp, StoredRef};
use super::super::{Binding, Bindings, Version};

/// The clock that all servers of one Redis go by, which is its own: bindings end at the same time for all of them and for
/// the key, whatever their own clocks say.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    /// At this time here...
    pub(super) at: Instant,
    /// ...it was so many milliseconds of the Unix epoch there.
    pub(super) unix: u64,
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl Clock {
    pub(super) fn unix(&self, at: Instant) -> u64 {
        match at.checked_duration_since(self.at) {
            Some(since) => self.unix.saturating_add(milliseconds(since)),
            None => self.unix.saturating_sub(milliseconds(self.at.saturating_duration_since(at))),
        }
    }

    pub(super) fn instant(&self, unix: u64) -> Instant {
        let moved = match unix.checked_sub(self.unix) {
            Some(later) => self.at.checked_add(Duration::from_millis(later)),
            None => self.at.checked_sub(Duration::from_millis(self.unix.saturating_sub(unix))),
        };
        moved.unwrap_or(self.at)
    }
}

/// The octets for a key, and when its last binding ends, in milliseconds of the Unix epoch.
pub(super) fn encode(
    aor: &str,
    bindings: &[Binding],
    version: Version,
    clock: Clock,
    now: Instant,
) -> Result<(Record, u64), RecordError> {
    let stored = bindings.iter().map(|binding| StoredRef {
        contact: &binding.contact,
        q: binding.q,
        expires: clock.unix(binding.expires_at),
        call_id: &binding.call_id,
        cseq: binding.cseq,
        path: &binding.path,
        // It would mean nothing to another server. What one alone can reach has a Path that leads to it.
        flow: None,
        outbound: binding.outbound.as_ref(),
    });
    let last = bindings.iter().map(|binding| clock.unix(binding.expires_at)).max().unwrap_or(0);
    let stamp = Stamp { sequence: version.0, written: clock.unix(now), run: 0 };
    Ok((Record::new(aor, stored, stamp)?, last))
}

/// What a key holds; without octets there is no key.
pub(super) fn decode(aor: &str, octets: &[u8], clock: Clock) -> Result<Bindings, RecordError> {
    if octets.is_empty() {
        return Ok(Bindings::none());
    }
    let record = Record::read(octets)?;
    // The record of somebody else was put there, or something behind it.
    if record.aor() != aor || record.octets().len() != octets.len() || record.stamp().sequence == 0 {
        return Err(RecordError::Damaged);
    }
    let list = record.bindings().map(|stored| {
        let stored = stored?;
        Ok(Binding {
            contact: stored.contact,
            q: stored.q,
            expires_at: clock.instant(stored.expires),
            call_id: stored.call_id,
            cseq: stored.cseq,
            path: stored.path.into(),
            flow: None,
            outbound: stored.outbound,
        })
    });
    let list: Result<Vec<_>, RecordError> = list.collect();
    Ok(Bindings { version: Version(record.stamp().sequence), list: list?.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock() -> Clock {
        // So late that times before it are there.
        Clock { at: Instant::now() + Duration::from_secs(1000), unix: 1_700_000_000_000 }
    }

    fn binding(expires_at: Instant) -> Binding {
        Binding {
            contact: "\"A\" <sip:alice@192.0.2.7:5070;transport=tcp>;+sip.instance=\"<urn:uuid:1>\""
                .parse()
                .unwrap(),
            q: 500,
            expires_at,
            call_id: "c@192.0.2.7".into(),
            cseq: 7,
            path: vec!["<sip:token@192.0.2.1:5060;lr>".parse().unwrap()].into(),
            flow: None,
            outbound: None,
        }
    }

    #[test]
    fn what_one_server_writes_another_one_reads_at_its_own_time() {
        let (one, other) = (clock(), Clock { at: Instant::now() + Duration::from_secs(2000), ..clock() });
        let end = one.at + Duration::from_millis(60_001);
        let (record, last) = encode("alice@example.com", &[binding(end)], Version(9), one, one.at).unwrap();
        assert_eq!((last, record.first_expiry()), (1_700_000_060_001, 1_700_000_060_001));
        let read = decode("alice@example.com", record.octets(), other).unwrap();
        assert_eq!(read.version, Version(9));
        assert_eq!(read.list[..], [binding(other.at + Duration::from_millis(60_001))]);
        // What has ended before the clock was read is told as ended.
        let past = one.at - Duration::from_secs(5);
        let (record, _) = encode("alice@example.com", &[binding(past)], Version(9), one, one.at).unwrap();
        let read = decode("alice@example.com", record.octets(), other).unwrap();
        assert_eq!(read.list[0].expires_at, other.at - Duration::from_secs(5));
    }

    #[test]
    fn what_is_no_record_of_this_address_is_damaged() {
        let clock = clock();
        let (record, _) =
            encode("alice@example.com", &[binding(clock.at)], Version(9), clock, clock.at).unwrap();
        let mut octets = record.octets().to_vec();
        assert!(decode("bob@example.com", &octets, clock).is_err(), "somebody else's");
        octets.push(0);
        assert!(decode("alice@example.com", &octets, clock).is_err(), "something behind it");
        octets.pop();
        octets[50] ^= 1;
        assert!(decode("alice@example.com", &octets, clock).is_err(), "changed");
        assert!(decode("alice@example.com", b"hello", clock).is_err());
        let (record, _) = encode("alice@example.com", &[], Version(0), clock, clock.at).unwrap();
        assert!(decode("alice@example.com", record.octets(), clock).is_err(), "version 0 is that of no key");
        assert_eq!(decode("alice@example.com", b"", clock).unwrap().version, Version(0));
    }
}
