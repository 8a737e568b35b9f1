//! PUBLISH in (RFC 3903 §6), of presence also by what has changed alone (RFC 5264).

use std::time::Instant;

use sip_dialog::packages::partial_presence::PartialPresence;
use sip_dialog::packages::presence::Presence;
use sip_dialog::{Body, compositor};
use sip_message::headers::{Accept, Event};
use sip_message::{HeaderName, Request, StatusCode};
use sip_transaction::ServerTx;

use super::documents::is_readable;
use super::{EventServer, Package};
use crate::AddressOfRecord;
use crate::config::count;
use crate::proxy::Layer;

impl EventServer {
    /// A PUBLISH about the state of `aor`, by somebody who may.
    pub(crate) fn publish(
        &mut self,
        now: Instant,
        tx: ServerTx,
        request: &Request,
        (package, aor): (Package, &AddressOfRecord),
        layer: &mut Layer,
    ) {
        // Step 3 of §6: what nobody could read is not stored.
        let body = request.body();
        let content_type = request.headers.text(HeaderName::CONTENT_TYPE).unwrap_or_default();
        let content_type = content_type.split(';').next().unwrap_or_default().trim();
        let is_of_package = content_type.eq_ignore_ascii_case(package.content_type());
        let is_partial =
            package == Package::Presence && content_type.eq_ignore_ascii_case(PartialPresence::CONTENT_TYPE);
        let encoded = request.headers.contains(HeaderName::CONTENT_ENCODING);
        if !body.is_empty() && (!(is_of_package || is_partial) || encoded) {
            count(&mut layer.counters.refused);
            let reply = request.reply(StatusCode::UNSUPPORTED_MEDIA_TYPE);
            let mut reply = reply.header(&Accept::new(package.content_type()));
            if package == Package::Presence {
                reply = reply.header(&Accept::new(PartialPresence::CONTENT_TYPE));
            }
            return layer.reply(now, tx, reply);
        }
        let small = body.len() <= self.config.publications.body;
        if !body.is_empty() && small && is_of_package && !is_readable(package, body) {
            count(&mut layer.counters.refused);
            let reply = request.reply(StatusCode::BAD_REQUEST).reason("Malformed Document");
            return layer.reply(now, tx, reply);
        }
        let Ok(event) = request.headers.require::<Event>() else {
            return layer.reply(now, tx, request.reply(StatusCode::BAD_REQUEST));
        };
        let etag = layer.transactions.token();
        let mut publish = compositor::Request::of(request, aor.as_str(), &event);
        if let (true, true, Ok(publish)) = (is_partial, small, &mut publish)
            && let Err(Invalid) = self.whole(publish)
        {
            count(&mut layer.counters.refused);
            let reply = request.reply(StatusCode::BAD_REQUEST).reason("Invalid Partial Publication");
            return layer.reply(now, tx, reply);
        }
        let before = publish.as_ref().ok().and_then(|publish| publish.if_match.clone());
        let stored = publish.and_then(|publish| self.compositor.publish(now, publish, &etag));
        match stored {
            Ok(stored) => {
                before.into_iter().chain([etag]).for_each(|etag| self.publication_unkept(etag));
                count(&mut layer.counters.publications);
                layer.reply(now, tx, stored.write(request.reply(StatusCode::OK)));
                if stored.changed {
                    self.published(aor.as_str(), package.name());
                }
                self.pump(now, layer);
            }
            Err(refusal) => {
                count(&mut layer.counters.refused);
                layer.reply(now, tx, refusal.write(request.reply(refusal.status)));
            }
        }
    }

    /// Makes the whole document of one that holds changes, by what is stored under the entity-tag (RFC 5264 §4.3). Where nothing is,
    /// the compositor says so.
    fn whole(&self, publish: &mut compositor::Request<'_>) -> Result<(), Invalid> {
        let Some(body) = publish.body.as_mut().filter(|body| !body.octets.is_empty()) else { return Ok(()) };
        let presence = match PartialPresence::parse(&body.octets) {
            Ok(PartialPresence::Full(full)) => full.presence().ok(),
            Ok(PartialPresence::Diff(diff)) => {
                // An initial publication is a whole one (§4.3.2).
                let tag = publish.if_match.as_deref().ok_or(Invalid)?;
                let stored = self.compositor.find(tag);
                let ours = |of: &compositor::Publication<'_>| {
                    of.resource == publish.resource && of.package == publish.package
                };
                let Some(stored) = stored.filter(ours) else { return Ok(()) };
                let old = Presence::parse(&stored.body.octets).ok();
                old.and_then(|old| diff.apply(&old).ok())
            }
            Err(_) => None,
        };
        let presence = presence.ok_or(Invalid)?;
        *body = Body { content_type: Presence::CONTENT_TYPE.into(), octets: presence.to_xml().into() };
        Ok(())
    }
}

/// A document with changes that cannot be read, or made.
struct Invalid;
