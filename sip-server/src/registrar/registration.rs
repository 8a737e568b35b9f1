//! One REGISTER on its way through the registrar.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sip_message::headers::{
    CSeq, CallId, Contact, Expires, FlowTimer, InstanceId, NameAddr, Path as PathField, Require, Supported,
    To, Via,
};
use sip_message::{HeaderName, Request, ResponseBuilder, StatusCode, Uri};
use sip_transport::Path;

use super::change::{Change, Wanted};
use super::{Config, Refusal};
use crate::AddressOfRecord;
use crate::domains::Domains;
use crate::flow::{is_direct, leads_back};
use crate::location::{Answer, Binding, Bindings, OutboundFlow, Question};
use crate::users::owns;

/// How often a registration starts again because others changed the same bindings meanwhile.
const ATTEMPTS: u32 = 8;

/// The fraction of an hour below which §10.3 step 7 lets a registrar refuse.
const ONE_HOUR: u32 = 3600;

/// One REGISTER that was read and found proper, between its questions to the location store.
#[derive(Clone, Debug)]
pub struct Registration {
    request: Request,
    aor: AddressOfRecord,
    change: Change,
    /// What all bindings of this request have in common.
    template: Binding,
    limit: usize,
    /// For Flow-Timer, in seconds.
    keep_alive: u32,
    attempts: u32,
    /// The list that an update is asked for.
    proposed: Option<Arc<[Binding]>>,
}

/// What a registration does next.
#[derive(Debug)]
pub enum Step {
    /// Ask the store, then give the answer to [`Registration::answer`].
    Ask(Question, Box<Registration>),
    /// Done: 200.
    Done(Box<Registration>, Arc<[Binding]>),
    /// Nothing was changed.
    Refused(Box<Registration>, Refusal),
}

impl Registration {
    /// Reads a REGISTER that came on `path`. `user` is who was authenticated; `None` where nobody needs to be.
    ///
    /// # Errors
    /// Why it is refused (§10.3 steps 4 to 7, as far as they need no bindings).
    pub fn read(
        request: &Request,
        path: &Path,
        user: Option<&str>,
        domains: &Domains,
        config: &Config,
        now: Instant,
    ) -> Result<Self, Refusal> {
        let (aor, change, template) = Self::parts(request, path, user, domains, config, now)?;
        let keep_alive =
            if path.transport.is_reliable() { config.connection_keep_alive } else { config.udp_keep_alive };
        Ok(Self {
            request: request.clone(),
            aor,
            change,
            template,
            limit: config.max_bindings,
            keep_alive,
            attempts: 0,
            proposed: None,
        })
    }

    fn parts(
        request: &Request,
        path: &Path,
        user: Option<&str>,
        domains: &Domains,
        config: &Config,
        now: Instant,
    ) -> Result<(AddressOfRecord, Change, Binding), Refusal> {
        let to: To = request.headers.require()?;
        // Step 5 before step 4: who owns an address can only be told of one that there is.
        let aor = domains.aor(to.uri()).ok_or(Refusal::NoSuchAddress)?;
        // The server's own address as Request-URI stands for all of its domains.
        let of_domain = request.uri().is_ok_and(|uri| {
            domains.is_us(&uri)
                || domains.of(&uri).is_some_and(|domain| domain.eq_ignore_ascii_case(aor.domain()))
        });
        if !of_domain {
            return Err(Refusal::NoSuchAddress);
        }
        if let Some(user) = user
            && !owns(user, &aor)
        {
            return Err(Refusal::NotOwner { user: user.to_owned(), aor });
        }
        let call_id: CallId = request.headers.require()?;
        let cseq: CSeq = request.headers.require()?;
        let vector = path_vector(request)?;
        let outbound = Outbound::of(request, &vector);
        let change = read_contacts(request, config, now, outbound)?;
        not_itself(request, &aor, domains)?;
        all_or_nothing_sips(request, &vector)?;
        let direct = vector.is_empty();
        let template = Binding {
            contact: NameAddr::new(to.uri()),
            q: 1000,
            expires_at: now,
            call_id: call_id.as_str().to_owned(),
            cseq: cseq.number,
            path: vector,
            flow: direct.then_some(*path),
            outbound: None,
        };
        Ok((aor, change, template))
    }

    /// The address-of-record.
    #[must_use]
    pub fn aor(&self) -> &AddressOfRecord {
        &self.aor
    }

    /// The REGISTER.
    #[must_use]
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// The first question.
    #[must_use]
    pub fn begin(self: Box<Self>) -> Step {
        Step::Ask(Question::Lookup { aor: self.aor.clone() }, self)
    }

    /// Goes on with the answer to the last question.
    #[must_use]
    pub fn answer(mut self: Box<Self>, now: Instant, answer: Answer) -> Step {
        match answer {
            Answer::Found(bindings) => self.compute(now, &bindings),
            Answer::Conflict(bindings) => {
                self.attempts = self.attempts.saturating_add(1);
                if self.attempts >= ATTEMPTS {
                    let attempts = self.attempts;
                    return Step::Refused(self, Refusal::Contended(attempts));
                }
                self.compute(now, &bindings)
            }
            Answer::Updated => {
                let list = self.proposed.take().unwrap_or_else(|| Arc::new([]));
                Step::Done(self, list)
            }
            Answer::Failed(error) => Step::Refused(self, error.into()),
        }
    }

    fn compute(mut self: Box<Self>, now: Instant, current: &Bindings) -> Step {
        let list = match self.change.apply(now, &current.list, &self.template, self.limit) {
            Ok(list) => list,
            Err(refusal) => return Step::Refused(self, refusal),
        };
        if matches!(self.change, Change::Query) {
            return Step::Done(self, list.into());
        }
        let list: Arc<[Binding]> = list.into_iter().map(|binding| self.with_flow(binding)).collect();
        self.proposed = Some(list.clone());
        let question = Question::Update { aor: self.aor.clone(), expected: current.version, bindings: list };
        Step::Ask(question, self)
    }

    /// Keeps the way the REGISTER came only where it has to be taken back: always for a flow of RFC 5626 §6.
    fn with_flow(&self, mut binding: Binding) -> Binding {
        let Some(flow) = binding.flow.filter(|_| self.is_mine(&binding)) else { return binding };
        let keep = binding.outbound.is_some() || leads_back(&self.request, binding.uri(), &flow);
        if !keep {
            binding.flow = None;
        }
        binding
    }

    /// Whether this very request has made or refreshed the binding.
    pub(crate) fn is_mine(&self, binding: &Binding) -> bool {
        binding.call_id == self.template.call_id && binding.cseq == self.template.cseq
    }

    /// The 200 (§10.3 step 8): all bindings with what is left of their time, the Path that came, the date.
    ///
    /// To a phone itself that offers to keep its flow alive it says how often (RFC 5626 §5.4, RFC 6223 §4.4).
    ///
    /// `gruus` gives the GRUUs of a binding, public and temporary, which a phone that knows of them is told (RFC 5627 §5.2).
    pub fn accepted(
        &self,
        now: Instant,
        date: &str,
        bindings: &[Binding],
        mut gruus: impl FnMut(&Binding, &InstanceId) -> [Option<Uri>; 2],
    ) -> ResponseBuilder {
        let knows_gruus = supports(&self.request, "gruu");
        let mut request = self.request.clone();
        let direct = is_direct(&request);
        if direct
            && let Ok(Some(mut via)) = request.headers.get::<Via>()
            && via.keep() == Some(None)
        {
            via.set_param("keep", Some(&self.keep_alive.to_string()));
            request.headers.replace_first(&via);
        }
        let mut reply = request.reply(StatusCode::OK);
        if self.change.has_flows() && supports(&request, "outbound") {
            reply = reply.header(&Require::new("outbound"));
            if direct {
                reply = reply.header(&FlowTimer(self.keep_alive));
            }
        }
        for binding in bindings {
            let mut contact = binding.contact_field(now);
            if let (Contact::Address(address), Some(instance), true) =
                (&mut contact, binding.instance(), knows_gruus)
            {
                for (name, gruu) in ["pub-gruu", "temp-gruu"].into_iter().zip(gruus(binding, &instance)) {
                    if let Some(gruu) = gruu {
                        address.set_param(name, Some(&format!("\"{gruu}\"")));
                    }
                }
            }
            reply = reply.header(&contact);
        }
        reply.copy(&self.request.headers, HeaderName::PATH).raw(HeaderName::DATE, date)
    }
}

/// The path vector (RFC 3327 §5.3): refused, as recommended there, if the client does not know of it.
fn path_vector(request: &Request) -> Result<Arc<[NameAddr]>, Refusal> {
    let vector: Vec<NameAddr> =
        request.headers.all::<PathField>().map(|one| one.map(|one| one.0)).collect::<Result<_, _>>()?;
    if !vector.is_empty() && !supports(request, "path") {
        return Err(Refusal::PathNotSupported);
    }
    Ok(vector.into())
}

/// RFC 5627 §5.1: an instance that is reached by its own address-of-record or GRUU is a loop.
fn not_itself(request: &Request, aor: &AddressOfRecord, domains: &Domains) -> Result<(), Refusal> {
    let mut contacts = request.headers.all::<Contact>().filter_map(Result::ok);
    let leads_here = |contact: Contact| {
        contact.uri().is_some_and(|uri| uri.is_gruu() && domains.of(uri).is_some())
            || (contact.instance().is_some()
                && contact.uri().is_some_and(|uri| domains.aor(uri).as_ref() == Some(aor)))
    };
    if contacts.any(leads_here) { Err(Refusal::Itself) } else { Ok(()) }
}

/// RFC 5630 §5.2: a binding to a `sips` Contact is made only if Request-URI, Path and all Contacts are `sips` as well, or a
/// secure address would lead over ways that are not.
fn all_or_nothing_sips(request: &Request, path: &[NameAddr]) -> Result<(), Refusal> {
    let contacts = request.headers.all::<Contact>().filter_map(Result::ok);
    let (mut any, mut all) = (false, true);
    for contact in contacts {
        let sips = contact.uri().is_some_and(|uri| uri.is_sips());
        (any, all) = (any || sips, all && sips);
    }
    let addressed = request.uri().is_ok_and(|uri| uri.is_sips());
    let throughout = all && addressed && path.iter().all(|one| one.uri().is_sips());
    if any && !throughout { Err(Refusal::SipsMixed) } else { Ok(()) }
}

/// Whether the flows of RFC 5626 §6 are to be registered for a REGISTER that names one.
#[derive(Clone, Copy)]
enum Outbound {
    /// It came straight from the phone, or its first proxy holds the flow.
    Possible,
    /// Its first proxy does not, and the phone has said that it relies on it.
    Refused,
    /// Likewise, but the phone does without.
    Ignored,
}

impl Outbound {
    fn of(request: &Request, path: &[NameAddr]) -> Self {
        if is_direct(request) || path.iter().any(|proxy| proxy.uri().has_ob()) {
            Self::Possible
        } else if supports(request, "outbound") {
            Self::Refused
        } else {
            Self::Ignored
        }
    }

    /// The flow that a Contact names. One with `reg-id` and no instance names none.
    fn flow(self, contact: &Contact) -> Result<Option<OutboundFlow>, Refusal> {
        match (self, contact.instance().zip(contact.reg_id())) {
            (_, None) | (Self::Ignored, _) => Ok(None),
            (Self::Refused, Some(_)) => Err(Refusal::FirstHopLacksOutbound),
            (Self::Possible, Some((instance, reg_id))) => Ok(Some(OutboundFlow { instance, reg_id })),
        }
    }
}

/// Whether Supported has this option tag.
fn supports(request: &Request, tag: &str) -> bool {
    request.headers.all::<Supported>().flatten().any(|Supported(known)| known.eq_ignore_ascii_case(tag))
}

fn read_contacts(
    request: &Request,
    config: &Config,
    now: Instant,
    outbound: Outbound,
) -> Result<Change, Refusal> {
    if !request.headers.contains(HeaderName::CONTACT) {
        return Ok(Change::Query);
    }
    let expires = request.headers.get::<Expires>()?;
    let mut contacts = Vec::new();
    for contact in request.headers.all::<Contact>() {
        if contacts.len() >= config.max_contacts {
            return Err(Refusal::TooManyContacts(config.max_contacts));
        }
        contacts.push(contact?);
    }
    if contacts.iter().any(Contact::is_star) {
        return if contacts.len() == 1 && expires == Some(Expires(0)) {
            Ok(Change::RemoveAll)
        } else {
            Err(Refusal::Star)
        };
    }
    let general = expires.map_or(config.default_expires, |Expires(seconds)| seconds);
    let minimum = config.min_expires.min(ONE_HOUR);
    let mut wanted = Vec::with_capacity(contacts.len());
    for contact in contacts {
        let seconds = contact.expires().unwrap_or(general);
        if seconds > 0 && seconds < minimum {
            return Err(Refusal::TooBrief { minimum });
        }
        let granted = seconds.min(config.max_expires);
        let q = contact.q().unwrap_or(1000);
        let outbound = outbound.flow(&contact)?;
        let Contact::Address(mut contact) = contact else { continue };
        // RFC 5627 §5.1: those that a phone names are ignored.
        for name in ["expires", "pub-gruu", "temp-gruu"] {
            contact.remove_param(name);
        }
        let expires_at =
            (granted > 0).then(|| now.checked_add(Duration::from_secs(granted.into())).unwrap_or(now));
        wanted.push(Wanted { contact, q, outbound, expires_at });
    }
    let added = || wanted.iter().filter(|one| one.expires_at.is_some());
    if added().count() > 1 && added().any(|one| one.outbound.is_some()) {
        return Err(Refusal::FlowAmongOthers);
    }
    Ok(Change::Contacts(wanted))
}
