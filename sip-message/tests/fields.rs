//! Every known field: a valid value that reads and prints back to the same, values that are refused, and the laws
//! that hold for any text.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use proptest::prelude::*;
use sip_message::headers::Headers;
use sip_message::{HeaderName, Limits, Message};

/// Field, a value on the wire (mostly the example of its RFC), and how its type prints it; then values that it
/// refuses, between bars.
const EXAMPLES: &[(&str, &str, &str, &str)] = &[
    ("Accept", "application/sdp;level=1", "=", ""),
    ("Accept-Contact", "*;mobility=\"fixed\";require;explicit", "=", "|mobility|<sip:a@b>"),
    ("Accept-Encoding", "gzip ;q=0.5", "gzip;q=0.5", "|;q=1|a b"),
    ("Accept-Language", "en-gb;q=0.8", "=", "|e_n|-"),
    ("Accept-Resource-Priority", "dsn.flash-override", "=", "|dsn|dsn.a.b|.x"),
    ("Alert-Info", "<http://www.example.com/sounds/moo.wav>", "=", "|http://www.example.com/|<>"),
    ("Allow", "INVITE", "=", "|IN VITE|a;b"),
    ("Allow-Events", "spirits-INDPs", "=", "|a b"),
    ("Answer-Mode", "Manual;require", "=", "|a b"),
    ("Authentication-Info", "nextnonce=\"47364c23432d2e131a5fb210812c\"", "=", "a|a=\"b"),
    (
        "Authorization",
        "Digest username=\"Alice\", realm=\"atlanta.com\", nonce=\"84a4\", response=\"7587\"",
        "=",
        "|Digest a|Di,gest a=b",
    ),
    ("CSeq", "4711  INVITE", "4711 INVITE", "|INVITE|-1 INVITE|2147483648 INVITE"),
    ("Call-ID", "f81d4fae-7dec-11d0-a765-00a0c91e6bf6@foo.bar.com", "=", "|a b"),
    (
        "Call-Info",
        "<http://www.example.com/alice/photo.jpg> ;purpose=icon",
        "<http://www.example.com/alice/photo.jpg>;purpose=icon",
        "|http://a/",
    ),
    (
        "Contact",
        "\"Mr. Watson\" <sip:watson@worcester.bell-telephone.com> ;q=0.7; expires=3600",
        "\"Mr. Watson\" <sip:watson@worcester.bell-telephone.com>;q=0.7;expires=3600",
        "|<sip:a|sip:a?b=c",
    ),
    ("Content-Disposition", "session;handling=optional", "=", "|;handling=optional|a b"),
    ("Content-Encoding", "gzip", "=", "|a b"),
    ("Content-ID", "<target123@atlanta.example.com>", "=", "|<>|<a b@c>"),
    ("Content-Language", "fr", "=", "|f_r"),
    ("Content-Length", "349", "=", "|-1|1.5|349 349"),
    (
        "Content-Type",
        "text/html; charset=ISO-8859-4",
        "text/html;charset=ISO-8859-4",
        "|text|text/|/html|a b/c",
    ),
    ("Date", "Sat, 13 Nov 2010 23:29:00 GMT", "=", "|Sat, 13 Nov 2010 23:29:00 EST|now"),
    ("Diversion", "<sip:UserB@there.com>;reason=user-busy;counter=1", "=", "|<sip:"),
    ("Error-Info", "<sip:not-in-service-recording@atlanta.com>", "=", "|sip:a@b"),
    ("Event", "presence;id=7", "=", "|;id=7|a b"),
    ("Expires", "5", "=", "|-5|soon"),
    ("Feature-Caps", "*;+3gpp.trf=\"<sip:trf3.operator3.com>\"", "=", "|a;b"),
    ("Flow-Timer", "126", "=", "|-1|a"),
    (
        "From",
        "\"A. G. Bell\" <sip:agb@bell-telephone.com> ;tag=a48s",
        "\"A. G. Bell\" <sip:agb@bell-telephone.com>;tag=a48s",
        "|Bell, A <sip:a@b>|<sip:a@b",
    ),
    ("Geolocation", "<cid:target123@atlanta.example.com>", "=", "|cid:a@b"),
    ("Geolocation-Error", "200;code=\"Permission To Use Location Information\"", "=", "|2000|x"),
    ("Geolocation-Routing", "yes", "=", "|a b"),
    ("History-Info", "<sip:bob@192.0.2.4?Reason=SIP%3Bcause%3D302>;index=1.1;mp=1", "=", "|sip:a@b"),
    (
        "Identity",
        "eyJhbGciOiJFUzI1NiIs.eyJhdHRlc3QiOiJBI.rq3pjT;info=<https://biloxi.example.org/biloxi.cer>;alg=ES256;ppt=shaken",
        "=",
        "|;info=<a:b>|a b",
    ),
    ("Identity-Info", "<https://atlanta.example.com/atlanta.cer>;alg=rsa-sha1", "=", "|https://a/"),
    ("In-Reply-To", "70710@saturn.bell-tel.com", "=", "|a b"),
    ("Info-Package", "nortel;a=b", "=", "|a b"),
    ("Join", "98732@sip.example.com;to-tag=ff87ff;from-tag=r33th4x0r", "=", "|a|a;to-tag=1"),
    ("MIME-Version", "1.0", "=", "|1|a.b"),
    ("Max-Breadth", "60", "=", "|-1"),
    ("Max-Forwards", "006", "6", "|256|-1"),
    ("Min-Expires", "60", "=", "|-1"),
    ("Min-SE", "60", "=", "|a"),
    ("Organization", "Boxes by Bob", "=", ""),
    ("P-Access-Network-Info", "3GPP-UTRAN-TDD;utran-cell-id-3gpp=234151D0FCE11", "=", "|a b"),
    ("P-Answer-State", "Unconfirmed", "=", "|a b"),
    ("P-Asserted-Identity", "tel:+14085264000", "<tel:+14085264000>", "|<"),
    ("P-Asserted-Service", "urn:urn-7:3gpp-service.exampletelephony.version1", "=", "|a"),
    ("P-Associated-URI", "<sip:ua1@home1.net>", "=", "sip:a@b"),
    ("P-Called-Party-ID", "<sip:user1-business@example.com>", "=", "|sip:a@b"),
    ("P-Charge-Info", "<sip:+14075550134@example.net;user=phone>", "=", "|<"),
    (
        "P-Charging-Function-Addresses",
        "ccf=192.1.1.1; ccf-2=192.1.1.2",
        "ccf=192.1.1.1;ccf-2=192.1.1.2",
        "|=",
    ),
    (
        "P-Charging-Vector",
        "icid-value=1234bc9876e;icid-generated-at=192.0.6.8;orig-ioi=home1.net",
        "=",
        "|orig-ioi=home1.net",
    ),
    ("P-DCS-Billing-Info", "01123FA4/4567@h.example.com;rksgroup=g", "=", "|a/b"),
    ("P-DCS-LAES", "df.example.com:5060;content=df.example.com", "=", "|a b"),
    ("P-DCS-OSPS", "BLV", "=", "|a b"),
    ("P-DCS-Redirect", "\"sip:b@example.com\";count=1", "=", "|sip:b@example.com"),
    ("P-DCS-Trace-Party-ID", "<tel:+12125551212>;timestamp=1", "=", "|tel:+1"),
    ("P-Early-Media", "gated", "=", "a b"),
    ("P-Media-Authorization", "00200001", "=", "|xyz"),
    ("P-Preferred-Identity", "\"Cullen Jennings\" <sip:fluffy@cisco.com>", "=", "|<"),
    ("P-Preferred-Service", "urn:urn-7:3gpp-service.exampletelephony.version1", "=", "|a"),
    ("P-Profile-Key", "<sip:chatroom-!.*!@example.com>", "=", "|<"),
    (
        "P-Refused-URI-List",
        "sip:friends-list@example.com;members=\"<cid:an3bt8jf03@example.com>\"",
        "<sip:friends-list@example.com>;members=\"<cid:an3bt8jf03@example.com>\"",
        "|<",
    ),
    ("P-Served-User", "<sip:user@example.com>;sescase=orig;regstate=reg", "=", "|<"),
    ("P-User-Database", "<aaa://host.example.com;transport=tcp>", "=", "|aaa://h"),
    ("P-Visited-Network-ID", "\"Visited network number 1\"", "=", "|a b"),
    ("Path", "<sip:P3.EXAMPLEHOME.COM;lr>", "=", "|<"),
    ("Permission-Missing", "sip:C@example.com", "<sip:C@example.com>", "|<"),
    ("Policy-Contact", "<sip:host@example.com>;non-cacheable", "=", "|sip:a@b"),
    ("Policy-ID", "sip:policy@example.com;token=abc", "=", "|a"),
    ("Priority", "non-urgent", "=", "|a b"),
    ("Priv-Answer-Mode", "Auto", "=", "|a b"),
    ("Privacy", "header;user", "=", "|a b"),
    (
        "Proxy-Authenticate",
        "Digest realm=\"atlanta.com\", qop=\"auth\", nonce=\"f84f\", stale=FALSE, algorithm=MD5",
        "=",
        "|Digest x",
    ),
    (
        "Proxy-Authentication-Info",
        "rspauth=\"6629fae4\", cnonce=\"0a4f113b\", nc=00000001, qop=auth",
        "=",
        "a",
    ),
    ("Proxy-Authorization", "Digest username=\"Alice\", realm=\"atlanta.com\"", "=", "|Digest x"),
    ("Proxy-Require", "foo", "=", "|a b"),
    ("RAck", "776656 1 INVITE", "=", "|1 INVITE|1 1"),
    ("RSeq", "988789", "=", "|-1|4294967296"),
    ("Reason", "Q.850;cause=16;text=\"Terminated\"", "=", "|;cause=1"),
    ("Record-Route", "<sip:server10.biloxi.com;lr>", "=", "|<"),
    ("Recv-Info", "foo;p=1", "=", "|a b"),
    ("Refer-Events-At", "<sip:vPT3izKM@refertarget.example.com>", "=", "|sip:a@b"),
    ("Refer-Sub", "false", "=", "|maybe"),
    (
        "Refer-To",
        "<sip:dave@denver.example.org?Replaces=12345%40192.168.118.3%3Bto-tag%3D12345%3Bfrom-tag%3D5FFE-3994>",
        "=",
        "|<",
    ),
    ("Referred-By", "<sip:r@ref.example>;cid=\"20398823.2UWQFN309shb3@ref.example\"", "=", "|<"),
    ("Reject-Contact", "*;actor=\"msg-taker\";video", "=", "|a"),
    ("Replaces", "98732@sip.example.com;from-tag=r33th4x0r;to-tag=ff87ff;early-only", "=", "|a|a;from-tag=1"),
    ("Reply-To", "Bob <sip:bob@biloxi.com>", "\"Bob\" <sip:bob@biloxi.com>", "|<"),
    ("Request-Disposition", "no-fork", "=", "|a b"),
    ("Require", "100rel", "=", "|a b"),
    ("Resource-Priority", "wps.3", "=", "|wps"),
    ("Retry-After", "18000;duration=3600", "=", "|soon"),
    ("Route", "<sip:bigbox3.site3.atlanta.com;lr>", "=", "|<"),
    ("SIP-ETag", "dx200xyz", "=", "|a b"),
    ("SIP-If-Match", "dx200xyz", "=", "|a b"),
    ("Security-Client", "ipsec-ike; q=0.1", "ipsec-ike;q=0.1", "|a b"),
    ("Security-Server", "tls;q=0.2", "=", "|a b"),
    ("Security-Verify", "digest;d-alg=MD5;d-ver=\"0000000000000000000000000000abcd\"", "=", "|a b"),
    ("Server", "HomeServer v2", "=", ""),
    ("Service-Route", "<sip:P2.HOME.EXAMPLE.COM;lr>", "=", "|<"),
    ("Session-Expires", "4000;refresher=uac", "=", "|a"),
    (
        "Session-ID",
        "ab30317f1a784dc48ff824d0d3715d86;remote=00000000000000000000000000000000",
        "=",
        "|ab|ab30317f1a784dc48ff824d0d3715d86;remote=x",
    ),
    ("Subject", "Need more boxes", "=", ""),
    ("Subscription-State", "terminated;reason=timeout", "=", "|;a"),
    ("Supported", "100rel", "=", "|a b"),
    ("Suppress-If-Match", "*", "=", "|a b"),
    ("Target-Dialog", "fa77as7dad8-sd98ajzz@host.example.com;local-tag=kkaz-;remote-tag=6544", "=", "|a"),
    ("Timestamp", "54.21 0.5", "=", "|a|1 b"),
    (
        "To",
        "The Operator <sip:operator@cs.columbia.edu>;tag=287447",
        "\"The Operator\" <sip:operator@cs.columbia.edu>;tag=287447",
        "|<",
    ),
    ("Trigger-Consent", "sip:123@relay.example.com;target-uri=\"sip:friends@relay.example.com\"", "=", "|a"),
    ("Unsupported", "foo", "=", "|a b"),
    ("User-Agent", "Softphone Beta1.5", "=", ""),
    ("User-to-User", "56a390f3d2b7310023a2;encoding=hex;purpose=foo;content=bar", "=", "|a b"),
    (
        "Via",
        "SIP / 2.0 / UDP first.example.com: 4000;ttl=16 ;maddr=224.2.0.1 ;branch=z9hG4bKa7c6a8dlze.1",
        "SIP/2.0/UDP first.example.com:4000;ttl=16;maddr=224.2.0.1;branch=z9hG4bKa7c6a8dlze.1",
        "|SIP/2.0/UDP|HTTP/1.1/TCP h",
    ),
    (
        "WWW-Authenticate",
        "Digest realm=\"atlanta.com\", nonce=\"84a4\", qop=\"auth,auth-int\"",
        "=",
        "|Digest x",
    ),
    ("Warning", "301 isi.edu \"Incompatible network address type 'E.164'\"", "=", "|301 isi.edu|3 a \"b\""),
];

#[test]
fn every_field_reads_its_example_and_prints_it() {
    let mut names: Vec<HeaderName> = HeaderName::all().collect();
    for (name, value, printed, bad) in EXAMPLES {
        let known = HeaderName::find(name.as_bytes()).unwrap_or_else(|| panic!("{name} is unknown"));
        names.retain(|other| *other != known);
        let printed = if *printed == "=" { value } else { printed };
        assert_eq!(known.reprint(value).as_deref(), Ok(*printed), "{name}: {value}");
        assert_eq!(known.reprint(printed).as_deref(), Ok(*printed), "{name}: printed again");
        // Two elements on a line, in the compact form if there is one.
        let spelled = known.compact().map_or(name.to_string(), String::from);
        let twice = if known.is_list() { format!("{value} ,\r\n\t{value}") } else { value.to_string() };
        let text = format!("OPTIONS sip:a@b SIP/2.0\r\n{spelled} : {twice}\r\n\r\n");
        let message = Message::parse(text.clone().into(), &Limits::default()).unwrap();
        let read = message.headers().reprint(known);
        assert_eq!(read.len(), 1 + usize::from(known.is_list()), "{name}");
        assert!(read.iter().all(|one| one.as_deref() == Ok(*printed)), "{name}: {read:?}");
        // The parts of each element, and its place in the folded line.
        let elements = known.elements(twice.as_bytes());
        assert_eq!(elements.len(), read.len(), "{name}");
        for element in elements {
            assert!(element.parts.is_ok_and(|parts| !parts.is_empty()), "{name}");
            assert!(twice[element.at..].starts_with(value), "{name}: {}", element.at);
        }
        assert_eq!(message.to_bytes(), text, "{name} leaves as it came");
        for bad in bad.split('|').filter(|_| !bad.is_empty()) {
            assert!(known.reprint(bad).is_err(), "{name}: {bad:?} passed");
        }
    }
    assert!(names.is_empty(), "no example of {names:?}");
}

/// RFC 3261 §7.3.3 and the registry of compact forms.
#[test]
fn compact_forms() {
    let letters: String = ('a'..='z').filter(|letter| HeaderName::find(&[*letter as u8]).is_some()).collect();
    assert_eq!(letters, "abcdefijklmnorstuvxy");
}

fn example() -> impl Strategy<Value = (HeaderName, String)> {
    let changes =
        prop::collection::vec((any::<prop::sample::Index>(), 0..3u8, "[\\PC \"\\\\<>;,=@%()]"), 0..4);
    (prop::sample::select(EXAMPLES.to_vec()), changes).prop_map(|((name, value, ..), changes)| {
        let mut value: Vec<char> = value.chars().collect();
        for (at, kind, put) in changes {
            let put = put.chars().next().unwrap_or('x');
            let at = at.index(value.len() + 1);
            match kind {
                0 => value.insert(at, put),
                1 if at < value.len() => value[at] = put,
                _ if at < value.len() => drop(value.remove(at)),
                _ => {}
            }
        }
        (HeaderName::find(name.as_bytes()).unwrap(), value.into_iter().collect())
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    /// What a type prints it reads again, and prints the same: `parse(write(v)) == v` for every field.
    #[test]
    fn any_value_prints_to_a_fixed_point((name, value) in example()) {
        if let Ok(printed) = name.reprint(&value) {
            prop_assert_eq!(name.reprint(&printed), Ok(printed.clone()), "{}: {:?}", name, value);
            prop_assert!(!printed.contains(['\r', '\n', '\0']) || value.contains('\0'));
        }
    }

    #[test]
    fn any_text_is_read_or_refused_by_every_field(value in "\\PC{0,40}") {
        for name in HeaderName::all() {
            if let Ok(printed) = name.reprint(&value) {
                prop_assert_eq!(name.reprint(&printed), Ok(printed.clone()), "{}: {:?}", name, &value);
            }
        }
    }

    /// A rebuilt message, every value printed by its type, reads as the same values.
    #[test]
    fn values_survive_a_message((name, value) in example()) {
        let Ok(printed) = name.reprint(&value) else { return Ok(()) };
        let mut headers = Headers::new();
        if headers.push_raw(name, &printed).is_ok() {
            prop_assert!(headers.reprint(name).iter().all(|one| one.is_ok()), "{name}: {printed:?}");
        }
    }
}
