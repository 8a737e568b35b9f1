//! PUBLISH in (RFC 3903 §6).

use std::time::Instant;

use sip_dialog::compositor;
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
        let encoded = request.headers.contains(HeaderName::CONTENT_ENCODING);
        if !body.is_empty() && (!is_of_package || encoded) {
            count(&mut layer.counters.refused);
            let reply = request.reply(StatusCode::UNSUPPORTED_MEDIA_TYPE);
            return layer.reply(now, tx, reply.header(&Accept::new(package.content_type())));
        }
        if !body.is_empty() && body.len() <= self.config.publications.body && !is_readable(package, body) {
            count(&mut layer.counters.refused);
            let reply = request.reply(StatusCode::BAD_REQUEST).reason("Malformed Document");
            return layer.reply(now, tx, reply);
        }
        let Ok(event) = request.headers.require::<Event>() else {
            return layer.reply(now, tx, request.reply(StatusCode::BAD_REQUEST));
        };
        let etag = layer.transactions.token();
        let publish = compositor::Request::of(request, aor.as_str(), &event);
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
}
