//! What to refuse when there is more than can be done, and how neighbours are told and obeyed (RFC 7339).

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use sip_message::headers::{ResourcePriority, Via};
use sip_message::{HeaderName, Method, Request, ServiceUrn};
use sip_transport::{Path, Transport};

/// How much is refused, from nothing to nearly everything. ACK, CANCEL, BYE and responses always pass: they end what
/// costs memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// Everything is taken.
    #[default]
    Open,
    /// No new dialogs: INVITE, SUBSCRIBE and REFER outside of one are refused.
    NoNewDialogs,
    /// Outside of dialogs only REGISTER, so that those who can be reached stay so.
    Essential,
    /// What exists is finished: requests within dialogs alone.
    FinishOnly,
}

/// From which share of [`Limits::server_transactions`](crate::Limits::server_transactions) on each tier holds, in percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// [`Tier::NoNewDialogs`].
    pub no_new_dialogs: u8,
    /// [`Tier::Essential`].
    pub essential: u8,
    /// [`Tier::FinishOnly`].
    pub finish_only: u8,
}

impl Thresholds {
    /// A call that is taken costs some more transactions before it ends: a fifth of the table is for finishing them.
    pub const NO_NEW_DIALOGS: u8 = 80;
    /// Single requests cost one transaction each.
    pub const ESSENTIAL: u8 = 90;
    /// What is left is for requests within dialogs.
    pub const FINISH_ONLY: u8 = 95;
    /// A tier that was entered is left this many percent lower, so that it does not come and go with each transaction.
    pub const HYSTERESIS: u8 = 5;
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            no_new_dialogs: Self::NO_NEW_DIALOGS,
            essential: Self::ESSENTIAL,
            finish_only: Self::FINISH_ONLY,
        }
    }
}

/// The tier that an element is in.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Load {
    thresholds: Thresholds,
    /// By how full the table is.
    own: Tier,
    /// What the application says of its own queues or processors.
    told: Tier,
}

impl Load {
    pub(crate) fn new(thresholds: Thresholds) -> Self {
        Self { thresholds, ..Self::default() }
    }

    pub(crate) fn tell(&mut self, tier: Tier) {
        self.told = tier;
    }

    /// The tier with so many of so many places taken.
    pub(crate) fn tier(&mut self, taken: usize, limit: usize) -> Tier {
        let percent = taken.saturating_mul(100).checked_div(limit).unwrap_or(100);
        let Thresholds { no_new_dialogs, essential, finish_only } = self.thresholds;
        let own = self.own;
        let reached = |from: u8, tier: Tier| {
            let from = if own >= tier { from.saturating_sub(Thresholds::HYSTERESIS) } else { from };
            percent >= usize::from(from)
        };
        self.own = if reached(finish_only, Tier::FinishOnly) {
            Tier::FinishOnly
        } else if reached(essential, Tier::Essential) {
            Tier::Essential
        } else if reached(no_new_dialogs, Tier::NoNewDialogs) {
            Tier::NoNewDialogs
        } else {
            Tier::Open
        };
        self.own.max(self.told)
    }

    /// The share of new requests that neighbours shall keep to themselves, in percent (RFC 7339 §5.3): none below the
    /// first tier, all at the last.
    pub(crate) fn reduction(&mut self, taken: usize, limit: usize) -> u8 {
        let tier = self.tier(taken, limit);
        let first = usize::from(self.thresholds.no_new_dialogs);
        let room = usize::from(self.thresholds.finish_only).saturating_sub(first).max(1);
        let percent = taken.saturating_mul(100).checked_div(limit).unwrap_or(100);
        let above = percent.saturating_sub(first).saturating_mul(100).checked_div(room).unwrap_or(100);
        let least = match tier {
            Tier::Open => return 0,
            Tier::NoNewDialogs => 10,
            Tier::Essential => 50,
            Tier::FinishOnly => 100,
        };
        u8::try_from(above.clamp(least, 100)).unwrap_or(100)
    }
}

impl Tier {
    /// Whether a request is refused in this tier.
    #[must_use]
    pub fn refuses(self, request: &Request) -> bool {
        if self == Self::Open || is_within_dialog(request) {
            return false;
        }
        match (self, request.method()) {
            (_, Method::Ack | Method::Cancel | Method::Bye | Method::Prack) => false,
            (Self::FinishOnly, _) => true,
            _ if is_urgent(request) => false,
            (Self::NoNewDialogs, method) => {
                matches!(method, Method::Invite | Method::Subscribe | Method::Refer)
            }
            (_, method) => *method != Method::Register,
        }
    }
}

/// Whether a request belongs to a dialog, as its To tag says.
pub(crate) fn is_within_dialog(request: &Request) -> bool {
    request.headers.tag(HeaderName::TO).is_some()
}

/// A call for help, or one that public authorities gave a priority: refused last (RFC 7339 §5.10.1).
pub(crate) fn is_urgent(request: &Request) -> bool {
    let sos = request.uri().is_ok_and(|uri| ServiceUrn::of(&uri).is_ok_and(|service| service.is_emergency()));
    sos || (request.headers.contains(HeaderName::RESOURCE_PRIORITY)
        && request.headers.all::<ResourcePriority>().flatten().any(|priority| {
            ["esnet", "ets", "wps"].iter().any(|known| priority.namespace().eq_ignore_ascii_case(known))
        }))
}

/// What a server tells of its load in the top Via of responses (RFC 7339 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) reduction: u8,
    pub(crate) validity: Duration,
    pub(crate) sequence: u64,
}

impl Report {
    /// How long a report holds without a newer one: RFC 7339 §4.3 names 500 ms as the default.
    pub(crate) const VALIDITY: Duration = Duration::from_millis(500);

    /// Whether the client of a request knows of all this: `oc` without a value, and `loss` among its algorithms (§4.1, §4.2).
    pub(crate) fn is_wanted(via: &Via) -> bool {
        via.param("oc").is_some()
            && via
                .params()
                .unquoted("oc-algo")
                .is_some_and(|list| list.split(',').any(|one| one.trim() == "loss"))
    }

    pub(crate) fn write(self, via: &mut Via) {
        via.set_param("oc", Some(&self.reduction.to_string()));
        via.set_param("oc-algo", Some("\"loss\""));
        via.set_param("oc-validity", Some(&self.validity.as_millis().to_string()));
        let (whole, fraction) = (self.sequence / FRACTIONS, self.sequence % FRACTIONS);
        via.set_param("oc-seq", Some(&format!("{whole}.{fraction:05}")));
    }

    pub(crate) fn read(via: &Via) -> Option<Self> {
        let number = |name: &str| via.params().value(name).and_then(|text| text.parse::<u64>().ok());
        // §5.1: only the algorithm that we have offered counts.
        if via.params().unquoted("oc-algo").is_none_or(|algorithm| algorithm != "loss") {
            return None;
        }
        let reduction = u8::try_from(number("oc")?.min(100)).ok()?;
        let validity = number("oc-validity").map_or(Self::VALIDITY, Duration::from_millis);
        Some(Self {
            reduction,
            validity,
            sequence: via.params().value("oc-seq").and_then(sequence).unwrap_or(0),
        })
    }
}

/// `oc-seq` in hundred-thousandths: twelve digits, a point, and five that order reports within one second (§9).
fn sequence(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    if !(1..=12).contains(&whole.len()) || !(1..=5).contains(&fraction.len()) {
        return None;
    }
    let number =
        |digits: &str| digits.bytes().all(|digit| digit.is_ascii_digit()).then(|| digits.parse::<u64>());
    let fraction = number(&format!("{fraction:0<5}"))?.ok()?;
    number(whole)?.ok()?.checked_mul(FRACTIONS)?.checked_add(fraction)
}

/// How many steps of `oc-seq` there are between two whole numbers.
const FRACTIONS: u64 = 100_000;

/// Next hops whose reports are kept. A proxy has some dozens; more would be a peer's doing, by names that lead to ever
/// new addresses.
const HOPS: usize = 1_000;
/// A report that claims to hold for longer counts as one for so long: it would silence us for a server's mistake.
const LONGEST: Duration = Duration::from_secs(60);

/// What the next hops have asked for.
#[derive(Debug, Default)]
pub(crate) struct Reports {
    hops: HashMap<(Transport, SocketAddr), (Report, Instant)>,
}

impl Reports {
    /// A report came with a response from this hop (RFC 7339 §5.4).
    pub(crate) fn came(&mut self, now: Instant, hop: &Path, report: Report) {
        let key = (hop.transport, hop.remote);
        let known = self.hops.get(&key);
        if known.is_some_and(|(known, until)| *until > now && report.sequence <= known.sequence) {
            return; // the same again, or overtaken by a newer one
        }
        // §5.7: a validity of zero ends it, whatever `oc` says. The end is kept for a while, for what comes late.
        let report = match report.validity.is_zero() {
            true => Report { reduction: 0, validity: Report::VALIDITY, ..report },
            false => report,
        };
        if report.reduction == 0 && known.is_none() {
            return;
        }
        if self.hops.len() >= HOPS && !self.hops.contains_key(&key) {
            self.hops.retain(|_, (_, until)| *until > now);
            if self.hops.len() >= HOPS {
                return;
            }
        }
        if let Some(until) = now.checked_add(report.validity.min(LONGEST)) {
            self.hops.insert(key, (report, until));
        }
    }

    /// Whether a request to this hop is one of those that it asked to be spared; `chance` is any number (RFC 7339 §7.2).
    pub(crate) fn spare(&self, now: Instant, hop: &Path, request: &Request, chance: u64) -> bool {
        let Some((report, until)) = self.hops.get(&(hop.transport, hop.remote)) else { return false };
        *until > now
            && chance % 100 < u64::from(report.reduction)
            && !is_within_dialog(request)
            && !matches!(request.method(), Method::Ack | Method::Cancel | Method::Bye | Method::Prack)
            && !is_urgent(request)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.hops.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sip_message::Limits;

    fn request(method: &str, uri: &str, more: &str) -> Request {
        let text = format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\nCall-ID: c\r\n\
             CSeq: 1 {method}\r\n{more}\r\n"
        );
        Request::parse(text.into(), &Limits::default()).unwrap()
    }

    const OUT: &str = "To: <sip:b@b>\r\n";
    const IN: &str = "To: <sip:b@b>;tag=2\r\n";

    /// What each tier lets in, by method, within and outside of dialogs.
    #[test]
    fn tiers_and_what_they_refuse() {
        let refused = |tier: Tier, to: &str| {
            [
                "INVITE",
                "SUBSCRIBE",
                "REFER",
                "OPTIONS",
                "MESSAGE",
                "PUBLISH",
                "REGISTER",
                "BYE",
                "PRACK",
                "CANCEL",
                "ACK",
            ]
            .into_iter()
            .filter(|method| tier.refuses(&request(method, "sip:b@b", to)))
            .collect::<Vec<_>>()
        };
        let none: [&str; 0] = [];
        assert_eq!(refused(Tier::Open, OUT), none);
        assert_eq!(refused(Tier::NoNewDialogs, OUT), ["INVITE", "SUBSCRIBE", "REFER"]);
        assert_eq!(
            refused(Tier::Essential, OUT),
            ["INVITE", "SUBSCRIBE", "REFER", "OPTIONS", "MESSAGE", "PUBLISH"]
        );
        assert_eq!(
            refused(Tier::FinishOnly, OUT),
            ["INVITE", "SUBSCRIBE", "REFER", "OPTIONS", "MESSAGE", "PUBLISH", "REGISTER"]
        );
        for tier in [Tier::NoNewDialogs, Tier::Essential, Tier::FinishOnly] {
            assert_eq!(refused(tier, IN), none, "{tier:?}");
        }
    }

    /// RFC 7339 §5.10.1.
    #[test]
    fn calls_for_help_pass_until_nothing_new_can() {
        for call in [
            request("INVITE", "urn:service:sos.fire", OUT),
            request("INVITE", "sip:b@b", &format!("{OUT}Resource-Priority: q735.0, wps.1\r\n")),
        ] {
            assert!(!Tier::NoNewDialogs.refuses(&call) && !Tier::Essential.refuses(&call));
            assert!(Tier::FinishOnly.refuses(&call));
        }
        assert!(Tier::NoNewDialogs.refuses(&request("INVITE", "urn:service:counseling", OUT)));
    }

    #[test]
    fn a_tier_is_left_later_than_it_is_entered() {
        let mut load = Load::new(Thresholds::default());
        let tiers: Vec<Tier> =
            [79, 80, 76, 75, 74, 95, 91, 89, 84, 70].map(|taken| load.tier(taken, 100)).into();
        use Tier::{Essential, FinishOnly, NoNewDialogs, Open};
        assert_eq!(
            tiers,
            [
                Open,
                NoNewDialogs,
                NoNewDialogs,
                NoNewDialogs,
                Open,
                FinishOnly,
                FinishOnly,
                Essential,
                NoNewDialogs,
                Open
            ]
        );
        load.tell(Essential);
        assert_eq!(load.tier(0, 100), Essential);
        assert_eq!(load.reduction(0, 100), 50);
        load.tell(Open);
        assert_eq!(
            [0, 79, 80, 87, 95, 100].map(|taken| load.reduction(taken, 100)),
            [0, 0, 10, 46, 100, 100]
        );
        assert_eq!(load.tier(0, 0), FinishOnly, "no room at all");
    }

    /// RFC 7339 §4, §5.4: reports are read as they are written, the newest counts, and none for ever.
    #[test]
    fn reports_come_and_go() {
        let (now, hop) = (Instant::now(), Path::to(Transport::Udp, "192.0.2.1:5060".parse().unwrap()));
        let mut via =
            Via::new("UDP", "h", None).with_param("oc", None).with_param("oc-algo", Some("\"loss,rate\""));
        assert!(Report::is_wanted(&via) && Report::read(&via).is_none());
        let report = Report { reduction: 40, validity: Duration::from_secs(2), sequence: 7 };
        report.write(&mut via);
        assert_eq!(Report::read(&via), Some(report));
        assert_eq!(Report::read(&via.clone().with_param("oc-algo", Some("\"rate\""))), None);
        let plain = Via::new("UDP", "h", None).with_param("oc", Some("40")).with_param("oc-seq", Some("7.0"));
        assert_eq!(Report::read(&plain), None);
        assert!(!Report::is_wanted(&Via::new("UDP", "h", None)));

        let mut reports = Reports::default();
        reports.came(now, &hop, report);
        let invite = request("INVITE", "sip:b@b", OUT);
        let spared = |reports: &Reports, now, request: &Request| {
            (0..100).filter(|chance| reports.spare(now, &hop, request, *chance)).count()
        };
        assert_eq!(spared(&reports, now, &invite), 40);
        assert_eq!(spared(&reports, now, &request("INVITE", "sip:b@b", IN)), 0);
        assert_eq!(spared(&reports, now, &request("BYE", "sip:b@b", IN)), 0);
        assert_eq!(spared(&reports, now, &request("INVITE", "urn:service:sos", OUT)), 0);
        reports.came(now, &hop, Report { reduction: 90, sequence: 6, ..report });
        assert_eq!(spared(&reports, now, &invite), 40, "an older one came late");
        reports.came(now + Duration::from_secs(1), &hop, report);
        assert_eq!(spared(&reports, now + Duration::from_secs(2), &invite), 0, "its time is over");
        reports.came(now, &hop, Report { reduction: 90, validity: Duration::ZERO, sequence: 8 });
        assert_eq!(spared(&reports, now, &invite), 0, "it was ended");
        reports.came(now, &hop, report);
        assert_eq!(spared(&reports, now, &invite), 0, "what came before the end came late");
        reports.came(now, &hop, Report { sequence: 9, ..report });
        assert_eq!(spared(&reports, now, &invite), 40);
        assert!(sequence("5.1") > sequence("5.02") && sequence("5.10") == sequence("5.1"));
        assert_eq!(sequence("1282321615.782"), Some(128_232_161_578_200));
        for no in ["", ".", "1.", ".1", "+1.0", "1.-5", "1234567890123.0", "1.123456"] {
            assert_eq!(sequence(no), None, "{no}");
        }
    }

    #[test]
    fn hops_are_bounded_and_no_report_lasts() {
        let now = Instant::now();
        let mut reports = Reports::default();
        let report = Report { reduction: 100, validity: Duration::from_secs(u64::MAX / 2_000), sequence: 1 };
        for port in 1..=2_000 {
            let hop = Path::to(Transport::Udp, SocketAddr::from(([192, 0, 2, 1], port)));
            reports.came(now, &hop, report);
        }
        assert_eq!(reports.hops.len(), HOPS);
        let first = Path::to(Transport::Udp, SocketAddr::from(([192, 0, 2, 1], 1)));
        let invite = request("INVITE", "sip:b@b", OUT);
        assert!(reports.spare(now + LONGEST / 2, &first, &invite, 0));
        assert!(!reports.spare(now + LONGEST, &first, &invite, 0));
    }
}
