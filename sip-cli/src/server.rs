//! `sip server`: registrar and proxy.

use std::num::NonZeroUsize;
use std::path::Path;
use std::time::Duration;

use serde_json::json;
use sip_message::Uri;
use sip_server::events::EventConfig;
use sip_server::location::{Flush, is_redis_url};
use sip_server::settings::{Settings, SettingsError};
use sip_server::{MsrpRelay, Server, ServerBuilder, ServerHandle, Users};
use sip_transport::hep::Agent;
use sip_transport::tokio::tls::Tls;
use sip_transport::tokio::{HepTap, Listen, Tap};
use sip_transport::websocket::Origins;

use crate::args::ServerArgs;
use crate::exit::{Code, Failure};
use crate::interrupt::Interrupt;
use crate::operation::OperationArgs;
use crate::output::{Output, printable};
use crate::state;
use crate::tls::TlsArgs;

/// How many threads carry messages. Where all calls are one core's, a second thread mostly waits for the first, and wakes it, which costs
/// more than half as much again over TCP: only what is done before, TLS, is worth it.
pub(crate) fn threads(args: &ServerArgs) -> usize {
    // A file that cannot be read is told of later.
    let settings = args.config.as_ref().and_then(|file| Settings::read(file).ok());
    let settings = settings.as_ref().map(Settings::file);
    let in_file = settings.and_then(|settings| settings.threads.as_deref().copied());
    let asked_for = args.threads.map(usize::from).or(in_file.and_then(|one| usize::try_from(one).ok()));
    let secure = |text: &str| text.starts_with("tls:") || text.starts_with("wss:");
    let in_file = settings.is_some_and(|settings| settings.listen.iter().any(|listen| secure(listen)));
    let secure = in_file || args.listen.iter().any(|listen| secure(listen));
    asked_for.unwrap_or_else(|| match secure {
        true => std::thread::available_parallelism().map_or(1, NonZeroUsize::get),
        false => 1,
    })
}

/// Runs until it is told to end.
pub(crate) async fn run(args: ServerArgs, output: Output, mut interrupt: Interrupt) -> Result<Code, Failure> {
    if let Some(file) = &args.config {
        let settings = Settings::read(file).map_err(|error| faulty(&error, output))?;
        if args.check {
            return Ok(well(file, &settings, output));
        }
        let mut builder = Server::from_settings(&settings).map_err(Failure::fault)?;
        if let Some(threads) = args.threads {
            builder = builder.shards(threads.into());
        }
        let own = settings.file();
        if own.location.is_none() && !own.domains.is_empty() {
            let listen = own.listen.iter().map(|listen| listen.as_str());
            builder = with_own_location(builder, listen, flush(u64::from(*own.location_flush)), output)?;
        }
        let reload = |handle: ServerHandle| async move { settings_on_hangup(file, &handle, output).await };
        let operation = args.operation.clone().or(settings.operation());
        return serve(builder, &operation, output, &mut interrupt, reload).await;
    }
    let mut builder = Server::builder().shards(args.threads.map_or(1, usize::from));
    for listen in &args.listen {
        let listen: Listen = listen.parse().map_err(Failure::fault)?;
        let listen = args.proxy_protocol_from.iter().fold(listen, |listen, network| listen.proxy(*network));
        builder = builder.listen_at(listen);
    }
    if let Some(collector) = args.hep {
        let agent = Agent { id: args.hep_id, key: args.hep_key };
        let tap = HepTap::new(collector, agent);
        builder =
            builder.tap(tap.map_err(|error| Failure::fault(format_args!("--hep {collector}: {error}")))?);
    }
    let tls = args.tls.read()?;
    builder = builder.tls(tls.clone());
    if !args.ws_origin.is_empty() {
        builder = builder.origins(Origins::Only(args.ws_origin));
    }
    let registrar = !args.domain.is_empty();
    for domain in args.domain {
        builder = builder.domain(domain);
    }
    if let (Some(path), false) = (&args.users, args.no_auth) {
        builder = builder.users(Users::read(path).map_err(Failure::fault)?);
    }
    if let Some(url) = args.location.as_ref().and_then(|one| one.to_str()).filter(|one| is_redis_url(one)) {
        builder = builder.location_redis(url, None, None).map_err(Failure::fault)?;
    } else if let Some(file) = args.location {
        if file.as_os_str() != state::MEMORY {
            builder = builder.location_file(file, flush(args.location_flush));
        }
    } else if registrar {
        let listen = args.listen.iter().map(String::as_str);
        builder = with_own_location(builder, listen, Flush::BeforeAnswer, output)?;
    }
    builder = builder.configure(|config| config.algorithms = args.digest);
    if let Some(text) = &args.next_hop {
        let uri: Uri =
            text.parse().map_err(|error| Failure::fault(format_args!("--next-hop {text}: {error}")))?;
        builder = builder.next_hop(uri);
    }
    if args.no_record_route {
        builder = builder.configure(|config| config.record_route = false);
    }
    if let Some(file) = &args.messages {
        builder = builder.message_file(file).map_err(Failure::fault)?;
    }
    if let (Some(listen), Some(identity)) = (args.msrp_relay, args.tls.msrp_identity()?) {
        let relay = MsrpRelay::new(listen, identity);
        let relay = match args.msrp_websockets {
            Some(listen) => relay.websockets(listen),
            None => relay,
        };
        builder = builder.msrp_relay(match &args.msrp_host {
            Some(host) => relay.host(host),
            None => relay,
        });
    }
    if let Some(file) = &args.events {
        builder = builder.event_file(file).map_err(Failure::fault)?;
    }
    if !args.no_events {
        builder = builder.configure(|config| {
            config.events = (!config.domains.is_empty()).then(EventConfig::new);
        });
    }
    if args.heed_overload {
        builder = builder.configure(|config| config.heed_overload = true);
    }
    let files = &args.tls;
    serve(builder, &args.operation, output, &mut interrupt, |handle| async move {
        certificates_on_hangup(files, &tls, &handle, output).await
    })
    .await
}

/// Bindings in a file of which nobody has said where it is.
fn with_own_location<'l>(
    builder: ServerBuilder,
    listen: impl IntoIterator<Item = &'l str>,
    flush: Flush,
    output: Output,
) -> Result<ServerBuilder, Failure> {
    let Some(file) = state::location_file(listen)? else { return Ok(builder) };
    output.event(
        json!({ "event": "location", "file": file.display().to_string() }),
        format_args!("bindings are kept in {}", file.display()),
    );
    Ok(builder.location_file(file, flush))
}

/// When a file has it, by milliseconds after the 200.
fn flush(milliseconds: u64) -> Flush {
    match milliseconds {
        0 => Flush::BeforeAnswer,
        time => Flush::Within(Duration::from_millis(time)),
    }
}

/// Runs a server until it is told to end; `reload` goes beside it.
async fn serve<R: Future<Output = ()>>(
    builder: ServerBuilder,
    operation: &OperationArgs,
    output: Output,
    interrupt: &mut Interrupt,
    reload: impl FnOnce(ServerHandle) -> R,
) -> Result<Code, Failure> {
    let server = operation.apply(builder)?.build().await.map_err(Failure::fault)?;
    output.listening(&server.locals());
    if let Some(address) = server.msrp_relay() {
        output.listening_at("msrps", address);
    }
    if let Some(address) = server.msrp_websockets() {
        output.listening_at("msrps-wss", address);
    }
    let operation = operation.start(&server, output).await?;
    let handle = server.handle();
    let counts = server.run_until(async {
        tokio::select! {
            () = interrupt.requested() => {}
            () = reload(handle.clone()) => {}
        }
        operation.drain(&handle, output).await;
        handle.counts()
    });
    let counts = counts.await;
    let (done, bindings) = (counts.server, counts.bindings);
    output.event(
        json!({
            "event": "ended",
            "registered": done.registered,
            "challenges": done.challenges,
            "wrong_credentials": done.wrong_credentials,
            "proxied": done.proxied,
            "refused": done.refused,
            "overloaded": done.overloaded,
            "bindings": bindings,
        }),
        format_args!(
            "{} registrations granted, {} requests proxied, {} refused, {bindings} bindings at the end",
            done.registered, done.proxied, done.refused
        ),
    );
    Ok(Code::Well)
}

/// All that is wrong with a file of settings, a line each.
fn faulty(error: &SettingsError, output: Output) -> Failure {
    tell(error, output);
    let (count, file) = (error.faults.len(), &error.file);
    Failure::fault(format_args!("{count} fault{} in {file}", if count == 1 { "" } else { "s" }))
}

fn tell(error: &SettingsError, output: Output) {
    for fault in &error.faults {
        let (file, line, column, message) = (&error.file, fault.line, fault.column, &fault.message);
        if output.is_json() {
            let event =
                json!({ "event": "fault", "file": file, "line": line, "column": column, "message": message });
            output.event(event, "");
        } else {
            eprintln!("{}", printable(&format!("{file}:{line}:{column}: {message}")));
        }
    }
}

fn well(file: &Path, settings: &Settings, output: Output) -> Code {
    let users = settings.users().map_or(0, Users::len);
    let (routes, trunks) = (settings.file().route.len(), settings.file().trunk.len());
    output.event(
        json!({ "event": "well", "file": file, "users": users, "routes": routes, "trunks": trunks }),
        format_args!("{} is well: {users} users, {routes} routes, {trunks} trunks", file.display()),
    );
    Code::Well
}

/// Reads the settings again at each SIGHUP. A file with faults leaves the old ones in force.
#[cfg(unix)]
async fn settings_on_hangup(file: &Path, handle: &ServerHandle, output: Output) {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut hangups) = signal(SignalKind::hangup()) else { return std::future::pending().await };
    while hangups.recv().await.is_some() {
        let settings = match Settings::read(file) {
            Ok(settings) => settings,
            Err(error) => {
                tell(&error, output);
                let count = error.faults.len();
                output.event(
                    json!({ "event": "not reloaded", "faults": count }),
                    format_args!("the settings stay as they were: {count} faults"),
                );
                continue;
            }
        };
        match handle.reload(settings) {
            Ok(later) if later.is_empty() => {
                output.event(json!({ "event": "reloaded", "later": [] }), "settings reloaded");
            }
            Ok(later) => output.event(
                json!({ "event": "reloaded", "later": later }),
                format_args!("settings reloaded; these need a new start: {}", later.join(", ")),
            ),
            Err(error) => eprintln!("sip: the settings stay as they were: {error}"),
        }
    }
    std::future::pending().await
}

#[cfg(not(unix))]
async fn settings_on_hangup(_: &Path, _: &ServerHandle, _: Output) {
    std::future::pending().await
}

/// Reads the certificates again at each SIGHUP. What cannot be read leaves the old ones in force.
#[cfg(unix)]
async fn certificates_on_hangup(args: &TlsArgs, tls: &Tls, handle: &ServerHandle, output: Output) {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut hangups) = signal(SignalKind::hangup()) else { return std::future::pending().await };
    while hangups.recv().await.is_some() {
        let relay = || match args.msrp_identity() {
            Ok(Some(identity)) => handle.set_msrp_identity(identity).map_err(Failure::fault),
            other => other.map(drop),
        };
        match args.reload(tls).map_err(Failure::fault).and_then(|()| relay()) {
            Ok(()) => output.event(json!({ "event": "reloaded" }), format_args!("certificates reloaded")),
            Err(error) => eprintln!("sip: the certificates stay as they were: {error}"),
        }
    }
    std::future::pending().await
}

#[cfg(not(unix))]
async fn certificates_on_hangup(_: &TlsArgs, _: &Tls, _: &ServerHandle, _: Output) {
    std::future::pending().await
}

/// The server of the demonstration: one domain, on a free port of the loopback interface.
pub(crate) async fn demo(domain: &str, users: &str, tap: Box<dyn Tap>) -> Result<Server, Failure> {
    let mut tap = tap;
    Server::builder()
        .listen("udp:127.0.0.1:0")
        .domain(domain)
        .users(Users::parse(users).map_err(Failure::fault)?)
        .tap(move |at, inbound, path: &sip_transport::Path, bytes: &bytes::Bytes| {
            tap.message(at, inbound, path, bytes)
        })
        .build()
        .await
        .map_err(Failure::fault)
}
