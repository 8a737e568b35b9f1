//! How a script is played.

use std::time::Instant;

use sip_message::headers::{CallId, Contact, From, MaxForwards, To, Via};
use sip_message::{Message, Method, Request, RequestBuilder, Response, ResponseBuilder, StatusCode, Uri};
use sip_transport::{
    Answer, Core, FlowEvent, Local, Path, Query, Received, Token, Transmit, Transport, response,
};

use super::conversation::Conversation;
use super::repeat::Repeat;
use super::{Edit, Script, Step, fits, is_provisional, method_of, name_of};

impl Script {
    pub(super) fn begin_playing(&mut self, now: Instant) {
        self.play(now);
    }

    /// Does one line after the other until one has to wait.
    fn play(&mut self, now: Instant) {
        while let Some(step) = self.steps.get(self.next).cloned() {
            let done = match step {
                Step::Wait(time) => self.is_over(now, time),
                Step::Expect(what) => self.expected(now, &what, true),
                Step::Maybe(what) => self.expected(now, &what, false),
                Step::Reply(status, edit) => {
                    self.do_reply(now, status, &edit);
                    true
                }
                Step::Send(method, edit) => {
                    self.do_send(now, &method, &edit);
                    true
                }
            };
            if !done {
                return;
            }
            self.next = self.next.saturating_add(1);
            (self.wake, self.waiting) = (None, false);
        }
    }

    /// Whether a time is over that began when this was asked first.
    fn is_over(&mut self, now: Instant, time: std::time::Duration) -> bool {
        if !self.waiting {
            (self.wake, self.waiting) = (now.checked_add(time), true);
        }
        self.wake.is_none_or(|wake| wake <= now)
    }

    fn expected(&mut self, now: Instant, what: &str, must: bool) -> bool {
        while let Some((message, _)) = self.inbox.front() {
            if fits(what, message) {
                if let Some((Message::Request(request), path)) = self.inbox.pop_front() {
                    self.current = Some((request, path));
                }
                return true;
            }
            if !must {
                return true;
            }
            let skipped = is_provisional(message);
            if let Some((other, _)) = self.inbox.pop_front()
                && !skipped
            {
                self.problem(format!("expected {what}, and {} came", name_of(&other)));
            }
        }
        if !self.is_over(now, self.patience) {
            return false;
        }
        if must {
            self.problem(format!("expected {what}, and nothing came for {:?}", self.patience));
        }
        true
    }

    fn contact(&self) -> Option<Contact> {
        Local::new(self.transport, self.at).uri(None).ok().map(|uri| Contact::new(&uri))
    }

    fn tag(&self) -> String {
        format!("script-{}", self.at.port()) + &self.at.ip().to_string().replace([':', '.'], "-")
    }

    fn do_reply(&mut self, now: Instant, status: u16, edit: &Edit<ResponseBuilder>) {
        let Some((request, path)) = self.current.clone() else {
            return self.problem(format!("there is no request that {status} could answer"));
        };
        let Some(code) = StatusCode::new(status) else {
            return self.problem(format!("{status} is no status"));
        };
        let mut builder = request.reply(code);
        if status > 100 {
            builder = builder.to_tag(&self.tag());
        }
        if let (Method::Invite, 101..300, Some(contact)) = (request.method(), status, self.contact()) {
            builder = builder.header(&contact);
        }
        match edit(builder).build() {
            Ok(response) => self.answer(now, &request, &path, &response),
            Err(error) => self.problem(format!("reply {status}: {error}")),
        }
    }

    fn answer(&mut self, now: Instant, request: &Request, path: &Path, response: &Response) {
        let Ok(way) = response::path_of(response, path) else {
            return self.problem("the request has no Via to answer to".to_owned());
        };
        let payload = response.to_bytes();
        let transmit =
            Transmit { path: way.path, payload, reopen: way.reopen, domain: None, token: Token::NONE };
        let (branch, method) = (branch_of(request), request.method().to_string());
        let final_to_invite = *request.method() == Method::Invite && response.status().is_final();
        // §17.2.1, §13.3.1.4: until the ACK, a 2xx over any transport, a failure over UDP.
        if final_to_invite && (response.status().is_success() || way.path.transport == Transport::Udp) {
            self.repeats.push(Repeat::new(now, transmit.clone(), &branch, "ACK"));
        }
        self.known.insert((branch, method), Some(transmit.clone()));
        self.out.push_back(transmit);
    }

    fn do_send(&mut self, now: Instant, method: &str, edit: &Edit<RequestBuilder>) {
        let method: Method = method.into();
        if self.conversation.is_none() {
            self.begin();
        }
        match self.build(&method, edit) {
            Ok((request, path)) => {
                let branch = branch_of(&request);
                let payload = request.to_bytes();
                let transmit = Transmit { path, payload, reopen: None, domain: None, token: Token::NONE };
                if method == Method::Ack {
                    self.ack = Some(transmit.clone());
                } else if path.transport == Transport::Udp {
                    self.repeats.push(Repeat::new(now, transmit.clone(), &branch, method.as_str()));
                }
                if let (Method::Invite, Some(conversation)) = (&method, &mut self.conversation) {
                    conversation.invite = Some(request);
                    self.ack = None;
                }
                self.out.push_back(transmit);
            }
            Err(reason) => self.problem(format!("send {method}: {reason}")),
        }
    }

    /// The conversation that our first request begins.
    fn begin(&mut self) {
        let Some((uri, address)) = self.target.clone() else { return };
        let ours: Result<Uri, _> = Local::new(Transport::Udp, self.at).uri(Some("script"));
        let Ok(ours) = ours else { return };
        let local = From::new(&ours).with_tag(&self.tag());
        let call = CallId::new(&format!("{}-{}", self.tag(), self.next_number()));
        self.conversation = Some(Conversation::begun(&uri, local, call, Path::to(self.transport, address)));
    }

    fn build(&mut self, method: &Method, edit: &Edit<RequestBuilder>) -> Result<(Request, Path), String> {
        let number = self.next_number();
        let (contact, tag, at) = (self.contact(), self.tag(), self.at);
        let conversation = self.conversation.as_mut().ok_or("nobody to send it to; use to()")?;
        let path = conversation.path;
        let host = sip_transport::locals::host_text(at.ip());
        // §9.1: a CANCEL has the branch of its INVITE.
        let branch = match (method, &conversation.invite) {
            (Method::Cancel, Some(invite)) => branch_of(invite),
            _ => format!("z9hG4bK-{tag}-{number}"),
        };
        let via = Via::new(path.transport.as_str(), &host, Some(at.port()))
            .with_param("rport", None)
            .with_param("branch", Some(&branch));
        let remote = match method {
            Method::Cancel => To::new(conversation.remote.uri()),
            _ => conversation.remote.clone(),
        };
        let mut builder = Request::builder(method.clone(), &conversation.target)
            .header(&via)
            .header(&MaxForwards(70))
            .header(&conversation.local)
            .header(&remote)
            .header(&conversation.call)
            .header(&conversation.next_cseq(method));
        for route in &conversation.routes {
            builder = builder.header(route);
        }
        if let (Method::Invite | Method::Register | Method::Subscribe, Some(contact)) = (method, contact) {
            builder = builder.header(&contact);
        }
        edit(builder).build().map(|request| (request, path)).map_err(|error| error.to_string())
    }

    fn request_came(&mut self, now: Instant, request: Request, path: Path) {
        let key = (branch_of(&request), request.method().to_string());
        if *request.method() == Method::Ack {
            self.repeats.retain(|repeat| repeat.method != "ACK");
        }
        match self.known.get(&key) {
            Some(Some(answer)) => return self.out.push_back(answer.clone()),
            Some(None) => return,
            None => {}
        }
        if self.conversation.is_none() {
            self.conversation = Conversation::joined(&request, path, &self.tag());
        } else if let Some(conversation) = &mut self.conversation {
            conversation.path = path;
        }
        self.known.insert(key, None);
        if *request.method() == Method::Cancel
            && let Ok(ok) = request.reply(StatusCode::OK).to_tag(&self.tag()).build()
        {
            self.answer(now, &request, &path, &ok);
        }
        self.inbox.push_back((Message::Request(request), path));
    }

    fn response_came(&mut self, response: Response, path: Path) {
        let Ok(Some(via)) = response.headers.get::<Via>() else { return };
        let (branch, method) = (via.branch().unwrap_or_default().to_owned(), method_of(&response));
        let status = response.status();
        // An INVITE is not repeated once anything came, all others until the final response.
        let ends = status.is_final() || method == "INVITE";
        self.repeats.retain(|repeat| !(ends && repeat.branch == branch && repeat.method == method));
        let is_new = self.heard.insert((branch, method.clone(), status.code()));
        if !is_new {
            if method == "INVITE" && status.is_final() {
                self.out.extend(self.ack.clone());
            }
            return;
        }
        if let Some(conversation) = &mut self.conversation {
            conversation.answered(&response);
            if path.transport != Transport::Udp {
                conversation.path = path;
            }
        }
        if method == "INVITE" && status.is_final() && !status.is_success() {
            self.acknowledge_failure(&via);
        }
        self.inbox.push_back((Message::Response(response), path));
    }

    /// §17.1.1.3: the ACK for a failure has the branch of the INVITE.
    fn acknowledge_failure(&mut self, via: &Via) {
        let via = via.clone();
        let keep: Edit<RequestBuilder> = std::sync::Arc::new(|builder| builder);
        let Ok((mut ack, path)) = self.build(&Method::Ack, &keep) else { return };
        let own = ack.headers.pop_front::<Via>();
        if own.is_err() {
            return;
        }
        ack.headers.push_front(&via);
        let transmit =
            Transmit { path, payload: ack.to_bytes(), reopen: None, domain: None, token: Token::NONE };
        self.ack = Some(transmit.clone());
        self.out.push_back(transmit);
    }
}

fn branch_of(request: &Request) -> String {
    let via = request.headers.get::<Via>().ok().flatten();
    via.and_then(|via| via.branch().map(str::to_owned)).unwrap_or_default()
}

impl Core for Script {
    fn receive(&mut self, now: Instant, received: Received) {
        let Received { message, path } = received;
        match message {
            Message::Request(request) => self.request_came(now, request, path),
            Message::Response(response) => self.response_came(response, path),
        }
        self.play(now);
    }

    fn flow_event(&mut self, _now: Instant, _event: FlowEvent) {}

    fn resolved(&mut self, _now: Instant, _answer: Answer) {}

    fn handle_timeout(&mut self, now: Instant) {
        let mut repeats = std::mem::take(&mut self.repeats);
        repeats.retain_mut(|repeat| repeat.fire(now, |transmit| self.out.push_back(transmit)));
        self.repeats = repeats;
        self.play(now);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let repeats = self.repeats.iter().map(|repeat| repeat.next);
        repeats.chain(self.wake).min()
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.out.pop_front()
    }

    fn poll_query(&mut self) -> Option<Query> {
        None
    }
}
