//! Differences that are known, and who is right. Whatever is not here is a finding.

use sip_message::headers::{Accept, Authorization, Contact, From, RecordRoute, Route, To, Via};
use sip_message::{HeaderName, Limits, Method, Params, Request, Uri};

/// Who read more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// They answered what we refuse: nothing of it reaches anybody behind us.
    TheyRead,
    /// They refused, or were silent, where we go on.
    WeRead,
    /// Both read the request, and not the same.
    Facts,
}

/// A reason, and the requests that it is a reason for.
type Reason = (&'static str, fn(&Request) -> bool);

/// What is known of one phone.
pub struct Known {
    pub name: &'static str,
    /// Rules that we hold a request to and the phone does not: the section, the field if there is one, and why.
    lax: &'static [(&'static str, &'static str)],
    /// Why the phone does not read what we read.
    strict: &'static [Reason],
    /// Facts that it reads in another way.
    facts: &'static [(&'static str, Reason)],
}

impl Known {
    pub fn baresip() -> Self {
        Self { name: "baresip", lax: LAX, strict: BARESIP, facts: &[] }
    }

    pub fn pjsip() -> Self {
        Self { name: "PJSIP", lax: LAX, strict: PJSIP, facts: PJSIP_FACTS }
    }

    /// Why that is no finding, or `None` if it is one.
    pub fn why(&self, side: Side, what: &str, octets: &[u8]) -> Option<&'static str> {
        if side == Side::TheyRead {
            return self.lax.iter().find(|(rule, _)| *rule == what).map(|(_, why)| *why);
        }
        let request = Request::parse(octets.to_vec().into(), &Limits::default()).ok()?;
        let of_fact = self.facts.iter().filter(|(fact, _)| what.starts_with(fact)).map(|(_, reason)| reason);
        let mut reasons: Box<dyn Iterator<Item = &Reason>> =
            if side == Side::Facts { Box::new(of_fact) } else { Box::new(self.strict.iter()) };
        reasons.find(|(_, holds)| holds(&request)).map(|(why, _)| *why)
    }
}

/// Neither phone holds a request to these.
const LAX: &[(&str, &str)] = &[
    ("RFC 3261 §7", "cut off before the empty line: they take the head for whole"),
    ("RFC 3261 §7.1", "more than single spaces in the request line: they take the outer words"),
    (
        "RFC 3261 §7.3.1",
        "a line that is no field: they pass over it, and what follows it may be another's header",
    ),
    ("RFC 3261 §7.3.1 CSeq", "a field twice: they take one of the two"),
    ("RFC 3261 §7.3.1 Call-ID", "a field twice: they take one of the two"),
    ("RFC 3261 §7.3.1 Content-Length", "a field twice: they take one of the two"),
    ("RFC 3261 §7.3.1 Content-Type", "a field twice: they take one of the two"),
    ("RFC 3261 §7.3.1 Event", "a field twice: they take one of the two"),
    ("RFC 3261 §7.3.1 Expires", "a field twice: they take one of the two"),
    ("RFC 3261 §7.3.1 From", "a field or its tag twice: they take one of the two"),
    ("RFC 3261 §7.3.1 Max-Forwards", "a field twice: they take one of the two"),
    ("RFC 3261 §7.3.1 To", "a field or its tag twice: they take one of the two"),
    ("RFC 3261 §8.1.1.5 CSeq", "the CSeq's method is another's: they do not compare it"),
    ("RFC 3261 §18.3 Content-Length", "a body shorter than its length: they take what arrived"),
    ("RFC 3261 §19.1.1", "a Request-URI with header fields: they do not look for them"),
    ("RFC 3261 §20.8 Call-ID", "no Call-ID by the grammar: they take any octets"),
    ("RFC 3261 §20.14 Content-Length", "no number: they read a datagram to its end"),
    (
        "RFC 3261 §20.15 Content-Type",
        "a body of no or a malformed type: they do not look into it for OPTIONS",
    ),
    ("RFC 3261 §20.16 CSeq", "a number or method with more behind it: they stop reading before that"),
    ("RFC 3261 §20.20 From", "they look for the tag and do not read all of the address"),
    ("RFC 3261 §20.22 Max-Forwards", "no number: a phone forwards nothing"),
    ("RFC 3261 §20.39 To", "they look for the tag and do not read all of the address"),
    ("RFC 3261 §20.42 Via", "they go on without what they cannot read of a Via"),
    ("RFC 3261 §25.1", "no Request-URI by the grammar: they have one user, and it is called"),
];

const ELSEWHERE: Reason = ("the answer went where the top Via says, which a mutation changed", |request| {
    top_via(request).is_none_or(|via| !is_own(&via) && via.rport().is_none())
});

const TRANSPORT: Reason = ("a top Via of a transport that was not used", |request| {
    top_via(request).is_some_and(|via| !via.transport().eq_ignore_ascii_case("UDP"))
});

const BARESIP: &[Reason] = &[
    ELSEWHERE,
    TRANSPORT,
    ("no branch: we answer clients of RFC 2543 (§17.2.3), baresip does not", |request| {
        top_via(request).is_some_and(|via| via.branch().is_none())
    }),
    ("a From or To that is no SIP URI, which RFC 3261 §20.20 allows, and baresip not", |request| {
        addresses(request).iter().any(|uri| !uri.is_sip() && !uri.is_sips() && !uri.is_tel())
    }),
    ("an IPv6 address with an IPv4 one in it (RFC 4291 §2.2), which baresip does not know", |request| {
        let hosts = addresses(request).into_iter().chain(request.uri());
        hosts.into_iter().any(|uri| uri.host().starts_with('[') && uri.host().contains('.'))
    }),
];

const PJSIP: &[Reason] = &[
    ELSEWHERE,
    TRANSPORT,
    (
        "a scheme of credentials that is not Digest: PJSIP drops the request, we pass it on (RFC 4475 §3.3.7)",
        |request| {
            let all = request.headers.all::<Authorization>().flatten();
            all.into_iter().any(|credentials| !credentials.0.scheme().eq_ignore_ascii_case("Digest"))
        },
    ),
    (
        "credentials with an empty element or a value that is no token: we leave them to whoever asked for them",
        |request| {
            let mut all = request.headers.all::<Authorization>().flatten();
            let text = request.headers.text("Authorization").unwrap_or_default().replace([' ', '\t'], "");
            text.contains(",,")
                || text.ends_with(',')
                || all.any(|credentials| {
                    let mut values = credentials.0.params().iter().map(|(_, value)| value.to_owned());
                    values.any(|value| !value.starts_with('"') && !is_token(&value))
                })
        },
    ),
    ("an empty element in a list, which we pass over, and PJSIP not", |request| {
        HeaderName::all().filter(|name| name.is_list()).any(|name| {
            let lines = request.headers.raw(name).map(String::from_utf8_lossy);
            lines.into_iter().any(|line| line.split(',').any(|element| element.trim().is_empty()))
        })
    }),
    ("a From or To of an unknown scheme: PJSIP reads such addresses in brackets alone", |request| {
        addresses(request).iter().any(|uri| !uri.is_sip() && !uri.is_sips() && !uri.is_tel())
    }),
    (
        "a Request-URI, target or hop with octets that its grammar has not there: we keep them, PJSIP drops the request",
        |request| {
            let contacts =
                request.headers.all::<Contact>().flatten().filter_map(|contact| contact.uri().cloned());
            let routes = request.headers.all::<Route>().flatten().map(|route| route.uri().clone());
            let routes =
                routes.chain(request.headers.all::<RecordRoute>().flatten().map(|route| route.uri().clone()));
            let all = contacts.chain(routes).chain(request.uri()).chain(addresses(request));
            all.into_iter().any(|uri| is_loose_uri(&uri))
        },
    ),
    ("a Contact of an unknown scheme with brackets in it, which PJSIP does not expect", |request| {
        let mut all = request.headers.all::<Contact>().flatten();
        all.any(|contact| contact.uri().is_some_and(|uri| !uri.is_sip() && uri.as_str().contains('[')))
    }),
    (
        "a q of a Contact without its zero, which we read, or no number, which we do without: PJSIP drops the request",
        |request| {
            let mut all =
                request.headers.all::<Contact>().flatten().filter_map(|contact| contact.address().cloned());
            all.any(|one| one.param("q").is_some_and(|q| !q.is_some_and(|q| q.starts_with(['0', '1']))))
        },
    ),
    ("an Accept of two types without a comma: we ask for its parts when we need them", |request| {
        request
            .headers
            .all::<Accept>()
            .flatten()
            .any(|accept| accept.range().is_err() || accept.0.contains(' '))
    }),
    ("a fold in a quoted string, which RFC 3261 §25.1 allows, and PJSIP not", has_quoted_fold),
    ("more than the 4,000 octets that PJSIP takes in a datagram", |request| request.to_bytes().len() > 4_000),
    ("an INVITE with a body that PJSIP makes no session of: 400", |request| {
        *request.method() == Method::Invite && !request.body().is_empty()
    }),
    ("a method that no part of this phone takes: it says nothing", |request| {
        !matches!(request.method(), Method::Options | Method::Invite | Method::Message | Method::Cancel)
    }),
    ("a Request-URI of an unknown scheme: 416 by RFC 3261 §8.2.2.1, silence from PJSIP", |request| {
        request.uri().is_ok_and(|uri| !uri.is_sip() && !uri.is_sips() && !uri.is_tel())
    }),
    (
        "a field that nobody asked for is malformed: PJSIP reads all and drops the request, we what we need",
        |request| HeaderName::all().any(|name| request.headers.reprint(name).iter().any(Result::is_err)),
    ),
    (
        "a tag, branch or parameter that is no token: we keep it as it came, PJSIP drops the request",
        |request| {
            let mut vias = request.headers.raw("Via").map(|line| String::from_utf8_lossy(line).into_owned());
            let empty = vias.any(|line| line.ends_with(';') || line.contains(";;"));
            let contact = request
                .headers
                .all::<Contact>()
                .flatten()
                .any(|contact| contact.address().is_some_and(|one| is_loose(one.params())));
            let via =
                empty || contact || request.headers.all::<Via>().flatten().any(|via| is_loose(via.params()));
            let from =
                request.headers.get::<From>().ok().flatten().is_some_and(|from| is_loose(from.params()));
            via || from || request.headers.get::<To>().ok().flatten().is_some_and(|to| is_loose(to.params()))
        },
    ),
];

const PJSIP_FACTS: &[(&str, Reason)] = &[
    (
        "from tag",
        (
            "an unknown scheme without brackets: PJSIP reads all of it as a URI; by RFC 3261 §20 what follows ';' is the field's",
            |request| {
                let has_brackets = request.headers.text("From").is_some_and(|from| from.contains('<'));
                !has_brackets && addresses(request).first().is_some_and(|uri| !uri.is_sip() && !uri.is_sips())
            },
        ),
    ),
    (
        "branch",
        ("a branch that is no token: PJSIP escapes its octets", |request| {
            top_via(request).is_some_and(|via| is_loose(via.params()))
        }),
    ),
];

fn top_via(request: &Request) -> Option<Via> {
    request.headers.all::<Via>().next()?.ok()
}

/// Whether answers to this Via arrive at the port that the request came from.
fn is_own(via: &Via) -> bool {
    via.branch()
        .and_then(|branch| branch.strip_prefix("z9hG4bKn")?.parse::<u16>().ok())
        .is_some_and(|number| via.port() == Some(10_000 + number))
}

/// The URIs of From and To.
fn addresses(request: &Request) -> Vec<Uri> {
    let from = request.headers.get::<From>().ok().flatten().map(|from| from.uri().clone());
    let to = request.headers.get::<To>().ok().flatten().map(|to| to.uri().clone());
    from.into_iter().chain(to).collect()
}

fn is_token(value: &str) -> bool {
    value.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&octet))
}

/// RFC 3261 §25.1: gen-value = token / host / quoted-string.
fn is_loose(params: &Params) -> bool {
    params.iter().filter_map(|(_, value)| value).any(|value| {
        let is_address = value.trim_matches(['[', ']']).parse::<std::net::Ipv6Addr>().is_ok();
        !value.starts_with('"') && !is_token(value) && !is_address
    })
}

/// Whether a URI has octets that its grammar does not allow where they stand (RFC 3261 §25.1: userinfo, pvalue).
fn is_loose_uri(uri: &Uri) -> bool {
    let outside = |text: &str, more: &str| {
        text.chars().any(|c| !c.is_ascii_alphanumeric() && !"-_.!~*'()%".contains(c) && !more.contains(c))
    };
    let (user, password) =
        uri.user().unwrap_or_default().split_once(':').unwrap_or((uri.user().unwrap_or_default(), ""));
    let params = uri
        .params()
        .any(|(name, value)| outside(name, "[]/:&+$") || outside(value.unwrap_or("-"), "[]/:&+$"));
    let text = uri.as_str();
    let headers = text.split_once('?').is_some_and(|(_, all)| all.split('&').any(|one| !one.contains('=')));
    let empty = text.ends_with(';') || [";;", ";?"].iter().any(|two| text.contains(two));
    (uri.is_sip() || uri.is_sips())
        && (outside(user, "&=+$,;?/") || outside(password, "&=+$,") || params || headers || empty)
}

/// Whether a fold stands within a quoted string: RFC 3261 §25.1 has LWS among qdtext.
fn has_quoted_fold(request: &Request) -> bool {
    request.headers.iter().any(|(_, value)| {
        let quoted = value.split(|octet| *octet == b'"').skip(1).step_by(2);
        quoted.into_iter().any(|text| text.contains(&b'\n'))
    })
}
