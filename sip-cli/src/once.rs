//! Commands that send one request and tell what was answered: `sip message`, `sip options`, `sip register`.

use std::future::Future;
use std::io::Read;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sip_message::headers::Contact;
use sip_message::{Headers, StatusCode};
use sip_ua::{ChatEvent, Phone, Receipt, RequestError};
use tokio::time::timeout;

use crate::account::{ANONYMOUS, Identity, not_registered};
use crate::args::{MessageArgs, OptionsArgs, RegisterArgs, Sender, SessionArgs};
use crate::chat::{EXPIRES, word};
use crate::exit::{Code, Failure};
use crate::interrupt::Interrupt;
use crate::output::Output;
use crate::sound::SoundArgs;

/// Longer texts belong into a session (RFC 3428 §8 wants them below 1300 octets over UDP).
const MAX_TEXT: u64 = 64 * 1024;

/// A phone for one request to `peer`.
pub(crate) async fn sender(sender: &Sender, peer: &str) -> Result<Phone, Failure> {
    sender_for(sender, peer, 0).await
}

/// A phone for `peer` that can be registered for so many seconds.
pub(crate) async fn sender_for(sender: &Sender, peer: &str, expires: u32) -> Result<Phone, Failure> {
    sender_with(sender, peer, expires, &SessionArgs::default()).await
}

/// The same with chats in sessions and files.
pub(crate) async fn sender_with(
    sender: &Sender,
    peer: &str,
    expires: u32,
    sessions: &SessionArgs,
) -> Result<Phone, Failure> {
    let address = sender.from.as_deref().unwrap_or(ANONYMOUS);
    Identity {
        focus: false,
        address,
        account: &sender.account,
        tls: &sender.tls,
        listen: &sender.listen,
        expires,
        instance: None,
        peer: Some(peer),
        sound: &SoundArgs::default(),
        sessions,
    }
    .bind()
    .await
}

/// Waits for the answer, or for Ctrl-C; the phone is closed then.
async fn answer<T>(
    phone: &Phone,
    mut interrupt: Interrupt,
    request: impl Future<Output = Result<T, RequestError>>,
) -> Result<T, Failure> {
    let outcome = tokio::select! {
        outcome = request => outcome,
        () = interrupt.requested() => {
            phone.close().await;
            return Err(Failure::new(Code::NoAnswer, "interrupted before there was an answer"));
        }
    };
    phone.close().await;
    outcome.map_err(not_sent)
}

fn not_sent(error: RequestError) -> Failure {
    let code = error.status().map_or(Code::Fault, Code::of);
    let hint = match error.status() {
        Some(StatusCode::UNAUTHORIZED | StatusCode::PROXY_AUTHENTICATION_REQUIRED) => {
            "; check --from, --username and --password"
        }
        _ => "",
    };
    Failure::new(code, format_args!("{error}{hint}"))
}

/// A refusal, as a script sees it.
pub(crate) fn refused(status: StatusCode, reason: &str) -> Failure {
    Failure::new(Code::of(status), format_args!("{} {reason}", status.code()))
}

/// `sip message`.
pub(crate) async fn message(
    args: MessageArgs,
    output: Output,
    interrupt: Interrupt,
) -> Result<Code, Failure> {
    let text = match args.text.as_str() {
        "-" => {
            let mut text = String::new();
            let read = std::io::stdin().lock().take(MAX_TEXT).read_to_string(&mut text);
            read.map_err(|error| Failure::fault(format_args!("standard input is no text: {error}")))?;
            text
        }
        text => text.to_owned(),
    };
    if let Some(patience) = args.receipt {
        return with_receipt(&args, &text, patience, output, interrupt).await;
    }
    let phone = sender(&args.sender, &args.uri).await?;
    let status = answer(&phone, interrupt, phone.send_message(&args.uri, &text)).await?;
    taken(output, &args.uri, status == StatusCode::ACCEPTED);
    Ok(Code::Well)
}

/// The text was answered 202 or 200.
fn taken(output: Output, uri: &str, kept: bool) {
    let status = if kept { StatusCode::ACCEPTED } else { StatusCode::OK };
    let word = if kept { "kept for" } else { "delivered to" };
    output
        .event(json!({ "event": "sent", "uri": uri, "status": status.code() }), format_args!("{word} {uri}"));
}

/// `sip message --receipt`: registered, since receipts come as messages to our address (RFC 5438 §8).
async fn with_receipt(
    args: &MessageArgs,
    text: &str,
    patience: Duration,
    output: Output,
    mut interrupt: Interrupt,
) -> Result<Code, Failure> {
    let phone = sender_for(&args.sender, &args.uri, EXPIRES).await?;
    let told = async {
        // What was kept for us comes with the registration, and must find somebody.
        let mut chat = phone.chat(&args.uri).map_err(Failure::fault)?;
        if let Err(error) = phone.register().await {
            return Err(not_registered(args.sender.from.as_deref().unwrap_or_default(), &error));
        }
        let sent = chat.send_with_receipts(text).await.map_err(not_sent)?;
        taken(output, &args.uri, sent.kept);
        let Some(id) = sent.id else {
            return Err(Failure::new(Code::NoAnswer, "the other side gives no receipts"));
        };
        let receipt = async {
            loop {
                match chat.next().await {
                    ChatEvent::Receipt { id: of, receipt } if of == id => return receipt,
                    _ => {}
                }
            }
        };
        timeout(patience, receipt).await.map_err(|_| {
            Failure::new(Code::NoAnswer, format_args!("no receipt in {} s", patience.as_secs_f64()))
        })
    };
    let told = tokio::select! {
        told = told => told,
        () = interrupt.requested() => Err(Failure::new(Code::NoAnswer, "interrupted before there was a receipt")),
    };
    phone.close().await;
    let receipt = told?;
    output.event(
        json!({ "event": "receipt", "uri": args.uri, "receipt": word(receipt) }),
        format_args!("receipt: {}", word(receipt)),
    );
    Ok(if receipt == Receipt::NotDelivered { Code::Refused } else { Code::Well })
}

/// `sip options`.
pub(crate) async fn options(
    args: OptionsArgs,
    output: Output,
    interrupt: Interrupt,
) -> Result<Code, Failure> {
    let phone = sender(&args.sender, &args.uri).await?;
    let since = Instant::now();
    let response = answer(&phone, interrupt, phone.options(&args.uri)).await?;
    let milliseconds = since.elapsed().as_secs_f64() * 1000.0;
    let headers = &response.headers;
    let list = |name: &str| elements(headers, name);
    output.event(
        json!({
            "event": "answered",
            "uri": args.uri,
            "status": response.status().code(),
            "milliseconds": (milliseconds * 10.0).round() / 10.0,
            "user_agent": headers.text("User-Agent").or(headers.text("Server")),
            "allow": list("Allow"),
            "supported": list("Supported"),
            "accept": list("Accept"),
        }),
        format_args!("{} {} in {milliseconds:.1} ms", response.status().code(), response.reason()),
    );
    for name in ["User-Agent", "Server", "Allow", "Supported", "Accept", "Allow-Events"] {
        let values = list(name);
        if !values.is_empty() {
            output.text(format_args!("{name}: {}", values.join(", ")));
        }
    }
    Ok(Code::Well)
}

/// The elements of a list in all its lines.
fn elements(headers: &Headers, name: &str) -> Vec<String> {
    let lines = headers.raw(name).map(|value| String::from_utf8_lossy(value).into_owned());
    lines
        .flat_map(|line| line.split(',').map(|element| element.trim().to_owned()).collect::<Vec<_>>())
        .filter(|element| !element.is_empty())
        .collect()
}

/// `sip register`.
pub(crate) async fn register(
    args: RegisterArgs,
    output: Output,
    interrupt: Interrupt,
) -> Result<Code, Failure> {
    let phone = Identity {
        focus: false,
        address: &args.address,
        account: &args.account,
        tls: &args.tls,
        listen: &args.listen,
        expires: args.expires,
        instance: None,
        peer: Some(&args.address),
        sound: &SoundArgs::default(),
        sessions: &SessionArgs::default(),
    }
    .bind()
    .await?;
    let written = args.contact.as_ref().map(|contact| format!("<{contact}>"));
    let (contact, expires) = match (args.list, args.remove, &written) {
        (true, ..) => (None, None),
        (_, true, None) => (Some("*"), Some(0)),
        (_, true, Some(contact)) => (Some(contact.as_str()), Some(0)),
        (_, false, contact) => (contact.as_deref(), Some(args.expires)),
    };
    let bindings = answer(&phone, interrupt, phone.bindings(contact, expires)).await?;
    if bindings.is_empty() {
        output.event(
            json!({ "event": "bindings", "address": args.address, "bindings": [] }),
            format_args!("{} has no bindings", args.address),
        );
        return Ok(Code::Well);
    }
    let shown: Vec<Value> = bindings.iter().map(binding).collect();
    output.event(
        json!({ "event": "bindings", "address": args.address, "bindings": shown }),
        format_args!("{} is bound to", args.address),
    );
    for contact in &bindings {
        let uri = contact.uri().map(ToString::to_string).unwrap_or_default();
        let seconds = contact.expires().map(|seconds| format!(" for {seconds} s")).unwrap_or_default();
        output.text(format_args!("  {uri}{seconds}"));
    }
    Ok(Code::Well)
}

fn binding(contact: &Contact) -> Value {
    json!({
        "uri": contact.uri().map(ToString::to_string),
        "seconds": contact.expires(),
        "q": contact.q().map(|q| f64::from(q) / 1000.0),
    })
}
