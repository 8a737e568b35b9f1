//! Chat rooms (RFC 7701): `sip room` hosts one, `sip chat --room` is in one.

use std::collections::BTreeMap;

use serde_json::json;
use sip_dialog::packages::conference::{ConferenceInfo, Roster};
use sip_message::StatusCode;
use sip_ua::{ChatRoom, Phone, RoomMessage, RoomPolicy, SessionError, Subscription};

use crate::account::{Identity, code_of, not_registered};
use crate::args::{ChatArgs, RoomArgs};
use crate::chat::{EXPIRES, History};
use crate::exit::{Code, Failure};
use crate::interrupt::Interrupt;
use crate::output::Output;
use crate::phone::typed;
use crate::sound::SoundArgs;

/// Who is there, by address, and what they are called.
#[derive(Default)]
struct There(BTreeMap<String, Option<String>>);

impl There {
    /// Tells who has come, gone or is called something else.
    fn change(&mut self, now: BTreeMap<String, Option<String>>, output: Output) {
        for who in self.0.keys().filter(|who| !now.contains_key(*who)) {
            output.event(json!({ "event": "left", "who": who }), format_args!("{} left", self.name(who)));
        }
        for (who, name) in &now {
            let before = self.0.get(who);
            if before.is_none() {
                output.event(json!({ "event": "came", "who": who }), format_args!("{who} came"));
            }
            if let Some(name) = name
                && before.is_none_or(|before| before.as_ref() != Some(name))
            {
                output.event(
                    json!({ "event": "nickname", "who": who, "nickname": name }),
                    format_args!("{who} is {name}"),
                );
            }
        }
        self.0 = now;
    }

    fn name<'a>(&'a self, who: &'a str) -> &'a str {
        self.0.get(who).and_then(Option::as_deref).unwrap_or(who)
    }
}

/// `sip room`.
pub(crate) async fn host(args: RoomArgs, output: Output, mut interrupt: Interrupt) -> Result<Code, Failure> {
    let mut policy = RoomPolicy::default();
    policy.nicknames = !args.no_nicknames;
    policy.private_messages = !args.no_private_messages;
    policy.reserved_nicknames.clone_from(&args.reserve);
    policy.sessions = args.sessions;
    policy.sessions_of_one = args.sessions_of_one;
    policy.max_size = args.message_limit;
    let room = ChatRoom::new(&args.uri, policy).map_err(Failure::fault)?;
    let identity = Identity {
        address: &args.uri,
        account: &args.account,
        tls: &args.tls,
        listen: &args.listen,
        expires: EXPIRES,
        instance: None,
        peer: Some(&args.uri),
        sound: &SoundArgs::default(),
        sessions: &args.session,
        focus: true,
    };
    let phone = identity.bind().await?;
    output.listening(&phone.locals());
    if !args.no_register {
        let registered = tokio::select! {
            registered = phone.register() => registered,
            () = interrupt.requested() => return Ok(Code::Well),
        };
        if let Err(error) = registered {
            phone.close().await;
            return Err(not_registered(&args.uri, &error));
        }
    }
    output.event(json!({ "event": "ready", "uri": args.uri }), format_args!("room {}", args.uri));
    let mut there = There::default();
    let serving = room.serve(&phone);
    tokio::pin!(serving);
    loop {
        let changed = room.changed();
        there.change(room.participants().into_iter().collect(), output);
        tokio::select! {
            () = &mut serving => break,
            () = changed => {}
            () = interrupt.requested() => break,
        }
    }
    room.close();
    phone.close().await;
    Ok(Code::Well)
}

fn failed(error: &SessionError) -> Code {
    match error {
        SessionError::Call(error) => code_of(error),
        _ => Code::Refused,
    }
}

/// The next roster; waits for ever where the room tells of none.
async fn told(subscription: &mut Option<Subscription>) -> ConferenceInfo {
    while let Some(subscribed) = subscription {
        match subscribed.notified().await {
            Some(request) => match ConferenceInfo::parse(request.body()) {
                Ok(document) => return document,
                Err(error) => tracing::debug!(%error, "a roster that cannot be read"),
            },
            None => *subscription = None,
        }
    }
    std::future::pending().await
}

fn show(message: &RoomMessage, there: &There, output: Output) {
    let name = message.name.as_deref().unwrap_or_else(|| there.name(&message.from));
    let private = if message.private { " to us alone" } else { "" };
    output.event(
        json!({ "event": "message", "from": message.from, "name": name, "private": message.private, "text": message.text }),
        format_args!("< {name}{private}: {}", message.text),
    );
}

/// `sip chat --room`, once the phone stands.
pub(crate) async fn join(
    args: &ChatArgs,
    phone: &Phone,
    output: Output,
    interrupt: &mut Interrupt,
    history: &mut History,
) -> Result<Code, Failure> {
    let joined = tokio::select! {
        joined = phone.join_room(&args.uri) => joined,
        () = interrupt.requested() => return Ok(Code::NoAnswer),
    };
    let mut room = joined.map_err(|error| Failure::new(failed(&error), format_args!("{error}")))?;
    output.event(json!({ "event": "ready", "uri": args.uri }), format_args!("in the room {}", args.uri));
    let types = [ConferenceInfo::CONTENT_TYPE];
    // A room that tells nobody who is there is one all the same.
    let mut subscription = phone.subscribe(&args.uri, "conference", &types).await.ok();
    let (mut roster, mut there) = (Roster::new(), There::default());
    let (mut typed, mut last, mut code) = (typed(), 0_u32, Code::Well);
    let mut first = args.nickname.as_ref().map(|name| format!("/nick {name}"));
    loop {
        let line = tokio::select! {
            biased;
            () = interrupt.requested() => break,
            line = async { match first.take() { Some(line) => Some(line), None => typed.recv().await } } => line,
            message = room.next() => match message {
                Some(message) => {
                    show(&message, &there, output);
                    history.add(&message.from, &message.text);
                    continue;
                }
                None => {
                    output.event(json!({ "event": "closed" }), "the room is closed");
                    return Ok(code);
                }
            },
            document = told(&mut subscription) => {
                roster.receive(document);
                there.change(roster.users().map(|user| (user.entity.clone(), user.nickname.clone())).collect(), output);
                continue;
            }
            Some(call) = phone.incoming() => {
                let _ = call.reject(StatusCode::BUSY_HERE); // the caller may have given up
                continue;
            }
        };
        let line = line.as_deref().map(str::trim_end);
        let (command, rest) =
            line.unwrap_or_default().split_once(' ').unwrap_or((line.unwrap_or_default(), ""));
        match (line, command) {
            (None | Some("/quit"), _) => break,
            (Some(""), _) => {}
            (Some("/who"), _) => {
                for who in there.0.keys() {
                    let name = there.name(who);
                    output.event(
                        json!({ "event": "there", "who": who, "name": name }),
                        format_args!("{who} {name}"),
                    );
                }
            }
            (_, "/nick") => match room.nickname(rest.trim()).await {
                Ok(()) => {
                    output.event(json!({ "event": "named", "nickname": rest }), format_args!("we are {rest}"))
                }
                Err(error) => output.event(
                    json!({ "event": "not named", "nickname": rest, "error": error.to_string() }),
                    format_args!("{error}"),
                ),
            },
            // What was meant for one shall not be read by all.
            (_, "/to") if rest.trim().split_once(' ').is_none() => eprintln!("sip: /to URI TEXT"),
            (_, "/typing" | "/file") => eprintln!("sip: there is no {command} in a room"),
            (Some(text), _) => {
                last = last.saturating_add(1);
                let sent = match (command, rest.trim().split_once(' ')) {
                    ("/to", Some((who, text))) => {
                        history.add("us", text);
                        room.send_to(who, text).await
                    }
                    _ => {
                        history.add("us", text);
                        room.send(text).await
                    }
                };
                match sent {
                    Ok(()) => {
                        output.event(json!({ "event": "sent", "message": last }), format_args!("{last} sent"))
                    }
                    Err(error) => {
                        code = failed(&error);
                        output.event(
                            json!({ "event": "refused", "message": last, "error": error.to_string() }),
                            format_args!("{last} not sent: {error}"),
                        );
                    }
                }
            }
        }
    }
    room.leave().await;
    Ok(code)
}
