//! A location store that several servers share: bindings whose phone one of them alone can reach.
//!
//! ```text
//!   phone ══▶ A: its flow ──▶ store: Path <sip:FLOW@A;lr>
//!                                │
//!   caller ──▶ B ◀───────────────┘      B ──▶ Route: <sip:FLOW@A;lr> ──▶ A ══▶ phone
//! ```
//!
//! To the others, A is the edge proxy that the phone registered through (RFC 5626 §5.1): the binding names it in its Path
//! (RFC 3327), and nothing else has to be known of it. The token of the flow stands in the store alone. Whoever sends it is a server
//! that shares the store, has asked the caller who they are, and is not asked again.

use std::sync::Arc;

use sip_message::headers::NameAddr;
use sip_transport::{Local, Path, Transport};

use super::ServerCore;
use crate::location::{Answer, Binding, Bindings, Question};

impl ServerCore {
    /// A question as the other servers are to read it.
    pub(super) fn for_others(&self, question: Question) -> Question {
        match question {
            Question::Update { aor, expected, bindings } if self.shared => {
                let bindings = bindings.iter().map(|binding| self.held_here(binding)).collect();
                Question::Update { aor, expected, bindings }
            }
            question => question,
        }
    }

    /// An answer as this server reads it.
    pub(super) fn read_back(&self, answer: Answer) -> Answer {
        let back = |bindings: Bindings| Bindings {
            version: bindings.version,
            list: bindings.list.iter().map(|binding| self.reached_here(binding)).collect(),
        };
        match answer {
            Answer::Found(bindings) if self.shared => Answer::Found(back(bindings)),
            Answer::Conflict(bindings) if self.shared => Answer::Conflict(back(bindings)),
            answer => answer,
        }
    }

    fn held_here(&self, binding: &Binding) -> Binding {
        let held = binding.flow.and_then(|flow| {
            let local = self.listener_for_others(&flow);
            self.own_routes.held_uri(local, &flow, binding.uri().is_sips())
        });
        match held {
            Some(uri) => Binding { path: Arc::new([NameAddr::new(&uri)]), flow: None, ..binding.clone() },
            None => binding.clone(),
        }
    }

    fn reached_here(&self, binding: &Binding) -> Binding {
        let flow = match &*binding.path {
            [one] if self.domains.is_us(one.uri()) => self.own_routes.held_flow(one.uri()),
            _ => None,
        };
        match flow {
            Some(flow) => Binding { path: Arc::new([]), flow: Some(flow), ..binding.clone() },
            None => binding.clone(),
        }
    }

    /// Where the others send what is for this flow: to the listener that it came to. Servers open no WebSockets (RFC 7118 §3), and take
    /// another one.
    fn listener_for_others(&self, flow: &Path) -> Option<&Local> {
        let locals = self.layer.transactions.locals();
        let opened = |transport| !matches!(transport, Transport::Ws | Transport::Wss);
        if opened(flow.transport) {
            return locals.at(flow);
        }
        let same_side = |local: &&Local| local.bound.ip().is_loopback() == flow.local.ip().is_loopback();
        [Transport::Tls, Transport::Tcp, Transport::Udp]
            .into_iter()
            .find_map(|one| locals.iter().filter(|local| local.transport == one).find(same_side))
            .or_else(|| locals.iter().find(|local| opened(local.transport)))
    }
}
