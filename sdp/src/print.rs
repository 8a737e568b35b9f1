//! A session description as text (RFC 8866 §9): what `sdp_types` prints, without its detour over a formatter for each character.

use std::net::IpAddr;

use sdp_types::{Attribute, Bandwidth, Connection, Key, Media, Origin, Repeat, Session, Time, TimeZone};

use zeroize::Zeroizing;

use crate::sdes::{Crypto, SrtpKey};

/// Most descriptions of a phone are shorter.
const USUAL_LENGTH: usize = 512;

/// The text of a session, each line ended by CR LF. No value can add a line: CR, LF and NUL in one are left out.
pub(crate) fn session(session: &Session) -> String {
    let mut out = Out::default();
    out.line("v=", &["0"]);
    out.origin(&session.origin);
    out.line("s=", &[&session.session_name]);
    out.optional("i=", session.session_description.as_deref());
    out.optional("u=", session.uri.as_deref());
    session.emails.iter().for_each(|email| out.line("e=", &[email]));
    session.phones.iter().for_each(|phone| out.line("p=", &[phone]));
    session.connection.iter().for_each(|connection| out.connection(connection));
    session.bandwidths.iter().for_each(|bandwidth| out.bandwidth(bandwidth));
    out.times(&session.times);
    out.time_zones(&session.time_zones);
    session.key.iter().for_each(|key| out.key(key));
    session.attributes.iter().for_each(|attribute| out.attribute(attribute));
    session.medias.iter().for_each(|media| out.media(media));
    out.0
}

pub(crate) struct Out(String);

impl Default for Out {
    fn default() -> Self {
        Out(String::with_capacity(USUAL_LENGTH))
    }
}

impl Out {
    pub(crate) fn into_text(self) -> String {
        self.0
    }

    /// `<nettype> <addrtype> <address>` of an address of ours.
    pub(crate) fn address_of(&mut self, address: IpAddr) {
        match address {
            IpAddr::V4(ip) => {
                self.raw("IN IP4 ");
                for (index, octet) in ip.octets().into_iter().enumerate() {
                    if index > 0 {
                        self.raw(".");
                    }
                    self.number(octet.into());
                }
            }
            IpAddr::V6(ip) => {
                self.raw("IN IP6 ");
                self.raw(&ip.to_string());
            }
        }
    }

    pub(crate) fn connection_of(&mut self, address: IpAddr) {
        self.raw("c=");
        self.address_of(address);
        self.end();
    }

    /// `t=` and `r=`; `t=0 0` if there is none.
    pub(crate) fn times(&mut self, times: &[Time]) {
        if times.is_empty() {
            self.raw("t=0 0\r\n");
        }
        for time in times {
            self.raw("t=");
            self.number(time.start_time);
            self.raw(" ");
            self.number(time.stop_time);
            self.end();
            time.repeats.iter().for_each(|repeat| self.repeat(repeat));
        }
    }

    /// A line for a key of ours.
    pub(crate) fn crypto(&mut self, tag: u32, key: &SrtpKey) {
        let line = Zeroizing::new(Crypto::of(tag, key).to_string());
        self.line("a=crypto:", &[&line]);
    }

    pub(crate) fn raw(&mut self, text: &str) {
        self.0.push_str(text);
    }

    pub(crate) fn end(&mut self) {
        self.raw("\r\n");
    }

    pub(crate) fn number(&mut self, number: u64) {
        // The formatter is the greater part of printing a description.
        let mut digits = [0; 20];
        let (mut rest, mut start) = (number, digits.len());
        for digit in digits.iter_mut().rev() {
            *digit = b'0' | u8::try_from(rest % 10).unwrap_or_default();
            rest /= 10;
            start = start.saturating_sub(1);
            if rest == 0 {
                break;
            }
        }
        self.raw(digits.get(start..).and_then(|digits| std::str::from_utf8(digits).ok()).unwrap_or_default());
    }

    /// RFC 8866 §9, `byte-string`: any octet but NUL, CR and LF.
    pub(crate) fn text(&mut self, text: &str) {
        let ends_line = |byte: u8| matches!(byte, b'\0' | b'\r' | b'\n');
        match text.bytes().any(ends_line) {
            false => self.raw(text),
            true => self.0.extend(text.chars().filter(|c| !matches!(c, '\0' | '\r' | '\n'))),
        }
    }

    /// A line of fields with single spaces between.
    pub(crate) fn line(&mut self, kind: &str, fields: &[&str]) {
        self.raw(kind);
        for (index, field) in fields.iter().enumerate() {
            if index > 0 {
                self.raw(" ");
            }
            self.text(field);
        }
        self.end();
    }

    fn optional(&mut self, kind: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.line(kind, &[value]);
        }
    }

    fn origin(&mut self, origin: &Origin) {
        let username = origin.username.as_deref().filter(|name| !name.is_empty()).unwrap_or("-");
        self.raw("o=");
        self.text(username);
        self.raw(" ");
        self.text(&origin.sess_id);
        self.raw(" ");
        self.number(origin.sess_version);
        self.raw(" ");
        let fields = [origin.nettype.as_str(), origin.addrtype.as_str(), &origin.unicast_address];
        self.line("", &fields);
    }

    fn connection(&mut self, connection: &Connection) {
        let network = connection.nettype.as_str();
        self.line("c=", &[network, connection.addrtype.as_str(), &connection.connection_address]);
    }

    fn bandwidth(&mut self, bandwidth: &Bandwidth) {
        self.raw("b=");
        self.text(&bandwidth.bwtype);
        self.raw(":");
        self.number(bandwidth.bandwidth);
        self.end();
    }

    /// RFC 8866 §5.10 and §5.11: a typed time, in the largest unit that divides it.
    fn typed_time(&mut self, seconds: u64) {
        let units = [(86_400, "d"), (3_600, "h"), (60, "m")];
        let unit = units.into_iter().find(|(unit, _)| seconds > 0 && seconds.is_multiple_of(*unit));
        let (unit, suffix) = unit.unwrap_or((1, ""));
        self.number(seconds.checked_div(unit).unwrap_or(seconds));
        self.raw(suffix);
    }

    fn repeat(&mut self, repeat: &Repeat) {
        self.raw("r=");
        self.typed_time(repeat.repeat_interval);
        for time in [repeat.active_duration].iter().chain(&repeat.offsets) {
            self.raw(" ");
            self.typed_time(*time);
        }
        self.end();
    }

    fn time_zones(&mut self, zones: &[TimeZone]) {
        for (index, zone) in zones.iter().enumerate() {
            self.raw(if index == 0 { "z=" } else { " " });
            self.number(zone.adjustment_time);
            self.raw(if zone.offset < 0 { " -" } else { " " });
            self.typed_time(zone.offset.unsigned_abs());
        }
        if !zones.is_empty() {
            self.end();
        }
    }

    fn key(&mut self, key: &Key) {
        self.pair("k=", &key.method, key.encryption_key.as_deref());
    }

    pub(crate) fn attribute(&mut self, attribute: &Attribute) {
        self.pair("a=", &attribute.attribute, attribute.value.as_deref());
    }

    fn pair(&mut self, kind: &str, name: &str, value: Option<&str>) {
        self.raw(kind);
        self.text(name);
        if let Some(value) = value {
            self.raw(":");
            self.text(value);
        }
        self.end();
    }

    fn media(&mut self, media: &Media) {
        self.raw("m=");
        self.text(&media.media);
        self.raw(" ");
        self.number(media.port.into());
        if let Some(count) = media.num_ports {
            self.raw("/");
            self.number(count.into());
        }
        self.raw(" ");
        self.line("", &[&media.proto, &media.fmt]);
        self.optional("i=", media.media_title.as_deref());
        media.connections.iter().for_each(|connection| self.connection(connection));
        media.bandwidths.iter().for_each(|bandwidth| self.bandwidth(bandwidth));
        media.key.iter().for_each(|key| self.key(key));
        media.attributes.iter().for_each(|attribute| self.attribute(attribute));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sdp_types::{Session, Time};

    use super::session;

    /// Two ways to print, one text.
    fn same(parsed: &Session) {
        assert_eq!(session(parsed), parsed.to_string());
    }

    #[test]
    fn every_kind_of_line_is_printed_as_the_data_model_prints_it() {
        let text = "v=0\r\no=jdoe 2890844526 2890842807 IN IP4 10.47.16.5\r\ns=SDP Seminar\r\ni=A Seminar\r\n\
            u=http://www.example.com/sdp.pdf\r\ne=j.doe@example.com (Jane Doe)\r\np=+1 617 555-6011\r\n\
            c=IN IP4 224.2.17.12/127\r\nb=AS:128\r\nt=2873397496 2873404696\r\nr=7d 1h 0 25h 90\r\n\
            z=2882844526 -1h 2898848070 0\r\nk=clear:1234\r\na=recvonly\r\nm=audio 49170/2 RTP/AVP 0 96\r\ni=sound\r\n\
            c=IN IP6 FF15::101/3\r\nb=X-YZ:1\r\nk=prompt\r\na=rtpmap:96 L8/8000\r\nm=video 51372 RTP/AVP 99\r\n";
        let mut parsed = Session::parse(text.as_bytes()).unwrap();
        assert_eq!(session(&parsed), text);
        same(&parsed);
        parsed.times.clear();
        parsed.origin.username = Some(String::new());
        same(&parsed);
    }

    proptest! {
        /// Values that would add a line, end the text or are not ASCII.
        #[test]
        fn whatever_the_values_are(
            text in "[\\PC\r\n\0]{0,12}", number: u64, port: u16, offset: i64, repeat in 0_u64..200_000,
        ) {
            let base = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nt=0 0\r\nz=1 0\r\nm=audio 1 RTP/AVP 0\r\na=x:y\r\n";
            let mut parsed = Session::parse(base.as_bytes()).unwrap();
            parsed.origin.username = Some(text.clone());
            parsed.origin.sess_version = number;
            parsed.session_name.clone_from(&text);
            parsed.times.push(Time::new(number, repeat));
            parsed.times[0].repeats.push(sdp_types::Repeat {
                repeat_interval: repeat, active_duration: number, offsets: vec![repeat],
            });
            parsed.time_zones[0].offset = offset;
            parsed.medias[0].port = port;
            parsed.medias[0].num_ports = Some(port);
            parsed.medias[0].attributes[0].value = Some(text);
            same(&parsed);
        }
    }
}
