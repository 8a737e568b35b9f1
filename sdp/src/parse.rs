//! The usual description, read in one pass: what `sdp_types` makes of it, without its detours.
//!
//! Whatever is unusual (repeat times, time zones, an error, a limit exceeded) is left to the careful way by giving up: this
//! reader never judges, so that there is one judge. That both read the same is tested.

use sdp_types::{AddrType, Attribute, Bandwidth, Connection, Key, Media, NetType, Origin, Session, Time};

use crate::limits::Limits;

/// Most sections of a phone have no more attributes.
const USUAL_ATTRIBUTES: usize = 8;

/// The description in `text`, or `None` to have it read with care.
pub(crate) fn session(text: &[u8], limits: &Limits) -> Option<Session> {
    if text.len() > limits.bytes {
        return None;
    }
    let mut lines = Lines { rest: std::str::from_utf8(text).ok()?, count: 0, limits };
    if lines.next()?? != (b'v', "0") {
        return None;
    }
    let mut origin = None;
    let mut name = None;
    let mut read = Session {
        origin: Origin::new("", 0, NetType::In, AddrType::Ip4, ""),
        session_name: String::new(),
        session_description: None,
        uri: None,
        emails: Vec::new(),
        phones: Vec::new(),
        connection: None,
        bandwidths: Vec::new(),
        times: Vec::new(),
        time_zones: Vec::new(),
        key: None,
        attributes: Vec::new(),
        medias: Vec::new(),
    };
    for line in lines {
        let (key, value) = line?;
        let Some(media) = read.medias.last_mut() else {
            match key {
                b'o' => once(&mut origin, self::origin(value)?)?,
                b's' => once(&mut name, value.to_owned())?,
                b'i' => once(&mut read.session_description, value.to_owned())?,
                b'u' => once(&mut read.uri, value.to_owned())?,
                b'e' => read.emails.push(value.to_owned()),
                b'p' => read.phones.push(value.to_owned()),
                b'c' => once(&mut read.connection, connection(value)?)?,
                b'b' => read.bandwidths.push(bandwidth(value)?),
                b't' => read.times.push(time(value)?),
                b'k' => once(&mut read.key, self::key(value))?,
                b'a' => push(&mut read.attributes, value, limits)?,
                b'm' => add(&mut read.medias, value, limits)?,
                b'r' | b'z' => return None,
                _ => {}
            }
            continue;
        };
        match key {
            b'i' => once(&mut media.media_title, value.to_owned())?,
            b'c' => media.connections.push(connection(value)?),
            b'b' => media.bandwidths.push(bandwidth(value)?),
            b'k' => once(&mut media.key, self::key(value))?,
            b'a' => push(&mut media.attributes, value, limits)?,
            b'm' => add(&mut read.medias, value, limits)?,
            _ => {}
        }
    }
    // What `sdp_types` does without `o=` is for it to say.
    read.origin = origin?;
    read.session_name = name.unwrap_or_default();
    Some(read)
}

/// Lines as key and value; an inner `None` for one that is no such line.
struct Lines<'a> {
    rest: &'a str,
    count: usize,
    limits: &'a Limits,
}

impl<'a> Iterator for Lines<'a> {
    type Item = Option<(u8, &'a str)>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if self.rest.is_empty() {
                return None;
            }
            let (line, rest) = match memchr::memchr3(b'\n', b'\r', b'\0', self.rest.as_bytes()) {
                None => (self.rest, ""),
                Some(end) => {
                    let (line, rest) = self.rest.split_at_checked(end)?;
                    match rest.strip_prefix("\r\n").or_else(|| rest.strip_prefix('\n')) {
                        Some(rest) => (line, rest),
                        None => return Some(None), // a bare CR, or NUL
                    }
                }
            };
            self.rest = rest;
            if line.is_empty() {
                continue;
            }
            self.count = self.count.saturating_add(1);
            if line.len() > self.limits.line_bytes || self.count > self.limits.lines {
                return Some(None);
            }
            return Some(match line.as_bytes() {
                [key, b'=', ..] if *key != b'=' => line.get(2..).map(|value| (*key, value)),
                _ => None,
            });
        }
    }
}

fn once<T>(place: &mut Option<T>, value: T) -> Option<()> {
    if place.is_some() {
        return None;
    }
    *place = Some(value);
    Some(())
}

fn push(attributes: &mut Vec<Attribute>, value: &str, limits: &Limits) -> Option<()> {
    if attributes.len() >= limits.attributes {
        return None;
    }
    if attributes.is_empty() {
        attributes.reserve(USUAL_ATTRIBUTES);
    }
    let (attribute, value) = match memchr::memchr(b':', value.as_bytes()) {
        Some(colon) => (value.get(..colon)?, Some(value.get(colon.checked_add(1)?..)?)),
        None => (value, None),
    };
    attributes.push(Attribute { attribute: attribute.to_owned(), value: value.map(str::to_owned) });
    Some(())
}

fn add(medias: &mut Vec<Media>, value: &str, limits: &Limits) -> Option<()> {
    if medias.len() >= limits.media {
        return None;
    }
    let (media, rest) = split_space(value)?;
    let (port, rest) = split_space(rest)?;
    let (proto, fmt) = split_space(rest)?;
    // Doubled spaces count otherwise in the limit: let it be counted there.
    if media.is_empty()
        || proto.is_empty()
        || fmt.bytes().filter(|byte| *byte == b' ').count() >= limits.formats
    {
        return None;
    }
    let (port, num_ports) = match port.split_once('/') {
        Some((port, count)) => (port, Some(count.parse().ok()?)),
        None => (port, None),
    };
    medias.push(Media {
        media: media.to_owned(),
        port: port.parse().ok()?,
        num_ports,
        proto: proto.to_owned(),
        fmt: fmt.to_owned(),
        media_title: None,
        connections: Vec::new(),
        bandwidths: Vec::new(),
        key: None,
        attributes: Vec::new(),
    });
    Some(())
}

/// What is before the next space, and what is behind it.
fn split_space(text: &str) -> Option<(&str, &str)> {
    let space = memchr::memchr(b' ', text.as_bytes())?;
    Some((text.get(..space)?, text.get(space.checked_add(1)?..)?))
}

/// The fields between single spaces; doubled ones are left to the careful way.
fn fields<const N: usize>(value: &str) -> Option<[&str; N]> {
    let mut fields = [""; N];
    let (last, others) = fields.split_last_mut()?;
    let mut rest = value;
    for field in others {
        (*field, rest) = split_space(rest).filter(|(field, _)| !field.is_empty())?;
    }
    *last = Some(rest).filter(|last| !last.is_empty() && !last.bytes().any(|byte| byte == b' '))?;
    Some(fields)
}

/// `nettype` and `addrtype` are tokens; these letters suffice for all that are known.
fn token(text: &str) -> Option<&str> {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric()).then_some(text)
}

fn origin(value: &str) -> Option<Origin> {
    let [username, sess_id, version, nettype, addrtype, address] = fields(value)?;
    Some(Origin {
        username: (username != "-").then(|| username.to_owned()),
        sess_id: sess_id.to_owned(),
        sess_version: version.parse().ok()?,
        nettype: NetType::from(token(nettype)?),
        addrtype: AddrType::from(token(addrtype)?),
        unicast_address: address.to_owned(),
    })
}

fn connection(value: &str) -> Option<Connection> {
    let [nettype, addrtype, address] = fields(value)?;
    Some(Connection {
        nettype: NetType::from(token(nettype)?),
        addrtype: AddrType::from(token(addrtype)?),
        connection_address: address.to_owned(),
    })
}

fn bandwidth(value: &str) -> Option<Bandwidth> {
    let (bwtype, bandwidth) = value.split_once(':')?;
    Some(Bandwidth { bwtype: bwtype.to_owned(), bandwidth: bandwidth.parse().ok()? })
}

fn time(value: &str) -> Option<Time> {
    let (start, stop) = split_space(value)?;
    Some(Time::new(start.parse().ok()?, stop.parse().ok()?))
}

fn key(value: &str) -> Key {
    let (method, encryption_key) = match value.split_once(':') {
        Some((method, key)) => (method, Some(key.to_owned())),
        None => (value, None),
    };
    Key { method: method.to_owned(), encryption_key }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Where this reader does not give up, it reads what `sdp_types` reads, and exceeds no limit.
    fn same(text: &[u8], limits: &Limits) -> bool {
        let quick = session(text, limits);
        if let Some(read) = &quick {
            assert_eq!(Ok(read), Session::parse(text).as_ref(), "{}", String::from_utf8_lossy(text));
            assert_eq!(limits.check(text), Ok(()), "{}", String::from_utf8_lossy(text));
        }
        quick.is_some()
    }

    #[test]
    fn what_phones_send_is_read_the_quick_way() {
        let text = "v=0\r\no=- 1 2 IN IP6 2001:db8::1\r\ns=a b\r\ni=x\r\nu=y\r\ne=z\r\np=q\r\nc=IN IP4 192.0.2.1/127\r\n\
            b=AS:128\r\nt=0 0\r\nk=prompt\r\na=group:BUNDLE 0\r\na=x\r\n\r\nm=audio 1/2 RTP/AVP 0 8\r\ni=t\r\nc=IN IP4 192.0.2.2\r\n\
            b=TIAS:1\r\nk=clear:x\r\na=rtpmap:0 PCMU/8000\r\na=empty:\r\nx=unknown\r\nm=video 0 RTP/AVP 31\r\n";
        assert!(same(text.as_bytes(), &Limits::default()));
        assert!(same(text.replace("\r\n", "\n").as_bytes(), &Limits::default()));
        assert!(same(b"v=0\no=u 1 1 IN IP4 h\ns=", &Limits::default()));
    }

    #[test]
    fn what_is_unusual_is_left_to_others() {
        for text in [
            "",
            "v=1\n",
            "v=0\n",
            "v=0\no=- 1 1 IN IP4 a\nr=1 1 1\n",
            "v=0\no=- 1 1 IN IP4 a\no=- 1 1 IN IP4 a\n",
            "v=0\no=- 1 1 IN IP4 a\rs=\n",
        ] {
            assert!(!same(text.as_bytes(), &Limits::default()), "{text:?}");
        }
    }

    fn line() -> impl Strategy<Value = String> {
        prop_oneof![
            "[a-z=]=[ -~]{0,20}",
            "a=[a-z-]{1,8}(:[ -~]{0,20})?",
            "m=(audio|video)? {1,2}[0-9]{1,6}(/[0-9]{0,3})? (RTP/AVP)?( [0-9]{1,3}){0,5} ?",
            "[co]=(- 1 [0-9]{1,3} )?(IN|TN|I-N) (IP4|IP6) {1,2}[0-9.:]{0,9}( x)?",
            "b=[A-Z]{0,3}:[0-9+]{0,4}(:1)?",
            "t=[0-9]{0,3} {1,2}[0-9]{1,3}( 1)?",
            "[siuepk]=[a-z:é]{0,5}",
            Just(String::new()),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

        #[test]
        fn both_ways_read_the_same(
            lines in proptest::collection::vec(line(), 0..12), end in "\r\n|\n", origin: bool, limit in 1..6_usize,
        ) {
            let origin = if origin { format!("o=- 1 1 IN IP4 192.0.2.1{end}") } else { String::new() };
            let text = format!("v=0{end}{origin}{}{end}", lines.join(&end));
            same(text.as_bytes(), &Limits::default());
            let tight = Limits { attributes: limit, media: limit, formats: limit, lines: limit * 2, line_bytes: 10 * limit, ..Limits::default() };
            same(text.as_bytes(), &tight);
        }
    }
}
