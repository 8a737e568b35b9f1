//! The server's side of PUBLISH (RFC 3903 §6): who published what under which entity-tag, as a table without I/O.
//!
//! ```
//! use sip_dialog::compositor::{Compositor, Limits, Request as Publish};
//! use std::time::Instant;
//! let (mut table, now) = (Compositor::new(Limits::default()), Instant::now());
//! let body = sip_dialog::Body { content_type: "application/pidf+xml".into(), octets: "<presence/>".into() };
//! let initial = Publish { resource: "sip:a@example.com", package: "presence", expires: None, if_match: None, body: Some(body) };
//! let stored = table.publish(now, initial, "tag1")?;
//! assert_eq!((stored.etag.as_str(), stored.expires), ("tag1", 3600));
//! assert_eq!(table.states("sip:a@example.com", "presence").count(), 1);
//! # Ok::<(), sip_dialog::compositor::Refusal>(())
//! ```

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use sip_message::headers::{Event, Expires, MinExpires, SipETag, SipIfMatch};
use sip_message::{HeaderName, ResponseBuilder, StatusCode};

use crate::event::Body;
use crate::subscription::later;

/// What the table holds at most, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Seconds of a PUBLISH without Expires.
    pub default_expires: u32,
    /// The fewest seconds: less is answered 423 (RFC 3903 §6, step 5).
    pub min_expires: u32,
    /// The most seconds.
    pub max_expires: u32,
    /// Publications at one time; over it 503.
    pub publications: usize,
    /// Publications of one resource and package, one for each device; over it 480: a phone that forgets its tag at each start
    /// must not fill the table.
    pub per_resource: usize,
    /// Octets of a body; over it 413.
    pub body: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            default_expires: 3600,
            min_expires: 60,
            max_expires: 7200,
            publications: 100_000,
            per_resource: 32,
            body: 64 * 1024,
        }
    }
}

/// What a PUBLISH asks for.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// The resource: the Request-URI's canonical address-of-record.
    pub resource: &'a str,
    /// The package.
    pub package: &'a str,
    /// Expires, if there is one.
    pub expires: Option<u32>,
    /// SIP-If-Match, if there is one.
    pub if_match: Option<String>,
    /// The body, if there is one.
    pub body: Option<Body>,
}

impl<'a> Request<'a> {
    /// What a PUBLISH asks for, with `resource` as the server names it.
    ///
    /// # Errors
    /// 489 without a package, 400 for a field that cannot be read (RFC 3903 §6, steps 2, 4 and 5).
    pub fn of(
        publish: &'a sip_message::Request,
        resource: &'a str,
        event: &'a Event,
    ) -> Result<Self, Refusal> {
        let bad = |_| Refusal::of(StatusCode::BAD_REQUEST);
        if publish.headers.count(HeaderName::SIP_IF_MATCH) > 1 {
            return Err(Refusal::of(StatusCode::BAD_REQUEST));
        }
        let content_type = publish.headers.text(HeaderName::CONTENT_TYPE);
        let octets = publish.body();
        Ok(Self {
            resource,
            package: &event.token,
            expires: publish.headers.get::<Expires>().map_err(bad)?.map(|expires| expires.0),
            if_match: publish.headers.get::<SipIfMatch>().map_err(bad)?.map(|tag| tag.0),
            body: (!octets.is_empty()).then(|| Body {
                content_type: content_type.unwrap_or_default().into(),
                octets: octets.clone(),
            }),
        })
    }
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The new entity-tag (RFC 3903 §6, step 6: each 2xx has one).
    pub etag: String,
    /// Seconds granted; 0 after a removal.
    pub expires: u32,
    /// Whether the state of the resource is another one now, so that its subscribers have to be notified.
    pub changed: bool,
}

impl Stored {
    /// The fields of the 200.
    pub fn write(&self, builder: ResponseBuilder) -> ResponseBuilder {
        builder.header(&SipETag::new(&self.etag)).header(&Expires(self.expires))
    }
}

/// Why a PUBLISH is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the publication is refused with {status}")]
pub struct Refusal {
    /// The status to answer with.
    pub status: StatusCode,
    /// The Min-Expires of a 423.
    pub min_expires: Option<u32>,
}

impl Refusal {
    fn of(status: StatusCode) -> Self {
        Self { status, min_expires: None }
    }

    /// The fields of the response.
    pub fn write(&self, builder: ResponseBuilder) -> ResponseBuilder {
        match self.min_expires {
            Some(least) => builder.header(&MinExpires(least)),
            None => builder,
        }
    }
}

/// A publication that is stored.
#[derive(Clone, Copy, Debug)]
pub struct Publication<'a> {
    /// Whose state.
    pub resource: &'a str,
    /// The package.
    pub package: &'a str,
    /// What was published.
    pub body: &'a Body,
    /// When it is over.
    pub expires_at: Instant,
}

#[derive(Debug)]
struct Entry {
    resource: (String, String),
    body: Body,
    expires_at: Instant,
}

/// The publications of a server.
#[derive(Debug, Default)]
pub struct Compositor {
    limits: Limits,
    entries: HashMap<String, Entry>,
    of_resource: HashMap<(String, String), Vec<String>>,
    deadlines: BTreeSet<(Instant, String)>,
}

impl Compositor {
    /// A table without publications.
    pub fn new(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Other limits, for publications from now on.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Does what a PUBLISH asks for (RFC 3903 §6): initial, refresh, modify or remove. `etag` is a fresh token that nobody
    /// can guess; what is stored gets it as its entity-tag.
    ///
    /// # Errors
    /// The status to answer with; nothing has changed then.
    pub fn publish(&mut self, now: Instant, request: Request<'_>, etag: &str) -> Result<Stored, Refusal> {
        let limits = &self.limits;
        let resource = (request.resource.to_owned(), request.package.to_owned());
        let asked = request.expires.unwrap_or(limits.default_expires);
        if asked > 0 && asked < limits.min_expires {
            let min_expires = Some(limits.min_expires);
            return Err(Refusal { status: StatusCode::INTERVAL_TOO_BRIEF, min_expires });
        }
        let granted = asked.min(limits.max_expires);
        if request.body.as_ref().is_some_and(|body| body.octets.len() > limits.body) {
            return Err(Refusal::of(StatusCode::REQUEST_ENTITY_TOO_LARGE));
        }
        // Step 4: a tag that is not this resource's, or is over, fails whatever else is asked.
        let old = request.if_match.map(|tag| {
            let live = |entry: &&Entry| entry.resource == resource && entry.expires_at > now;
            self.entries.get(&tag).filter(live).map(|entry| entry.body.clone()).map(|body| (tag, body))
        });
        let old = match old {
            Some(None) => return Err(Refusal::of(StatusCode::CONDITIONAL_REQUEST_FAILED)),
            Some(Some(old)) => Some(old),
            None => None,
        };
        let refreshes = request.body.is_none();
        let body = match (request.body, &old) {
            (Some(body), _) => body,
            (None, Some((_, body))) => body.clone(),
            // Step 6: an initial publication has a body.
            (None, None) => return Err(Refusal::of(StatusCode::BAD_REQUEST)),
        };
        if old.is_none() && granted > 0 {
            let of_it = self.of_resource.get(&resource).map_or(0, Vec::len);
            if self.entries.len() >= self.limits.publications {
                return Err(Refusal::of(StatusCode::SERVICE_UNAVAILABLE));
            }
            if of_it >= self.limits.per_resource {
                return Err(Refusal::of(StatusCode::TEMPORARILY_UNAVAILABLE));
            }
        }
        if self.entries.contains_key(etag) {
            return Err(Refusal::of(StatusCode::SERVER_INTERNAL_ERROR)); // the caller's tokens are not fresh
        }
        let changed = match &old {
            Some((_, known)) => granted == 0 || (!refreshes && *known != body),
            None => granted > 0,
        };
        if let Some((tag, _)) = old {
            self.remove(&tag);
        }
        if granted > 0 {
            let expires_at = later(now, Duration::from_secs(granted.into()));
            self.deadlines.insert((expires_at, etag.to_owned()));
            self.of_resource.entry(resource.clone()).or_default().push(etag.to_owned());
            self.entries.insert(etag.to_owned(), Entry { resource, body, expires_at });
        }
        Ok(Stored { etag: etag.to_owned(), expires: granted, changed })
    }

    /// What is published about a resource, the oldest tag first.
    pub fn states(&self, resource: &str, package: &str) -> impl Iterator<Item = &Body> {
        let tags = self.of_resource.get(&(resource.to_owned(), package.to_owned()));
        tags.into_iter().flatten().filter_map(|tag| self.entries.get(tag)).map(|entry| &entry.body)
    }

    /// The publication of this entity-tag.
    pub fn find(&self, etag: &str) -> Option<Publication<'_>> {
        self.entries.get(etag).map(|entry| Publication {
            resource: &entry.resource.0,
            package: &entry.resource.1,
            body: &entry.body,
            expires_at: entry.expires_at,
        })
    }

    /// Puts a publication back that a process before has stored, of a resource and package, for so many seconds. `false` if there is
    /// one of this tag, or no room.
    pub fn restore(
        &mut self,
        now: Instant,
        (resource, package): (&str, &str),
        etag: &str,
        body: Body,
        expires: u32,
    ) -> bool {
        if self.entries.contains_key(etag) || self.entries.len() >= self.limits.publications || expires == 0 {
            return false;
        }
        let resource = (resource.to_owned(), package.to_owned());
        let expires_at = later(now, Duration::from_secs(expires.into()));
        self.deadlines.insert((expires_at, etag.to_owned()));
        self.of_resource.entry(resource.clone()).or_default().push(etag.to_owned());
        self.entries.insert(etag.to_owned(), Entry { resource, body, expires_at });
        true
    }

    /// When the next publication is over.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// Forgets what is over; the resources and packages whose state that changed.
    pub fn handle_timeout(&mut self, now: Instant) -> Vec<(String, String)> {
        let mut changed = Vec::new();
        while let Some((at, tag)) = self.deadlines.first().cloned() {
            if at > now {
                break;
            }
            if let Some(resource) = self.remove(&tag)
                && !changed.contains(&resource)
            {
                changed.push(resource);
            }
        }
        changed
    }

    /// Publications that are stored.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing is stored.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.of_resource.is_empty() && self.deadlines.is_empty()
    }

    fn remove(&mut self, tag: &str) -> Option<(String, String)> {
        let entry = self.entries.remove(tag)?;
        self.deadlines.remove(&(entry.expires_at, tag.to_owned()));
        if let Some(tags) = self.of_resource.get_mut(&entry.resource) {
            tags.retain(|other| other != tag);
            if tags.is_empty() {
                self.of_resource.remove(&entry.resource);
            }
        }
        Some(entry.resource)
    }
}
