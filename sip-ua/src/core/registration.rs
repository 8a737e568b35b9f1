//! Keeping a binding at a registrar (RFC 3261 §10.2).

use std::time::{Duration, Instant};

use sip_dialog::RequestKey;
use sip_message::headers::{CSeq, CallId, Contact, Expires, From, MinExpires, NameAddr, Route, To};
use sip_message::{BuildError, Method, Request, RequestBuilder, Response, StatusCode, Uri};

/// Where a registration stands.
///
/// ```text
///   Idle --register--> Registering --2xx--> Registered --refresh--> Registering
///                          |  \--423: once more, longer                 ^
///                          |failure                                     |
///                          v                                            |
///                       Failed ------------- after a while -------------+
///   any --unregister--> Unregistering --final--> Idle
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RegistrationState {
    /// Not registered, and not trying.
    Idle,
    /// A REGISTER is out.
    Registering,
    /// Bound until the registrar forgets us.
    Registered,
    /// Refused or unreachable; another try follows.
    Failed,
    /// The REGISTER that removes the binding is out.
    Unregistering,
}

/// One account at one registrar. It decides; the core sends.
#[derive(Debug)]
pub(super) struct Registration {
    registrar: Uri,
    address: NameAddr,
    route: Vec<Route>,
    call_id: String,
    tag: String,
    cseq: u32,
    /// What we ask for, raised by a 423.
    expires: u32,
    pub(super) state: RegistrationState,
    pub(super) request: Option<RequestKey>,
    /// When to refresh, or to try again.
    pub(super) next: Option<Instant>,
    failures: u32,
    /// Whether a binding may stand at the registrar, so that it must be removed at the end.
    bound: bool,
}

/// What an answer to REGISTER means.
pub(super) enum Outcome {
    /// Bound for this long.
    Registered(Duration),
    /// Unbound.
    Unregistered,
    /// Ask again at once, for longer.
    Again,
    /// Refused, or no answer; the next try is planned.
    Failed(StatusCode),
}

/// First wait after a failure; doubled with each further one (RFC 5626 §4.5 has the same shape).
const FIRST_RETRY: Duration = Duration::from_secs(30);
/// Longest wait after failures.
const LONGEST_RETRY: Duration = Duration::from_secs(30 * 60);

impl Registration {
    pub(super) fn new(
        registrar: Uri,
        address: NameAddr,
        route: Vec<Route>,
        expires: u32,
        call_id: String,
        tag: String,
    ) -> Self {
        Self {
            registrar,
            address,
            route,
            call_id,
            tag,
            cseq: 0,
            expires,
            state: RegistrationState::Idle,
            request: None,
            next: None,
            failures: 0,
            bound: false,
        }
    }

    /// Where REGISTER goes first.
    pub(super) fn hop(&self) -> Uri {
        self.route.first().map_or(&self.registrar, |route| route.uri()).clone()
    }

    /// Whether the Request-URI is `sips`, and the Contact has to be (RFC 5630 §5.2).
    pub(super) fn is_sips(&self) -> bool {
        self.registrar.is_sips()
    }

    /// The next REGISTER; `expires` 0 removes the binding.
    fn build(&mut self, contact: &Contact, expires: u32) -> Result<RequestBuilder, BuildError> {
        self.cseq = self.cseq.saturating_add(1);
        self.next = None;
        Ok(Request::builder(Method::Register, &self.registrar)
            .headers(&self.route)
            .header(&From(self.address.clone()).with_tag(&self.tag))
            .header(&To(self.address.clone()))
            .header(&CallId::new(&self.call_id))
            .header(&CSeq::new(self.cseq, Method::Register))
            .header(contact)
            .header(&Expires(expires)))
    }

    pub(super) fn register(&mut self, contact: &Contact) -> Result<RequestBuilder, BuildError> {
        self.state = RegistrationState::Registering;
        self.bound = true;
        self.build(contact, self.expires)
    }

    /// The REGISTER that removes our binding, unless there is none.
    pub(super) fn unregister(&mut self, contact: &Contact) -> Option<Result<RequestBuilder, BuildError>> {
        if !std::mem::take(&mut self.bound) {
            self.state = RegistrationState::Idle;
            (self.next, self.request) = (None, None);
            return None;
        }
        self.state = RegistrationState::Unregistering;
        Some(self.build(contact, 0))
    }

    /// Challenges raise the CSeq below us: the next REGISTER must be higher still (§10.2.4).
    fn note_cseq(&mut self, response: &Response) {
        if let Ok(Some(cseq)) = response.headers.get::<CSeq>() {
            self.cseq = self.cseq.max(cseq.number);
        }
    }

    /// Takes the final response; `chance` is a random number for jitter.
    pub(super) fn answered(
        &mut self,
        now: Instant,
        result: Result<&Response, StatusCode>,
        contact: &Contact,
        chance: u64,
    ) -> Outcome {
        self.request = None;
        if let Ok(response) = result {
            self.note_cseq(response);
        }
        if self.state == RegistrationState::Unregistering {
            self.state = RegistrationState::Idle;
            return Outcome::Unregistered;
        }
        let status = match result {
            Ok(response) if response.status().is_success() => {
                let granted = granted(response, contact).unwrap_or(self.expires);
                self.state = RegistrationState::Registered;
                self.failures = 0;
                let lifetime = Duration::from_secs(u64::from(granted));
                self.next = Some(now + refresh_after(lifetime, chance));
                return Outcome::Registered(lifetime);
            }
            Ok(response) if response.status() == StatusCode::INTERVAL_TOO_BRIEF => {
                let least = response.headers.get::<MinExpires>().ok().flatten().map_or(0, |min| min.0);
                if least > self.expires {
                    self.expires = least; // §10.2.8
                    return Outcome::Again;
                }
                response.status()
            }
            Ok(response) => response.status(),
            Err(status) => status,
        };
        self.state = RegistrationState::Failed;
        let wait = FIRST_RETRY.saturating_mul(1 << self.failures.min(6)).min(LONGEST_RETRY);
        self.failures = self.failures.saturating_add(1);
        let jitter = wait.mul_f64((chance % 1000) as f64 / 2000.0);
        self.next = Some(now + wait - jitter); // between half and whole
        Outcome::Failed(status)
    }
}

/// The time granted to our Contact: its own parameter, or the Expires of the response (§10.2.4).
fn granted(response: &Response, ours: &Contact) -> Option<u32> {
    let uri = ours.uri()?;
    let own = response
        .headers
        .all::<Contact>()
        .flatten()
        .find(|contact| contact.uri().is_some_and(|listed| listed.equivalent(uri)));
    own.and_then(|contact| contact.expires())
        .or_else(|| response.headers.get::<Expires>().ok().flatten().map(|expires| expires.0))
}

/// When to refresh: well before the end, at a moment of chance, so that phones restarted together do not stay
/// in step. Between 80 and 90 % of the lifetime.
fn refresh_after(lifetime: Duration, chance: u64) -> Duration {
    lifetime.mul_f64(0.8 + (chance % 1000) as f64 / 10_000.0).max(Duration::from_millis(500))
}

#[cfg(test)]
mod tests {
    use super::*;
    use sip_message::Limits;

    fn registration() -> (Registration, Contact) {
        let uri: Uri = "sip:example.com".parse().unwrap();
        let address = "<sip:alice@example.com>".parse().unwrap();
        let registration = Registration::new(uri, address, Vec::new(), 60, "c".into(), "t".into());
        (registration, Contact::new(&"sip:alice@192.0.2.1:5070".parse().unwrap()))
    }

    fn response(start: &str, fields: &str) -> Response {
        let text = format!(
            "SIP/2.0 {start}\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=t\r\nTo: <sip:a@b>;tag=s\r\n\
             Call-ID: c\r\nCSeq: 4 REGISTER\r\n{fields}\r\n"
        );
        Response::parse(text.into(), &Limits::default()).unwrap()
    }

    /// RFC 3261 §10.2.4: the time granted to our own Contact counts, whoever else is listed.
    #[test]
    fn refreshes_before_the_granted_time_is_over() {
        let now = Instant::now();
        let (mut registration, contact) = registration();
        registration.register(&contact).unwrap().build().unwrap();
        let ok = response(
            "200 OK",
            "Contact: <sip:alice@192.0.2.9>;expires=9999, <sip:alice@192.0.2.1:5070>;expires=40\r\n",
        );
        let Outcome::Registered(lifetime) = registration.answered(now, Ok(&ok), &contact, 999) else {
            panic!()
        };
        assert_eq!(lifetime, Duration::from_secs(40));
        let next = registration.next.unwrap() - now;
        assert!(next >= Duration::from_secs(32) && next < Duration::from_secs(36), "{next:?}");
        let again = registration.register(&contact).unwrap().build().unwrap();
        assert_eq!(again.headers.text("CSeq"), Some("5 REGISTER"));
        assert_eq!(again.headers.text("Call-ID"), Some("c"));
    }

    /// RFC 3261 §10.2.8: 423 names the least time; it is asked for at once, but not for ever.
    #[test]
    fn interval_too_brief() {
        let now = Instant::now();
        let (mut registration, contact) = registration();
        registration.register(&contact).unwrap().build().unwrap();
        let brief = response("423 Interval Too Brief", "Min-Expires: 600\r\n");
        assert!(matches!(registration.answered(now, Ok(&brief), &contact, 0), Outcome::Again));
        let longer = registration.register(&contact).unwrap().build().unwrap();
        assert_eq!(longer.headers.text("Expires"), Some("600"));
        assert!(matches!(registration.answered(now, Ok(&brief), &contact, 0), Outcome::Failed(_)));
    }

    #[test]
    fn failures_are_tried_again_ever_later() {
        let now = Instant::now();
        let (mut registration, contact) = registration();
        let mut last = Duration::ZERO;
        for _ in 0..5 {
            registration.register(&contact).unwrap().build().unwrap();
            let failed = registration.answered(now, Err(StatusCode::REQUEST_TIMEOUT), &contact, 0);
            assert!(matches!(failed, Outcome::Failed(StatusCode::REQUEST_TIMEOUT)));
            let wait = registration.next.unwrap() - now;
            assert!(wait > last && wait <= LONGEST_RETRY);
            last = wait;
        }
        assert!(registration.unregister(&contact).is_some());
        assert!(registration.unregister(&contact).is_none());
    }
}
