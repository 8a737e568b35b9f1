//! What is said of load in Vias is said from one hop to the next: RFC 7339 §5.4, §5.6.

use sip_message::headers::Via;
use sip_message::{HeaderName, Headers};

const PARAMETERS: [&str; 4] = ["oc", "oc-algo", "oc-validity", "oc-seq"];

/// Takes it out of all Vias, none of which is ours. If one of them cannot be read they stay as they are.
pub(super) fn forget_load(headers: &mut Headers) {
    // Nearly always there is nothing, and what is looked for is short.
    let says = |value: &[u8]| {
        let before = |at: usize| value.get(at.checked_sub(1)?);
        memchr::memchr2_iter(b'c', b'C', value).any(|at| matches!(before(at), Some(b'o' | b'O')))
    };
    if !headers.raw(HeaderName::VIA).any(says) {
        return;
    }
    let Ok(mut vias) = headers.all::<Via>().collect::<Result<Vec<Via>, _>>() else { return };
    let mut found = false;
    for via in &mut vias {
        for name in PARAMETERS {
            found |= via.remove_param(name);
        }
    }
    if found {
        headers.remove(HeaderName::VIA);
        for via in vias.iter().rev() {
            headers.push_front(via);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sip_message::{Limits, Request};

    fn left(vias: &str) -> String {
        let text = format!("OPTIONS sip:a@b SIP/2.0\r\n{vias}Subject: x\r\n\r\n");
        let mut request = Request::parse(text.into(), &Limits::default()).unwrap();
        forget_load(&mut request.headers);
        let text = request.to_string();
        let from = text.find("\r\n").unwrap() + 2;
        text[from..].trim_end().strip_suffix("\r\nSubject: x").unwrap().to_owned()
    }

    #[test]
    fn nothing_of_load_is_left_in_any_via_and_others_stay_to_the_letter() {
        assert_eq!(
            left(
                "v: SIP/2.0/UDP a;OC=20;branch=1;oc-algo=\"loss\", SIP/2.0/UDP b;oc-seq=1.2;x\r\n\
                Via: SIP/2.0/UDP c;oc;oc-validity=5\r\n"
            ),
            "Via: SIP/2.0/UDP a;branch=1\r\nVia: SIP/2.0/UDP b;x\r\nVia: SIP/2.0/UDP c"
        );
        for same in ["v : SIP/2.0/UDP localhost ; ocean=1,SIP/2.0/UDP b", "Via: SIP/2.0/UDP a;oc, nonsense"] {
            assert_eq!(left(&format!("{same}\r\n")), same);
        }
    }
}
