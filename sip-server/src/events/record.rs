//! Subscriptions and publications as octets: what lies in an [`EventStore`](super::EventStore).
//!
//! ```text
//! a line `name value` for each thing that is known
//!
//! a subscription: the lines of its dialog; a publication: the body, octet by octet
//! ```

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use sip_transport::{Path, Transport};

use super::Package;
use crate::AddressOfRecord;

/// What a record is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EventKind {
    /// A subscription, by our tag of its dialog.
    Subscription,
    /// A publication, by its entity-tag.
    Publication,
}

/// A subscription or a publication, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventRecord {
    /// What it is.
    pub kind: EventKind,
    /// Its name among those of its kind.
    pub id: Box<str>,
    /// When it is over, in seconds since the Unix epoch: from then on the store may forget it by itself.
    pub expires: u64,
    /// The rest.
    pub octets: Bytes,
}

/// A change of what is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventChange {
    /// Keep this one, in the place of one of the same kind and name.
    Keep(EventRecord),
    /// Forget this one.
    Remove(EventKind, Box<str>),
}

/// Why a record is not understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// Its lines do not end.
    #[error("the record has no empty line")]
    NoEnd,
    /// A line says nothing that is known, or it cannot be read.
    #[error("line {0} of the record is not understood")]
    Line(usize),
    /// A line is missing that has to be there.
    #[error("the record does not say `{0}`")]
    Missing(&'static str),
}

/// A subscription that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeptSubscription {
    /// The package.
    pub package: Package,
    /// Whose state.
    pub aor: AddressOfRecord,
    /// Who watches, if that was proven.
    pub who: Option<Box<str>>,
    /// The address whose subscriptions it is counted among.
    pub source: Option<IpAddr>,
    /// When it began, in seconds since the Unix epoch.
    pub since: u64,
    /// A number that no CSeq of its NOTIFYs has passed.
    pub local_cseq: u32,
    /// The CSeq of the last SUBSCRIBE.
    pub remote_cseq: u32,
    /// Event with parameters that say how often, and the seconds granted then (RFC 6446).
    pub rates: Option<(u32, Box<str>)>,
    /// The way back.
    pub way: Way,
    /// Whether changes of presence alone are wanted (RFC 5263).
    pub changes_alone: bool,
    /// The list that it is for.
    pub list: Option<KeptList>,
    /// The head of its NOTIFYs, as the dialog has it.
    pub dialog: Box<str>,
}

/// The list of a subscription that is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeptList {
    /// Its URI.
    pub uri: Box<str>,
    /// The URIs of its members.
    pub members: Vec<Box<str>>,
}

/// The way back to who subscribes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Where Route or Contact say.
    ByUri,
    /// A socket of UDP to this address.
    Socket(Path),
    /// A connection, which ended with the process that had it.
    Connection,
}

/// A publication that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeptPublication {
    /// Whose state.
    pub aor: AddressOfRecord,
    /// The package.
    pub package: Package,
    /// The type of the body.
    pub content_type: String,
    /// The body.
    pub body: Bytes,
}

/// The lines of a record, and what follows them.
struct Lines<'a> {
    lines: Vec<(&'a str, &'a str)>,
    rest: usize,
}

impl<'a> Lines<'a> {
    fn of(octets: &'a [u8]) -> Result<Self, RecordError> {
        let end = octets.windows(2).position(|two| two == b"\n\n").ok_or(RecordError::NoEnd)?;
        let head = octets.get(..end).and_then(|head| std::str::from_utf8(head).ok());
        let head = head.ok_or(RecordError::NoEnd)?;
        let lines: Result<Vec<_>, RecordError> = (head.split('\n').enumerate())
            .map(|(index, line)| line.split_once(' ').ok_or(RecordError::Line(index.saturating_add(1))))
            .collect();
        Ok(Self { lines: lines?, rest: end.saturating_add(2) })
    }

    fn text(&self, name: &str) -> Option<&'a str> {
        self.lines.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }

    fn all(&self, name: &str) -> Vec<Box<str>> {
        self.lines.iter().filter(|(known, _)| *known == name).map(|(_, value)| (*value).into()).collect()
    }

    fn parsed<T>(
        &self,
        name: &'static str,
        parse: impl Fn(&'a str) -> Option<T>,
    ) -> Result<Option<T>, RecordError> {
        let Some(at) = self.lines.iter().position(|(known, _)| *known == name) else { return Ok(None) };
        let value = self.lines.get(at).and_then(|(_, value)| parse(value));
        value.map(Some).ok_or(RecordError::Line(at.saturating_add(1)))
    }

    fn required<T>(
        &self,
        name: &'static str,
        parse: impl Fn(&'a str) -> Option<T>,
    ) -> Result<T, RecordError> {
        self.parsed(name, parse)?.ok_or(RecordError::Missing(name))
    }
}

fn aor(text: &str) -> Option<AddressOfRecord> {
    text.contains('@').then(|| AddressOfRecord::from_canonical(text))
}

impl KeptSubscription {
    /// The record.
    #[must_use]
    pub fn write(&self) -> Bytes {
        let mut out = format!("package {}\naor {}\n", self.package.name(), self.aor);
        let mut line = |name: &str, value: &dyn std::fmt::Display| {
            out.push_str(&format!("{name} {value}\n"));
        };
        if let Some(who) = &self.who {
            line("who", who);
        }
        if let Some(source) = &self.source {
            line("source", source);
        }
        line("since", &self.since);
        line("local-cseq", &self.local_cseq);
        line("remote-cseq", &self.remote_cseq);
        if let Some((granted, event)) = &self.rates {
            line("rates", &format!("{granted} {event}"));
        }
        if self.changes_alone {
            line("changes", &"alone");
        }
        if let Some(list) = &self.list {
            line("list", &list.uri);
            list.members.iter().for_each(|member| line("member", member));
        }
        match &self.way {
            Way::ByUri => {}
            Way::Socket(path) => line("socket", &format!("{} {}", path.local, path.remote)),
            Way::Connection => line("connection", &"gone"),
        }
        out.push('\n');
        out.push_str(&self.dialog);
        out.into()
    }

    /// Reads a record.
    ///
    /// # Errors
    /// When it is none of a subscription.
    pub fn parse(octets: &Bytes) -> Result<Self, RecordError> {
        let lines = Lines::of(octets)?;
        let number = |text: &str| text.parse().ok();
        let rates = |text: &str| {
            let (granted, event) = text.split_once(' ')?;
            Some((granted.parse().ok()?, event.into()))
        };
        let socket = |text: &str| {
            let (local, remote) = text.split_once(' ')?;
            let (local, remote): (SocketAddr, SocketAddr) = (local.parse().ok()?, remote.parse().ok()?);
            Some(Path { local, ..Path::to(Transport::Udp, remote) })
        };
        let way = match (lines.parsed("socket", socket)?, lines.text("connection")) {
            (Some(path), _) => Way::Socket(path),
            (None, Some(_)) => Way::Connection,
            (None, None) => Way::ByUri,
        };
        let dialog = octets.get(lines.rest..).and_then(|rest| std::str::from_utf8(rest).ok());
        Ok(Self {
            package: lines.required("package", Package::of)?,
            aor: lines.required("aor", aor)?,
            who: lines.text("who").map(Into::into),
            source: lines.parsed("source", |text| text.parse().ok())?,
            since: lines.required("since", |text| text.parse().ok())?,
            local_cseq: lines.required("local-cseq", number)?,
            remote_cseq: lines.required("remote-cseq", number)?,
            rates: lines.parsed("rates", rates)?,
            way,
            changes_alone: lines.text("changes").is_some(),
            list: lines.text("list").map(|uri| KeptList { uri: uri.into(), members: lines.all("member") }),
            dialog: dialog.ok_or(RecordError::Missing("dialog"))?.into(),
        })
    }
}

impl KeptPublication {
    /// The record.
    #[must_use]
    pub fn write(&self) -> Bytes {
        let head = format!(
            "package {}\naor {}\ntype {}\n\n",
            self.package.name(),
            self.aor,
            self.content_type.replace('\n', " ")
        );
        [head.as_bytes(), &self.body].concat().into()
    }

    /// Reads a record.
    ///
    /// # Errors
    /// When it is none of a publication.
    pub fn parse(octets: &Bytes) -> Result<Self, RecordError> {
        let lines = Lines::of(octets)?;
        Ok(Self {
            package: lines.required("package", Package::of)?,
            aor: lines.required("aor", aor)?,
            content_type: lines.text("type").ok_or(RecordError::Missing("type"))?.to_owned(),
            body: octets.slice(lines.rest.min(octets.len())..),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn subscription(who: Option<String>, cseq: u32, way: Way, dialog: String) -> KeptSubscription {
        KeptSubscription {
            package: Package::Presence,
            aor: AddressOfRecord::from_canonical("bob@example.com"),
            who: who.map(Into::into),
            source: Some("2001:db8::1".parse().unwrap()),
            since: 17,
            local_cseq: cseq,
            remote_cseq: 1,
            rates: Some((60, "presence;max-rate=1".into())),
            way,
            changes_alone: cseq.is_multiple_of(2),
            list: cseq.is_multiple_of(3).then(|| KeptList {
                uri: "sip:sales@example.com".into(),
                members: vec!["sip:a@b".into(); 2],
            }),
            dialog: dialog.into(),
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            who in proptest::option::of("[a-z ]{1,9}@x"), cseq: u32, dialog in "[ -~\n]{0,60}", socket: bool,
            body in proptest::collection::vec(any::<u8>(), 0..60),
        ) {
            let path = Path { local: "192.0.2.1:5060".parse().unwrap(),
                ..Path::to(Transport::Udp, "[2001:db8::2]:5060".parse().unwrap()) };
            let way = if socket { Way::Socket(path) } else { Way::Connection };
            let one = subscription(who, cseq, way, dialog);
            prop_assert_eq!(KeptSubscription::parse(&one.write()), Ok(one));
            let publication = KeptPublication {
                aor: AddressOfRecord::from_canonical("bob@example.com"),
                package: Package::Presence,
                content_type: "application/pidf+xml".into(),
                body: body.into(),
            };
            prop_assert_eq!(KeptPublication::parse(&publication.write()), Ok(publication));
        }

        #[test]
        fn any_octets_are_read_or_refused(octets in proptest::collection::vec(any::<u8>(), 0..200)) {
            let octets = Bytes::from(octets);
            let _ = KeptSubscription::parse(&octets);
            let _ = KeptPublication::parse(&octets);
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        let parse = |text: &'static str| KeptSubscription::parse(&Bytes::from_static(text.as_bytes()));
        assert_eq!(parse("package presence"), Err(RecordError::NoEnd));
        assert_eq!(parse("package presence\nnonsense\n\n"), Err(RecordError::Line(2)));
        assert_eq!(parse("package presence\naor b@c\nsince x\n\n"), Err(RecordError::Line(3)));
        assert_eq!(parse("package presence\n\n"), Err(RecordError::Missing("aor")));
    }
}
