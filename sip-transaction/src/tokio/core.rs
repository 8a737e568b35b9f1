//! The transaction layer with mailboxes, as a core for the driver.

use crate::config::Config;
use crate::error::{CancelError, Failure, SendError, Unrespondable};
use crate::event::{ClientTx, Event, ServerTx, Target};
use crate::layer::Transactions;
use ::tokio::sync::Notify;
use sip_message::{HeaderName, Headers, Method, Request, Response, StatusCode};
use sip_transport::{Answer, Backlog, Close, Core, FlowEvent, Path, Query, Queues, Received, Transmit};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

/// Responses that wait in one client's mailbox. A peer can send any number of 1xx and of 2xx with ever new tags; of
/// those beyond, the oldest provisional one is dropped, or the newest.
const MAILBOX: usize = 64;

/// What a client transaction's handle waits for.
#[derive(Debug, Default)]
struct ClientBox {
    waiting: VecDeque<Result<Response, Failure>>,
    arrived: Arc<Notify>,
    /// Nothing more will come.
    over: bool,
}

/// What the handle of an INVITE's server transaction waits for.
#[derive(Debug, Default)]
struct ServerBox {
    cancel: Option<Box<Request>>,
    arrived: Arc<Notify>,
}

/// What waits to be accepted.
#[derive(Debug)]
#[allow(clippy::large_enum_variant)] // a request is most of what waits
pub(super) enum Item {
    Request { tx: ServerTx, request: Request, path: Path },
    Ack { request: Request, path: Path },
    Stray { response: Response, path: Path },
}

/// What a look into the queue finds.
#[derive(Debug)]
#[allow(clippy::large_enum_variant)] // moved once, to who accepts
pub(super) enum Taken {
    Some(Item),
    Nothing,
    Closed,
}

#[derive(Debug)]
pub(super) struct EndpointCore {
    pub(super) layer: Transactions,
    out: Queues<Event>,
    clients: HashMap<ClientTx, ClientBox>,
    servers: HashMap<ServerTx, ServerBox>,
    queue: VecDeque<Item>,
    queue_limit: usize,
    arrived: Arc<Notify>,
    closed: bool,
}

impl EndpointCore {
    pub(super) fn new(config: Config, queue_limit: usize) -> Self {
        Self {
            layer: Transactions::new(config),
            out: Queues::new(),
            clients: HashMap::new(),
            servers: HashMap::new(),
            queue: VecDeque::new(),
            queue_limit,
            arrived: Arc::default(),
            closed: false,
        }
    }

    pub(super) fn send(
        &mut self,
        now: Instant,
        request: Request,
        target: Target,
    ) -> Result<(ClientTx, Arc<Notify>), SendError> {
        let tx = self.layer.send(now, request, target, &mut self.out)?;
        let mailbox = ClientBox { over: self.closed, ..ClientBox::default() };
        let arrived = mailbox.arrived.clone();
        self.clients.insert(tx, mailbox);
        self.settle(now); // it may have failed already
        Ok((tx, arrived))
    }

    pub(super) fn acknowledge(&mut self, ack: Request, target: Target) -> Result<(), SendError> {
        self.layer.send_stateless(ack, target, &mut self.out)
    }

    /// The next response of a client transaction. `Some(None)`: nothing yet. `None`: nothing more.
    pub(super) fn next_response(&mut self, tx: ClientTx) -> Option<Option<Result<Response, Failure>>> {
        let mailbox = self.clients.get_mut(&tx)?;
        match mailbox.waiting.pop_front() {
            Some(response) => Some(Some(response)),
            None if mailbox.over => None,
            None => Some(None),
        }
    }

    pub(super) fn cancel(&mut self, now: Instant, tx: ClientTx, extra: &Headers) -> Result<(), CancelError> {
        let cancelled = self.layer.cancel(now, tx, extra, &mut self.out);
        self.settle(now);
        cancelled
    }

    /// The client's handle is gone.
    pub(super) fn forget_client(&mut self, now: Instant, tx: ClientTx, cancel: bool) {
        let mailbox = self.clients.remove(&tx);
        if cancel && mailbox.is_some_and(|mailbox| !mailbox.over) {
            // A final response that crosses makes this an error, and nothing to be done.
            let _ = self.layer.cancel(now, tx, &Headers::new(), &mut self.out);
            self.settle(now);
        }
    }

    pub(super) fn respond(
        &mut self,
        now: Instant,
        tx: ServerTx,
        response: &Response,
    ) -> Result<(), Unrespondable> {
        self.layer.respond_ref(now, tx, response, &mut self.out)?;
        if response.status().is_final()
            && let Some(mailbox) = self.servers.remove(&tx)
        {
            mailbox.arrived.notify_waiters();
        }
        self.settle(now);
        Ok(())
    }

    /// The CANCEL for an INVITE, or what tells of its coming. `None`: it has its final answer.
    pub(super) fn cancelled(&mut self, tx: ServerTx) -> Option<Result<Request, Arc<Notify>>> {
        let mailbox = self.servers.get(&tx)?;
        Some(match &mailbox.cancel {
            Some(cancel) => Ok(Request::clone(cancel)),
            None if self.closed => return None,
            None => Err(mailbox.arrived.clone()),
        })
    }

    pub(super) fn arrived(&self) -> Arc<Notify> {
        self.arrived.clone()
    }

    pub(super) fn take(&mut self) -> Taken {
        match self.queue.pop_front() {
            Some(item) => {
                // One permit may stand for several that arrived: wake the next who waits.
                if !self.queue.is_empty() {
                    self.arrived.notify_one();
                }
                Taken::Some(item)
            }
            None if self.closed => Taken::Closed,
            None => Taken::Nothing,
        }
    }

    pub(super) fn close(&mut self, now: Instant) {
        self.closed = true;
        for item in std::mem::take(&mut self.queue) {
            if let Item::Request { tx, request, .. } = item {
                self.refuse(now, tx, &request);
            }
        }
        self.arrived.notify_one();
        for mailbox in self.clients.values_mut() {
            if !mailbox.over {
                mailbox.waiting.push_back(Err(Failure::Closed));
            }
            mailbox.over = true;
            mailbox.arrived.notify_one();
        }
        for mailbox in self.servers.values() {
            mailbox.arrived.notify_waiters();
        }
    }

    /// Brings what the layer told to where it is waited for.
    fn settle(&mut self, now: Instant) {
        while let Some(event) = self.out.events.pop_front() {
            match event {
                Event::Request { tx, request, path } => self.enqueue_request(now, tx, request, path),
                Event::Ack { request, path } => self.enqueue(Item::Ack { request, path }),
                Event::Stray { response, path } => self.enqueue(Item::Stray { response, path }),
                Event::Cancelled { tx, request } => {
                    if let Some(mailbox) = self.servers.get_mut(&tx) {
                        mailbox.cancel = Some(Box::new(request));
                        mailbox.arrived.notify_waiters();
                    }
                }
                Event::Response { tx, response, path } => self.deliver(tx, response, path),
                Event::Failed { tx, failure } => {
                    if let Some(mailbox) = self.clients.get_mut(&tx) {
                        mailbox.waiting.push_back(Err(failure));
                        mailbox.over = true;
                        mailbox.arrived.notify_one();
                    }
                }
                Event::ClientTerminated { tx } => {
                    if let Some(mailbox) = self.clients.get_mut(&tx) {
                        mailbox.over = true;
                        mailbox.arrived.notify_one();
                    }
                }
                Event::ServerTerminated { tx } => {
                    if let Some(mailbox) = self.servers.remove(&tx) {
                        mailbox.arrived.notify_waiters();
                    }
                }
                // Nobody can do anything about these; they are in the counters.
                Event::Unacknowledged { .. } | Event::Undelivered { .. } => {}
            }
        }
    }

    fn deliver(&mut self, tx: ClientTx, response: Response, path: Path) {
        let invite = response.headers.get::<sip_message::headers::CSeq>();
        let invite = matches!(invite, Ok(Some(cseq)) if cseq.method == Method::Invite);
        let accepted = invite && response.status().is_success();
        let Some(mailbox) = self.clients.get_mut(&tx) else {
            // The handle was dropped; a 2xx that crossed the CANCEL wants ACK and BYE all the same.
            if accepted {
                self.enqueue(Item::Stray { response, path });
            }
            return;
        };
        if response.status().is_final() && !accepted {
            mailbox.over = true;
        }
        if mailbox.waiting.len() >= MAILBOX {
            let provisional = |waiting: &Result<Response, Failure>| {
                waiting.as_ref().is_ok_and(|response| response.status().is_provisional())
            };
            match mailbox.waiting.iter().position(provisional) {
                Some(oldest) => drop(mailbox.waiting.remove(oldest)),
                None => return, // only 2xx, each of which comes again
            }
        }
        mailbox.waiting.push_back(Ok(response));
        mailbox.arrived.notify_one();
    }

    fn enqueue_request(&mut self, now: Instant, tx: ServerTx, request: Request, path: Path) {
        if self.queue.len() >= self.queue_limit || self.closed {
            self.refuse(now, tx, &request);
            return;
        }
        if *request.method() == Method::Invite {
            self.servers.insert(tx, ServerBox::default());
        }
        self.enqueue(Item::Request { tx, request, path });
    }

    /// Answers for an application that does not come to it: 503, or 500 inside a dialog, which a 503 could end.
    fn refuse(&mut self, now: Instant, tx: ServerTx, request: &Request) {
        let in_dialog = request.headers.tag(HeaderName::TO).is_some();
        let status =
            if in_dialog { StatusCode::SERVER_INTERNAL_ERROR } else { StatusCode::SERVICE_UNAVAILABLE };
        let (tag, seconds) = (self.layer.token(), self.layer.retry_after().to_string());
        if let Ok(refusal) = request.reply(status).to_tag(&tag).raw("Retry-After", &seconds).build() {
            // It may be over by now, and then needs no answer.
            let _ = self.layer.respond_ref(now, tx, &refusal, &mut self.out);
        }
    }

    /// ACKs and strays beyond the limit are dropped: both come again.
    fn enqueue(&mut self, item: Item) {
        if self.queue.len() < self.queue_limit && !self.closed {
            self.queue.push_back(item);
            self.arrived.notify_one();
        }
    }
}

impl Core for EndpointCore {
    fn receive(&mut self, now: Instant, received: Received) {
        self.layer.receive(now, received, &mut self.out);
        self.settle(now);
    }

    fn backlog(&mut self, now: Instant, backlog: Backlog) {
        self.layer.backlog(now, backlog);
    }

    fn flow_event(&mut self, now: Instant, event: FlowEvent) {
        self.layer.flow_event(now, event, &mut self.out);
        self.settle(now);
    }

    fn resolved(&mut self, now: Instant, answer: Answer) {
        self.layer.resolved(now, answer, &mut self.out);
        self.settle(now);
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.layer.handle_timeout(now, &mut self.out);
        self.settle(now);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.layer.poll_timeout()
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.out.transmits.pop_front()
    }

    fn poll_query(&mut self) -> Option<Query> {
        self.out.queries.pop_front()
    }

    fn poll_close(&mut self) -> Option<Close> {
        self.out.closes.pop_front()
    }
}
