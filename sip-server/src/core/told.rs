//! What the transaction layer tells: requests, responses, and what became of both.

use std::time::Instant;

use sip_message::{HeaderName, Headers};
use sip_transaction::Event;

use super::trunks::Ended;
use super::{ServerCore, requests};
use crate::config::count;

impl ServerCore {
    pub(super) fn event(&mut self, now: Instant, event: Event) {
        if let Event::Failed { tx, .. } = &event
            && self.message_answered(now, *tx, None)
        {
            return;
        }
        let layer = &mut self.layer;
        match event {
            Event::Request { tx, request, path } => {
                let _span = span(request.method(), &request.headers);
                tracing::debug!(uri = request.uri_text(), %path, "request");
                layer.traffic.request(request.method());
                if let Some(calls) = &mut layer.calls {
                    calls.request(now, tx, &request, &path);
                }
                if let Some(lines) = &mut layer.lines
                    && requests::has_to_tag(&request)
                {
                    lines.within(now, tx, &request);
                }
                self.request(now, tx, request, path);
            }
            Event::Ack { request, path } => {
                let _span = span("ACK", &request.headers);
                layer.traffic.request(request.method());
                self.ack(now, request, path);
            }
            Event::Cancelled { tx, request } => {
                let _span = span("CANCEL", &request.headers);
                layer.traffic.request(request.method());
                if let Some(calls) = &mut layer.calls {
                    calls.cancelled(tx);
                }
                if let Some(lines) = &mut layer.lines {
                    lines.cancelled(tx);
                }
                if self.proxy.cancelled(now, tx, &request, layer) {
                    // Its branches' 487, or ours.
                } else if self.desk.forget(tx) || self.book.as_mut().is_some_and(|book| book.forget(tx)) {
                    self.layer.reply_status(now, tx, sip_message::StatusCode::REQUEST_TERMINATED);
                } else if let Some(key) = self.waiting_for.remove(&tx) {
                    // Not forwarded yet: nobody else will answer.
                    self.forget(key);
                    self.layer.reply_status(now, tx, sip_message::StatusCode::REQUEST_TERMINATED);
                }
            }
            Event::Response { tx, mut response, path } => {
                // RFC 3325 §5 holds for responses too.
                if self.calls.is_some() && !self.trusts(&path) {
                    response.headers.remove(HeaderName::P_ASSERTED_IDENTITY);
                }
                let _span = span(response.status().code(), &response.headers);
                tracing::debug!(%path, "response");
                if self.message_answered(now, tx, Some(&response)) {
                    return;
                }
                let layer = &mut self.layer;
                if let Some(events) = &mut self.events
                    && events.answered(now, tx, &response, layer)
                {
                    return;
                }
                match self.trunks.ended(tx, Some(response.status())) {
                    Some(own) => self.trunk_answered(now, own, Ended::Answered(Box::new(response))),
                    None => self.proxy.response(now, tx, response, layer),
                }
            }
            Event::Failed { tx, failure }
                if self.events.as_mut().is_some_and(|events| events.failed(now, tx, &failure, layer)) => {}
            Event::Failed { tx, failure } => match self.trunks.ended(tx, None) {
                Some(own) => self.trunk_answered(now, own, Ended::Failed),
                None => self.proxy.failed(now, tx, &failure, layer),
            },
            // RFC 6026 §7.3: a stateful proxy forwards no stray responses.
            Event::Stray { .. } => count(&mut layer.counters.responses_dropped),
            Event::ClientTerminated { tx } => self.proxy.client_terminated(now, tx, layer),
            Event::ServerTerminated { tx } => {
                self.message_over(tx);
                self.desk.forget(tx);
                if let Some(key) = self.waiting_for.remove(&tx) {
                    self.forget(key);
                }
                if let Some(calls) = &mut self.layer.calls {
                    calls.transaction_over(tx);
                }
                if let Some(lines) = &mut self.layer.lines {
                    lines.transaction_over(now, tx);
                }
                self.proxy.server_terminated(tx);
            }
            // The layer has done what is to be done; a proxy has no dialog to end.
            Event::Unacknowledged { .. } | Event::Undelivered { .. } => {}
            _ => {}
        }
    }
}

/// Every line of the log that belongs to a message says to which call.
fn span(what: impl std::fmt::Display, headers: &Headers) -> tracing::span::EnteredSpan {
    tracing::info_span!("sip", %what, call_id = headers.text(HeaderName::CALL_ID)).entered()
}
