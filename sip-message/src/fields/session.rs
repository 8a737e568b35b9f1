//! Fields of numbers and time: reliability, session timers, keep-alive, dates.

use super::address::delta_seconds;
use super::shapes::{number_fields, short_number, split_head, word, word_param_fields};
use super::simple::CSeq;
use crate::headers::Header;
use crate::params::Params;
use crate::parts::{Parts, params_part};
use crate::syntax::{is_lws, number, token, trim};
use crate::{HeaderName, Method, ValueError};
use alloc::string::String;
use core::fmt::Write as _;

number_fields! {
    RSeq(u32) RSEQ "a number from 1 to 4294967295" "`RSeq`: the number of a reliable provisional response (RFC 3262 §7.1).";
    MaxBreadth(u32) MAX_BREADTH "a number of branches" "`Max-Breadth`: into how many branches a request may still fork (RFC 5393 §5.8).";
    FlowTimer(u32) FLOW_TIMER "a number of seconds" "`Flow-Timer`: the server's time-out without keep-alives, in seconds (RFC 5626 §10).";
}

/// `RAck`: which reliable provisional response a PRACK acknowledges (RFC 3262 §7.2).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RAck {
    /// The response's `RSeq`.
    pub rseq: u32,
    /// The response's `CSeq`.
    pub cseq: CSeq,
}

impl RAck {
    /// Acknowledges the response with this `RSeq` to the request of this `CSeq`.
    pub fn new(rseq: u32, number: u32, method: Method) -> Self {
        Self { rseq, cseq: CSeq::new(number, method) }
    }
}

impl Header for RAck {
    const NAME: HeaderName = HeaderName::RACK;

    fn parse(text: &str) -> Result<Self, ValueError> {
        let wrong = ValueError::new("two numbers and a method", 0);
        let end = text.bytes().position(is_lws).ok_or(wrong)?;
        let (rseq, cseq) = text.split_at_checked(end).ok_or(wrong)?;
        let cseq = CSeq::parse(trim(cseq))
            .map_err(|error| ValueError::new(error.expected, error.at.saturating_add(end)))?;
        Ok(Self { rseq: number(rseq).ok_or(wrong)?, cseq })
    }

    fn write(&self, out: &mut String) {
        let _ = write!(out, "{} ", self.rseq);
        self.cseq.write(out);
    }

    fn parts(&self) -> Parts {
        let mut parts = Parts::from([("rseq", self.rseq.into())]);
        parts.extend(self.cseq.parts());
        parts
    }
}

macro_rules! intervals {
    ($($kind:ident $name:ident $doc:literal;)*) => {$(
        #[doc = $doc]
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        pub struct $kind {
            /// Seconds; more than 2³²−1 counts as that.
            pub seconds: u32,
            /// The parameters.
            pub params: Params,
        }

        impl $kind {
            /// Seconds without more.
            pub fn new(seconds: u32) -> Self {
                Self { seconds, params: Params::default() }
            }
        }

        impl Header for $kind {
            const NAME: HeaderName = HeaderName::$name;

            fn parse(text: &str) -> Result<Self, ValueError> {
                let (head, params, at) = split_head(text);
                let seconds = delta_seconds(head).ok_or(ValueError::new("a number of seconds", 0))?;
                Ok(Self { seconds, params: Params::parse(params, at)? })
            }

            fn write(&self, out: &mut String) {
                let _ = write!(out, "{}{}", self.seconds, self.params);
            }

            fn parts(&self) -> Parts {
                let mut parts = Parts::from([("seconds", self.seconds.into())]);
                params_part(&self.params, &mut parts);
                parts
            }
        }
    )*};
}

intervals! {
    SessionExpires SESSION_EXPIRES "`Session-Expires`: how long a session lives without a refresh (RFC 4028 §4).";
    MinSe MIN_SE "`Min-SE`: the shortest session interval that everybody on the way takes (RFC 4028 §5).";
}

/// Who refreshes a session (RFC 4028 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refresher {
    /// The side that sent the request.
    Uac,
    /// The side that answered it.
    Uas,
}

impl SessionExpires {
    /// Who refreshes, if it is said.
    pub fn refresher(&self) -> Option<Refresher> {
        match self.params.value("refresher")? {
            side if side.eq_ignore_ascii_case("uac") => Some(Refresher::Uac),
            side if side.eq_ignore_ascii_case("uas") => Some(Refresher::Uas),
            _ => None,
        }
    }

    /// With a refresher.
    #[must_use]
    pub fn with_refresher(mut self, refresher: Refresher) -> Self {
        let side = match refresher {
            Refresher::Uac => "uac",
            Refresher::Uas => "uas",
        };
        self.params.set("refresher", Some(side));
        self
    }
}

word_param_fields! {
    GeolocationError GEOLOCATION_ERROR short_number "a number of at most three digits"
        "`Geolocation-Error`: what was wrong with a location (RFC 6442 §4.4).";
    ReferSub REFER_SUB boolean "true or false" "`Refer-Sub`: whether a REFER makes a subscription (RFC 4488 §4).";
    GeolocationRouting GEOLOCATION_ROUTING word "yes or no" "`Geolocation-Routing`: whether proxies may route by a location (RFC 6442 §4.2).";
    AnswerMode ANSWER_MODE token "Manual or Auto" "`Answer-Mode`: whether a person has to answer (RFC 5373 §2).";
    PrivAnswerMode PRIV_ANSWER_MODE token "Manual or Auto" "`Priv-Answer-Mode`: as Answer-Mode, with privilege (RFC 5373 §2).";
}

/// What both answer modes say (RFC 5373 §3, §4.2).
macro_rules! answer_modes {
    ($($kind:ident)*) => {$(
        impl $kind {
            /// To be answered at once, without a person.
            pub fn automatic() -> Self {
                Self::new("Auto")
            }

            /// To be answered by a person.
            pub fn manual() -> Self {
                Self::new("Manual")
            }

            /// That or not at all: whoever cannot or will not answer so refuses (§4.2).
            #[must_use]
            pub fn or_not_at_all(self) -> Self {
                self.with_param("require", None)
            }

            /// Whether it is to be answered at once.
            pub fn is_automatic(&self) -> bool {
                self.value.eq_ignore_ascii_case("Auto")
            }

            /// Whether it is to be refused rather than answered otherwise.
            pub fn is_required(&self) -> bool {
                self.param("require").is_some()
            }
        }
    )*};
}

answer_modes!(AnswerMode PrivAnswerMode);

fn boolean(text: &str) -> bool {
    text.eq_ignore_ascii_case("true") || text.eq_ignore_ascii_case("false")
}

impl ReferSub {
    /// Whether a subscription is wanted, or made.
    pub fn is_true(&self) -> bool {
        self.value.eq_ignore_ascii_case("true")
    }
}

impl GeolocationRouting {
    /// Whether proxies may use the location; any value other than `yes` counts as `no` (RFC 6442 §4.2).
    pub fn is_yes(&self) -> bool {
        self.value.eq_ignore_ascii_case("yes")
    }
}

/// `Timestamp`: when a request was sent, in seconds, and how long the server took (RFC 3261 §20.38).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Timestamp {
    /// Digits with or without a fraction, as written.
    pub sent: String,
    /// The server's delay in the same form.
    pub delay: Option<String>,
}

fn decimal(text: &str) -> bool {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    digits(whole) && digits(fraction)
}

impl Header for Timestamp {
    const NAME: HeaderName = HeaderName::TIMESTAMP;

    fn parse(text: &str) -> Result<Self, ValueError> {
        let end = text.bytes().position(is_lws).unwrap_or(text.len());
        let (sent, delay) = text.split_at_checked(end).unwrap_or((text, ""));
        let delay = Some(trim(delay)).filter(|delay| !delay.is_empty());
        if !decimal(sent) || !sent.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(ValueError::new("seconds such as 54 or 54.12", 0));
        }
        if !delay.is_none_or(decimal) {
            return Err(ValueError::new("a delay in seconds", end));
        }
        Ok(Self { sent: sent.into(), delay: delay.map(String::from) })
    }

    fn write(&self, out: &mut String) {
        out.push_str(&self.sent);
        if let Some(delay) = &self.delay {
            out.push(' ');
            out.push_str(delay);
        }
    }

    fn parts(&self) -> Parts {
        let mut parts = Parts::from([("sent", self.sent.as_str().into())]);
        if let Some(delay) = &self.delay {
            parts.push(("delay", delay.as_str().into()));
        }
        parts
    }
}

/// `MIME-Version` (RFC 3261 §20.24).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MimeVersion {
    /// 1 in `1.0`.
    pub major: u16,
    /// 0 in `1.0`.
    pub minor: u16,
}

impl Header for MimeVersion {
    const NAME: HeaderName = HeaderName::MIME_VERSION;

    fn parse(text: &str) -> Result<Self, ValueError> {
        let wrong = ValueError::new("a version such as 1.0", 0);
        let (major, minor) = text.split_once('.').ok_or(wrong)?;
        Ok(Self { major: number(major).ok_or(wrong)?, minor: number(minor).ok_or(wrong)? })
    }

    fn write(&self, out: &mut String) {
        let _ = write!(out, "{}.{}", self.major, self.minor);
    }

    fn parts(&self) -> Parts {
        Parts::from([("major", self.major.into()), ("minor", self.minor.into())])
    }
}

/// `Date` (RFC 3261 §20.17): a moment in GMT, to the second.
///
/// ```
/// use sip_message::headers::{Date, Header};
/// let date = Date::parse("Sat, 13 Nov 2010 23:29:00 GMT")?;
/// assert_eq!(date.unix_seconds(), 1_289_690_940);
/// assert_eq!(Date::from_unix_seconds(1_289_690_940), Some(date));
/// # Ok::<(), sip_message::ValueError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date {
    /// Seconds since 1970-01-01T00:00:00Z.
    seconds: i64,
}

const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"]; // 1970-01-01 was a Thursday
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
/// The last second of the year 9999: the grammar has four digits for the year.
const LAST: i64 = 253_402_300_799;
/// The first second of the year 0.
const FIRST: i64 = -62_167_219_200;

/// Days from 1970-01-01 to a day of the proleptic Gregorian calendar, counted in eras of 400 years that begin in
/// March, so that the leap day comes last.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year.saturating_sub(1) } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let shifted = (month.saturating_add(9)) % 12;
    let day_of_year =
        (shifted.saturating_mul(153).saturating_add(2) / 5).saturating_add(day).saturating_sub(1);
    let day_of_era = year_of_era
        .saturating_mul(365)
        .saturating_add(year_of_era / 4)
        .saturating_sub(year_of_era / 100)
        .saturating_add(day_of_year);
    era.saturating_mul(146_097).saturating_add(day_of_era).saturating_sub(719_468)
}

/// The inverse of [`days_from_civil`]: year, month, day.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days.saturating_add(719_468);
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = of_era
        .saturating_sub(of_era / 1_460)
        .saturating_add(of_era / 36_524)
        .saturating_sub(of_era / 146_096)
        / 365;
    let start =
        year_of_era.saturating_mul(365).saturating_add(year_of_era / 4).saturating_sub(year_of_era / 100);
    let day_of_year = of_era.saturating_sub(start);
    let shifted = day_of_year.saturating_mul(5).saturating_add(2) / 153;
    let day = day_of_year.saturating_sub(shifted.saturating_mul(153).saturating_add(2) / 5).saturating_add(1);
    let month = shifted.saturating_add(2) % 12;
    let month = month.saturating_add(1);
    let year = era.saturating_mul(400).saturating_add(year_of_era).saturating_add(i64::from(month <= 2));
    (year, month, day)
}

impl Date {
    /// 1970-01-01T00:00:00Z.
    pub const UNIX_EPOCH: Self = Self { seconds: 0 };

    /// The moment so many seconds after 1970-01-01T00:00:00Z; `None` outside the years 0 to 9999.
    pub fn from_unix_seconds(seconds: i64) -> Option<Self> {
        (FIRST..=LAST).contains(&seconds).then_some(Self { seconds })
    }

    /// Seconds since 1970-01-01T00:00:00Z.
    pub fn unix_seconds(self) -> i64 {
        self.seconds
    }

    /// Reads a moment as documents have it (RFC 3339 §5.6), in any zone; parts of a second are dropped.
    ///
    /// ```
    /// use sip_message::headers::Date;
    /// let date = Date::from_rfc3339("2010-11-14T00:29:00.5+01:00").ok_or("a date")?;
    /// assert_eq!(date.to_rfc3339(), "2010-11-13T23:29:00Z");
    /// # Ok::<(), &str>(())
    /// ```
    pub fn from_rfc3339(text: &str) -> Option<Self> {
        let (date, time) = text.split_once(['T', 't'])?;
        let digits = |text: &str, count: usize| number::<i64>(text).filter(|_| text.len() == count);
        let mut parts = date.split('-');
        let mut part = |count| parts.next().and_then(|part| digits(part, count));
        let (year, month, day) = (part(4)?, part(2)?, part(2)?);
        let (time, zone) = time.split_at_checked(8)?;
        let zone = match zone.strip_prefix('.') {
            Some(fraction) => {
                let zone = fraction.trim_start_matches(|octet: char| octet.is_ascii_digit());
                if zone.len() == fraction.len() {
                    return None;
                }
                zone
            }
            None => zone,
        };
        let ahead = if zone.eq_ignore_ascii_case("Z") {
            0
        } else {
            let (hours, minutes) = zone.get(1..)?.split_once(':')?;
            let hours = digits(hours, 2).filter(|hours| *hours < 24)?;
            let minutes = digits(minutes, 2).filter(|minutes| *minutes < 60)?;
            let ahead = hours.saturating_mul(3600).saturating_add(minutes.saturating_mul(60));
            match zone.get(..1)? {
                "+" => ahead,
                "-" => ahead.saturating_neg(),
                _ => return None,
            }
        };
        let seconds = parts.next().is_none().then(|| moment(year, month, day, time)).flatten()?;
        Self::from_unix_seconds(seconds.saturating_sub(ahead))
    }

    /// The moment as documents have it (RFC 3339 §5.6), in UTC.
    pub fn to_rfc3339(self) -> String {
        let (year, month, day) = civil_from_days(self.seconds.div_euclid(86_400));
        let second = self.seconds.rem_euclid(86_400);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        alloc::format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }
}

/// Seconds since 1970 of a day and a time as `23:29:00`, if there is such a one.
fn moment(year: i64, month: i64, day: i64, time: &str) -> Option<i64> {
    let mut parts = time.split(':').map(|part| number::<i64>(part).filter(|_| part.len() == 2));
    let mut part = |limit| parts.next().flatten().filter(|&part| part < limit);
    let (hour, minute, second) = (part(24)?, part(60)?, part(61)?); // a leap second is 60
    let days = days_from_civil(year, month, day);
    // A day that its month does not have comes back as another one.
    if parts.next().is_some() || civil_from_days(days) != (year, month, day) {
        return None;
    }
    let of_day = hour.saturating_mul(3600).saturating_add(minute.saturating_mul(60)).saturating_add(second);
    Some(days.saturating_mul(86_400).saturating_add(of_day))
}

impl Header for Date {
    const NAME: HeaderName = HeaderName::DATE;

    fn parse(text: &str) -> Result<Self, ValueError> {
        let wrong = |at| ValueError::new("a date such as 'Sat, 13 Nov 2010 23:29:00 GMT'", at);
        let (weekday, rest) = text.split_once(',').ok_or(wrong(0))?;
        if !DAYS.iter().any(|day| day.eq_ignore_ascii_case(trim(weekday))) {
            return Err(wrong(0));
        }
        let mut words = rest.split([' ', '\t']).filter(|word| !word.is_empty());
        let mut next = || words.next().ok_or(wrong(weekday.len()));
        let (day, month, year, time, zone) = (next()?, next()?, next()?, next()?, next()?);
        // RFC 3261 §20.17: "SIP restricts the time zone in SIP-date to GMT"
        if !zone.eq_ignore_ascii_case("GMT") || words.next().is_some() || year.len() != 4 || day.len() > 2 {
            return Err(wrong(weekday.len()));
        }
        let month = MONTHS.iter().position(|name| name.eq_ignore_ascii_case(month));
        let month = month.and_then(|month| i64::try_from(month).ok()).ok_or(wrong(0))?.saturating_add(1);
        let (year, day) = (number::<i64>(year), number::<i64>(day));
        let (year, day) = (year.ok_or(wrong(0))?, day.ok_or(wrong(0))?);
        moment(year, month, day, time).and_then(Self::from_unix_seconds).ok_or(wrong(0))
    }

    fn write(&self, out: &mut String) {
        let days = self.seconds.div_euclid(86_400);
        let second = self.seconds.rem_euclid(86_400);
        let (year, month, day) = civil_from_days(days);
        let name = |names: &'static [&'static str], at: i64| {
            usize::try_from(at).ok().and_then(|at| names.get(at)).copied().unwrap_or_default()
        };
        let weekday = name(&DAYS, days.rem_euclid(7));
        let month = name(&MONTHS, month.saturating_sub(1));
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        let _ = write!(out, "{weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(header: &impl Header) -> String {
        let mut out = String::new();
        header.write(&mut out);
        out
    }

    #[test]
    fn reliability_and_timers() {
        assert_eq!(RAck::parse("776656 1 INVITE"), Ok(RAck::new(776_656, 1, Method::Invite)));
        for bad in ["", "1", "1 2", "1 INVITE", "-1 1 INVITE", "4294967296 1 INVITE", "1 2147483648 INVITE"] {
            assert!(RAck::parse(bad).is_err(), "{bad} passed");
        }
        assert!(RSeq::parse("4294967296").is_err() && RSeq::parse("x").is_err());
        let timer = SessionExpires::parse("4000;refresher=UAC").unwrap();
        assert_eq!((timer.seconds, timer.refresher()), (4000, Some(Refresher::Uac)));
        assert_eq!(printed(&SessionExpires::new(90).with_refresher(Refresher::Uas)), "90;refresher=uas");
        assert_eq!(MinSe::parse("99999999999999").unwrap().seconds, u32::MAX);
        assert!(MinSe::parse("soon").is_err() && MinSe::parse("").is_err());
        assert!(!ReferSub::parse("False").unwrap().is_true() && ReferSub::parse("maybe").is_err());
        assert!(!GeolocationRouting::parse("other").unwrap().is_yes());
    }

    #[test]
    fn time_stamps_and_versions() {
        let stamp = Timestamp::parse("54.20 1.5").unwrap();
        assert_eq!((stamp.sent.as_str(), stamp.delay.as_deref()), ("54.20", Some("1.5")));
        assert!(
            Timestamp::parse("").is_err()
                && Timestamp::parse("a").is_err()
                && Timestamp::parse("1 x").is_err()
        );
        assert_eq!(MimeVersion::parse("1.0"), Ok(MimeVersion { major: 1, minor: 0 }));
        assert!(MimeVersion::parse("1").is_err());
    }

    /// RFC 3261 §20.17, RFC 4475 §3.1.2.12 (a zone other than GMT).
    #[test]
    fn rfc3339_dates_of_documents() {
        let seconds = |text| Date::from_rfc3339(text).map(Date::unix_seconds);
        // RFC 3339 §5.8.
        assert_eq!(seconds("1985-04-12T23:20:50.52Z"), Some(482_196_050));
        assert_eq!(seconds("1996-12-19T16:39:57-08:00"), seconds("1996-12-20T00:39:57z"));
        assert_eq!(seconds("1990-12-31T23:59:60Z"), Some(662_688_000));
        assert_eq!(seconds("1937-01-01T12:00:27.87+00:20"), seconds("1937-01-01T11:40:27Z"));
        for bad in [
            "",
            "T",
            "2010-11-13",
            "2010-11-13T23:29:00",
            "2010-02-29T00:00:00Z",
            "2010-11-13T24:00:00Z",
            "2010-11-13T23:29:00.Z",
            "2010-11-13T23:29:00+1:00",
            "2010-11-13T23:29:00*01:00",
            "10-11-13T23:29:00Z",
            "2010-11-13-01T23:29:00Z",
            "0000-01-01T00:00:00+01:00",
            "2010-11-13T23:29:0\u{e9}Z",
        ] {
            assert_eq!(seconds(bad), None, "{bad}");
        }
        for seconds in [FIRST, -1, 0, 951_782_399, LAST] {
            let date = Date::from_unix_seconds(seconds).unwrap();
            assert_eq!(Date::from_rfc3339(&date.to_rfc3339()), Some(date));
        }
    }

    #[test]
    fn dates() {
        for (text, seconds) in [
            ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
            ("Tue, 29 Feb 2000 12:00:01 GMT", 951_825_601),
            ("Fri, 31 Dec 1999 23:59:59 GMT", 946_684_799),
            ("Sun, 01 Mar 1600 00:00:00 GMT", -11_670_912_000),
        ] {
            let date = Date::parse(text).unwrap();
            assert_eq!(date.unix_seconds(), seconds, "{text}");
            assert_eq!(printed(&Date::from_unix_seconds(seconds).unwrap())[5..], text[5..], "{text}");
        }
        assert_eq!(
            printed(&Date::parse("Sat, 13 Nov 2010 23:29:00 GMT").unwrap()),
            "Sat, 13 Nov 2010 23:29:00 GMT"
        );
        for bad in [
            "",
            "Fri, 01 Jan 2010 16:00:00 EST",
            "Fri, 32 Jan 2010 16:00:00 GMT",
            "Mon, 29 Feb 2001 16:00:00 GMT",
            "Fri, 01 Jan 2010 24:00:00 GMT",
            "Fri, 01 Jan 2010 16:00 GMT",
            "Fri, 01 Jan 10 16:00:00 GMT",
            "Fri, 01 Jan 2010 16:00:00 GMT x",
            "01 Jan 2010 16:00:00 GMT",
            "Xxx, 01 Jan 2010 16:00:00 GMT",
        ] {
            assert!(Date::parse(bad).is_err(), "{bad} passed");
        }
    }
}
