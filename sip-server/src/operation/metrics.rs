//! What the server counts, in the text format of `OpenMetrics` that Prometheus reads.

use std::fmt;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use crate::calls::Histogram;
use crate::{ServerHandle, Snapshot};

/// All metrics of a server as they stand now, in the text format of `OpenMetrics`.
///
/// # Errors
/// None that a text in memory could have.
pub fn metrics(handle: &ServerHandle) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(handle.snapshot()));
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let out = &mut encoder;
        self.messages(out)?;
        self.registrar(out)?;
        self.events(out)?;
        self.proxy(out)?;
        self.transport(out)?;
        self.calls(out)?;
        self.msrp(out)?;
        self.protection(out)
    }
}

impl Snapshot {
    fn messages(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let requests = "New requests, by method; retransmissions are not counted";
        labelled(out, "sip_requests_received", requests, "method", self.traffic.requests())?;
        let classes = self.traffic.responses().map(|(class, count)| (format!("{class}xx"), count));
        labelled(out, "sip_responses_sent", "Responses given, by class", "code_class", classes)?;
        let transactions = &self.counts.transactions;
        counter(out, "sip_retransmissions_sent", "Messages sent again", transactions.retransmitted)?;
        let absorbed = transactions.absorbed.saturating_add(transactions.responses_absorbed);
        counter(out, "sip_retransmissions_received", "Messages that came again", absorbed)?;
        let refused = [
            ("malformed", transactions.bad_requests),
            ("unanswerable", transactions.unanswerable),
            ("merged", transactions.merged),
            ("overload", transactions.refused.saturating_sub(transactions.shed)),
            ("behind", transactions.shed),
        ];
        labelled(
            out,
            "sip_requests_rejected",
            "Requests refused before they were routed",
            "reason",
            refused,
        )?;
        counter(out, "sip_transactions_failed", "Requests sent that nobody answered", transactions.failed)?;
        let early = "Answered requests forgotten before their time, for want of memory";
        counter(out, "sip_transactions_forgotten", early, transactions.gave_way)?;
        counter(out, "sip_failovers", "Attempts at another place (RFC 3263)", transactions.failovers)?;
        gauge(out, "sip_transactions_active", "Transactions that are not over", self.counts.live_transactions)
    }

    fn registrar(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let server = &self.counts.server;
        gauge(out, "sip_registrations_active", "Bindings in memory", self.counts.bindings)?;
        counter(out, "sip_registrations_accepted", "REGISTERs answered 200", server.registered)?;
        counter(out, "sip_registrations_refused", "REGISTERs refused", server.registrations_refused)?;
        counter(out, "sip_challenges_sent", "Answers 401 and 407", server.challenges)?;
        let wrong = [("wrong-credentials", server.wrong_credentials)];
        labelled(out, "sip_auth_failures", "Requests with credentials that do not hold", "reason", wrong)
    }

    fn events(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let server = &self.counts.server;
        gauge(out, "sip_subscriptions_active", "Subscriptions with the server", self.counts.subscriptions)?;
        gauge(out, "sip_publications_active", "Publications held", self.counts.publications)?;
        counter(out, "sip_subscriptions_accepted", "Subscriptions begun", server.subscriptions)?;
        counter(out, "sip_publications_accepted", "PUBLISHes answered 200", server.publications)?;
        counter(out, "sip_notifications_sent", "NOTIFYs sent", server.notifications)?;
        gauge(out, "sip_message_users", "Users with messages that wait", self.counts.message_holders)?;
        counter(out, "sip_messages_kept", "Messages kept for users who were away", server.messages_kept)?;
        counter(out, "sip_messages_delivered", "Of those, delivered", server.messages_delivered)?;
        counter(out, "sip_messages_dropped", "Of those, refused or too old", server.messages_dropped)
    }

    fn proxy(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let server = &self.counts.server;
        gauge(out, "sip_proxy_requests_active", "Requests under way", self.counts.contexts)?;
        counter(out, "sip_proxy_requests", "Requests forwarded with state", server.proxied)?;
        counter(out, "sip_proxy_stateless", "Requests forwarded without state", server.stateless)?;
        counter(out, "sip_proxy_branches", "Branches sent", server.branches)?;
        let refused = [
            ("routing", server.refused),
            ("relay-denied", server.relays_denied),
            ("loop", server.loops),
            ("overload", server.overloaded),
            ("store", server.questions_unanswered),
        ];
        labelled(out, "sip_proxy_refusals", "Requests answered instead of forwarded", "reason", refused)?;
        counter(out, "sip_proxy_timer_c_fired", "Branches that rang too long", server.timer_c)?;
        counter(out, "sip_proxy_redirects_followed", "Redirections followed", server.redirects_followed)?;
        counter(out, "sip_acks_forwarded", "ACKs forwarded", server.acks_forwarded)
    }

    fn transport(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let transport = &self.counts.transport;
        let messages = [("in", transport.received), ("out", transport.sent)];
        labelled(out, "sip_messages", "Messages on the wire", "direction", messages)?;
        gauge(out, "sip_connections_active", "Open connections", self.counts.connections)?;
        let connections = [("accepted", transport.accepted), ("opened", transport.opened)];
        labelled(out, "sip_connections", "Connections made", "side", connections)?;
        let refused = [
            ("limit", transport.refused_total),
            ("limit-per-source", transport.refused_per_source),
            ("handshakes", transport.refused_handshakes),
        ];
        labelled(out, "sip_connections_refused", "Connections refused", "reason", refused)?;
        let handshakes =
            [("failed", transport.handshake_failures), ("timeout", transport.handshake_timeouts)];
        labelled(out, "sip_handshakes_failed", "Handshakes of TLS and WebSocket", "reason", handshakes)?;
        let errors = [
            ("datagram", transport.rejected_datagrams),
            ("message", transport.rejected_messages),
            ("stream", transport.malformed_streams),
        ];
        labelled(out, "sip_parse_errors", "What was no SIP message", "reason", errors)?;
        let overflowed = "Datagrams that came while the socket was full";
        counter(out, "sip_datagrams_overflowed", overflowed, transport.overflowed)?;
        let behind = "Messages that came while too many waited for their thread";
        counter(out, "sip_thread_overflowed", behind, transport.shard_overflowed)?;
        let dropped =
            [("send-failed", transport.send_failures), ("buffer-full", transport.datagrams_dropped)];
        labelled(out, "sip_dropped", "Messages that could not be sent", "reason", dropped)
    }

    fn calls(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let Some(calls) = &self.calls else { return Ok(()) };
        gauge(out, "sip_dialogs_active", "Calls under way", calls.live)?;
        let results = calls.results.iter().map(|(status, count)| (status.to_string(), *count));
        labelled(out, "sip_calls", "Calls by the final response to their INVITE", "code", results)?;
        let delay = "From the INVITE to the first 180 or 183";
        histogram(out, "sip_pdd_seconds", delay, &calls.post_dial_delay)?;
        let delay = "From the INVITE to the answer";
        histogram(out, "sip_answer_delay_seconds", delay, &calls.answer_delay)?;
        counter(out, "sip_call_records_lost", "Call records not written", calls.records_lost)
    }
}

impl Snapshot {
    fn msrp(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let Some(relay) = &self.msrp_relay else { return Ok(()) };
        gauge(out, "msrp_relay_connections_active", "Connections of the MSRP relay", relay.connections)?;
        gauge(out, "msrp_relay_uris_active", "URIs of the MSRP relay that are good", relay.grants)?;
        counter(out, "msrp_relay_uris_granted", "URIs that it handed out", relay.granted)?;
        counter(out, "msrp_relay_auth_failures", "Wrong names or passwords", relay.wrong_credentials)?;
        let refused = "Connections refused for want of a place";
        counter(out, "msrp_relay_connections_refused", refused, relay.connections_refused)?;
        counter(
            out,
            "msrp_relay_requests_forwarded",
            "Requests and pieces of them sent on",
            relay.forwarded,
        )?;
        counter(out, "msrp_relay_content_bytes", "Octets of content in them", relay.octets)?;
        counter(out, "msrp_relay_failures_reported", "Failures that senders were told of", relay.failures)
    }

    fn protection(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let Some((watch, banned)) = &self.protection else { return Ok(()) };
        gauge(out, "sip_sources_banned", "Sources that are not heard now", *banned)?;
        let bans = [
            ("wrong-passwords", watch.bans_passwords),
            ("probes", watch.bans_probes),
            ("scanner", watch.bans_scanners),
        ];
        labelled(out, "sip_bans", "Sources shut out", "reason", bans)?;
        let dropped = [("banned", watch.dropped_banned), ("rate", watch.dropped_rate)];
        labelled(out, "sip_source_drops", "Messages not heard because of their source", "reason", dropped)?;
        let help = "Requests refused because their user name was guessed there";
        counter(out, "sip_guessed_names_refused", help, watch.refused_names)
    }
}

fn counter(out: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> fmt::Result {
    out.encode_descriptor(name, help, None, MetricType::Counter)?
        .encode_counter::<NoLabelSet, _, u64>(&value, None)
}

fn gauge(out: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: usize) -> fmt::Result {
    let value = i64::try_from(value).unwrap_or(i64::MAX);
    out.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)
}

fn labelled<L: AsRef<str>>(
    out: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    label: &str,
    values: impl IntoIterator<Item = (L, u64)>,
) -> fmt::Result {
    let mut family = out.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (value, count) in values {
        family
            .encode_family(&[(label, value.as_ref())])?
            .encode_counter::<NoLabelSet, _, u64>(&count, None)?;
    }
    Ok(())
}

fn histogram(out: &mut DescriptorEncoder<'_>, name: &str, help: &str, durations: &Histogram) -> fmt::Result {
    let bound = |bound: Option<Duration>| bound.map_or(f64::MAX, |bound| bound.as_secs_f64());
    let buckets: Vec<(f64, u64)> = durations.buckets().map(|(upper, count)| (bound(upper), count)).collect();
    out.encode_descriptor(name, help, None, MetricType::Histogram)?.encode_histogram::<NoLabelSet>(
        durations.sum().as_secs_f64(),
        durations.count(),
        &buckets,
        None,
    )
}
