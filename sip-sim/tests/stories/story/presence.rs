//! A small server of presence: the table of RFC 3903 behind a core.

use std::time::Instant;

use sip_dialog::compositor::{Compositor, Limits, Request as Publish};
use sip_dialog::{Config, Dialogs, Event};
use sip_message::{Method, headers};
use sip_sim::Sim;
use sip_transport::{Answer, Core, FlowEvent, Query, Received, Transmit, Transport};

pub(crate) struct Presence {
    dialogs: Dialogs,
    table: Compositor,
}

impl Presence {
    pub(crate) fn new(sim: &mut Sim, at: &str) -> Self {
        let locals = Sim::locals(at.parse().unwrap(), &[Transport::Udp]);
        let mut config = Config::new(sip_transaction::Config::new(sim.core_seed(), locals));
        config.allow.push(Method::Publish);
        let limits = Limits { min_expires: 20, max_expires: 40, ..Limits::default() };
        Self { dialogs: Dialogs::new(config), table: Compositor::new(limits) }
    }

    pub(crate) fn assert_nothing_is_left(&self) {
        assert!(self.dialogs.is_idle(), "the presence server keeps something: {:?}", self.dialogs);
        assert!(self.table.is_empty(), "the presence server keeps a publication: {:?}", self.table);
    }

    fn react(&mut self, now: Instant) {
        while let Some(event) = self.dialogs.poll_event() {
            let Event::Request { tx, request, .. } = event else { continue };
            let tag = self.dialogs.token();
            let package: headers::Event = request.headers.require().unwrap();
            let resource = request.uri_text().to_owned();
            let asked = Publish::of(&request, &resource, &package);
            let stored = asked.and_then(|asked| self.table.publish(now, asked, &tag));
            let builder = match stored {
                Ok(stored) => stored.write(request.reply(sip_message::StatusCode::OK)),
                Err(refusal) => refusal.write(request.reply(refusal.status)),
            };
            // The transaction may have ended.
            let _ = self.dialogs.respond(now, tx, builder.to_tag(&tag).build().unwrap());
        }
    }
}

impl Core for Presence {
    fn receive(&mut self, now: Instant, received: Received) {
        self.dialogs.receive(now, received);
        self.react(now);
    }

    fn flow_event(&mut self, now: Instant, event: FlowEvent) {
        self.dialogs.flow_event(now, event);
    }

    fn resolved(&mut self, now: Instant, answer: Answer) {
        self.dialogs.resolved(now, answer);
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.table.handle_timeout(now);
        self.dialogs.handle_timeout(now);
        self.react(now);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        [self.table.poll_timeout(), self.dialogs.poll_timeout()].into_iter().flatten().min()
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.dialogs.poll_transmit()
    }

    fn poll_query(&mut self) -> Option<Query> {
        self.dialogs.poll_query()
    }
}
