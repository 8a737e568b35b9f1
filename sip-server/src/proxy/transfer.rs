//! Topology hiding in transfers (RFC 5589 §7.1): a contact of inside that is told in another dialog than its own.
//!
//! ```text
//!   inside                             we                                              outside
//!   REFER, in call 1                                                                   REFER, in call 1
//!   Refer-To: <sip:bob@phone?Replaces=call-2...>  ─▶ sealed for call 2 ─▶  <sip:bob@we;th=...?Replaces=call-2...>
//!
//!   INVITE sip:bob@phone               ◀─ opened for call 2 ◀─                         INVITE sip:bob@we;th=...
//!   Replaces: call-2...                                                                Replaces: call-2...
//! ```
//!
//! Whoever is in call 2 has its contact sealed and may give it away; whoever is given it sends an INVITE of its own, which names call 2 in
//! Replaces (RFC 3891 §4) or Join (RFC 3911). That is proof enough to reach that contact, and nobody else. A seal of a Contact that came
//! from outside is none: two who are outside would make this server call whom they like.

use sip_message::headers::{From, Header, Join, ReferTo, ReferredBy, Replaces};
use sip_message::{HeaderName, Headers, Method, Request, Uri};
use sip_transport::Local;

use super::hide::{HIDDEN, Sealed, Seals, leads_past_us, our_uri};
use crate::domains::Domains;
use crate::routing::Rules;

/// The Call-ID of the dialog that an INVITE outside of a dialog is to replace or to join. RFC 3891 §3, RFC 3911 §4: it names one, and no
/// other method does.
pub(super) fn dialog_named(request: &Request) -> Option<String> {
    let headers = &request.headers;
    if *request.method() != Method::Invite || headers.tag(HeaderName::TO).is_some() {
        return None;
    }
    let replaced = headers.all::<Replaces>().map(|one| Some(one.ok()?.call_id().to_owned()));
    let joined = headers.all::<Join>().map(|one| Some(one.ok()?.call_id().to_owned()));
    only(replaced.chain(joined))
}

/// The same of the INVITE that a Refer-To asks for (RFC 3891 §4, RFC 3261 §19.1.5).
fn dialog_named_by(refer_to: &Uri) -> Option<String> {
    let invites = refer_to.param("method").flatten().is_none_or(|method| method == Method::Invite.as_str());
    let parsed = |text: Option<String>| Some(Replaces::parse(&text?).ok()?.call_id().to_owned());
    let replaced = sip_dialog::uri_headers(refer_to, "Replaces").map(parsed);
    let parsed = |text: Option<String>| Some(Join::parse(&text?).ok()?.call_id().to_owned());
    let joined = sip_dialog::uri_headers(refer_to, "Join").map(parsed);
    only(replaced.chain(joined)).filter(|_| invites)
}

fn only(mut all: impl Iterator<Item = Option<String>>) -> Option<String> {
    let first = all.next()?;
    first.filter(|_| all.next().is_none())
}

impl Seals {
    /// Hides what a REFER of inside that leaves by `local` would tell.
    ///
    /// Refer-To is hidden if it leads past us and asks for a call that replaces or joins another one: its URI is then the contact of a
    /// party to that one. Without, it may be anybody's address and stays as it is, as one at a trunk does, which has nothing to hide and
    /// connects its own calls by itself (RFC 5589 §11.1).
    ///
    /// Referred-By, which says who refers (RFC 3892 §2), names a user of ours by the address-of-record if From does. One with a signed
    /// token (§4) stays: it would be another one than that in the token.
    pub(super) fn hide_referral(
        &self,
        headers: &mut Headers,
        local: &Local,
        domains: &Domains,
        rules: &Rules,
    ) {
        let to = headers.get::<ReferTo>().ok().flatten();
        if let Some(to) = to.filter(|to| leads_past_us(to.uri(), domains) && !rules.leads_to_trunk(to.uri()))
            && let Some(hidden) = self.referral(to.uri(), local)
        {
            headers.replace_first(&ReferTo(to.0.with_uri(&hidden)));
        }
        let by = headers.get::<ReferredBy>().ok().flatten();
        if let Some(by) = by.filter(|by| leads_past_us(by.uri(), domains) && by.param("cid").is_none())
            && let Ok(Some(from)) = headers.get::<From>()
            && let Some(aor) = domains.aor(from.uri())
            && let Ok(uri) = format!("{}:{aor}", by.uri().scheme()).parse()
        {
            headers.replace_first(&ReferredBy(by.0.with_uri(&uri)));
        }
    }

    fn referral(&self, uri: &Uri, local: &Local) -> Option<Uri> {
        let dialog = dialog_named_by(uri)?;
        let mut inner = uri.clone();
        inner.remove_headers();
        let headers = uri.as_str().get(inner.as_str().len()..)?;
        let mut hidden = our_uri(local, inner.user(), inner.is_sips())?;
        if let Some(method) = uri.param("method") {
            // RFC 3261 §19.1.1, table 1: not in a Request-URI.
            inner.remove_param("method");
            hidden.set_param("method", method);
        }
        hidden.set_param(HIDDEN, Some(&self.seal(Sealed::Inside, inner.as_str(), &dialog)?));
        format!("{hidden}{headers}").parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sip_message::Limits;

    #[test]
    fn one_dialog_is_named_and_by_an_invite_outside_of_dialogs_alone() {
        let named = |method: &str, to: &str, fields: &str| {
            let text = format!(
                "{method} sip:b@h SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@h>;tag=1\r\nTo: <sip:b@h>{to}\r\n\
                 Call-ID: c\r\nCSeq: 1 {method}\r\n{fields}Content-Length: 0\r\n\r\n"
            );
            dialog_named(&Request::parse(text.into(), &Limits::default()).unwrap())
        };
        let (replaces, join) = ("Replaces: d;to-tag=1;from-tag=2\r\n", "Join: e;to-tag=1;from-tag=2\r\n");
        assert_eq!(named("INVITE", "", replaces).as_deref(), Some("d"));
        assert_eq!(named("INVITE", "", join).as_deref(), Some("e"));
        for (method, to, fields) in [
            ("INVITE", "", String::new()),
            ("INVITE", "", format!("{replaces}{join}")),
            ("INVITE", "", format!("{replaces}{replaces}")),
            ("INVITE", "", "Replaces: d;to-tag=1\r\n".into()),
            ("INVITE", ";tag=2", replaces.into()),
            ("OPTIONS", "", replaces.into()),
        ] {
            assert_eq!(named(method, to, &fields), None, "{method} {to} {fields}");
        }
    }

    #[test]
    fn a_refer_to_names_the_dialog_of_the_invite_that_it_asks_for() {
        let named = |text: &str| dialog_named_by(&text.parse().unwrap());
        let replaces = "Replaces=d%40h%3Bto-tag%3D1%3Bfrom-tag%3D2";
        for uri in ["sip:b@h?", "sip:b@h;method=INVITE?", "sips:b@h;x?Require=replaces&"] {
            assert_eq!(named(&format!("{uri}{replaces}")).as_deref(), Some("d@h"), "{uri}");
        }
        assert_eq!(named("sip:b@h?join=d%3bto-tag=1%3bfrom-tag=2").as_deref(), Some("d"));
        assert_eq!(named("sip:b@h"), None);
        assert_eq!(named("sip:b@h?Subject=x"), None);
        assert_eq!(named(&format!("sip:b@h;method=SUBSCRIBE?{replaces}")), None);
        assert_eq!(named(&format!("sip:b@h?{replaces}&{replaces}")), None);
        assert_eq!(named("sip:b@h?Replaces=d"), None);
    }
}
