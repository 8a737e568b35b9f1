//! `sip server`: registrar and proxy.

use std::time::Duration;

use serde_json::json;
use sip_message::Uri;
use sip_server::location::Flush;
use sip_server::{Server, Users};
use sip_transport::hep::Agent;
use sip_transport::tokio::tls::Tls;
use sip_transport::tokio::{HepTap, Listen, Tap};
use sip_transport::websocket::Origins;

use crate::args::ServerArgs;
use crate::exit::{Code, Failure};
use crate::interrupt::Interrupt;
use crate::output::Output;
use crate::tls::TlsArgs;

/// Runs until it is told to end.
pub(crate) async fn run(args: ServerArgs, output: Output, mut interrupt: Interrupt) -> Result<Code, Failure> {
    let mut builder = Server::builder();
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
    for domain in args.domain {
        builder = builder.domain(domain);
    }
    if let (Some(path), false) = (&args.users, args.no_auth) {
        builder = builder.users(Users::read(path).map_err(Failure::fault)?);
    }
    if let Some(file) = args.location {
        let flush = match args.location_flush {
            0 => Flush::BeforeAnswer,
            time => Flush::Within(Duration::from_millis(time)),
        };
        builder = builder.location_file(file, flush);
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
    if args.heed_overload {
        builder = builder.configure(|config| config.heed_overload = true);
    }
    let server = builder.build().await.map_err(Failure::fault)?;
    output.listening(&server.locals());
    let handle = server.handle();
    let counts = server.run_until(async {
        tokio::select! {
            () = interrupt.requested() => {}
            () = reload_on_hangup(&args.tls, &tls, output) => {}
        }
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

/// Reads the certificates again at each SIGHUP. What cannot be read leaves the old ones in force.
#[cfg(unix)]
async fn reload_on_hangup(args: &TlsArgs, tls: &Tls, output: Output) {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut hangups) = signal(SignalKind::hangup()) else { return std::future::pending().await };
    while hangups.recv().await.is_some() {
        match args.reload(tls) {
            Ok(()) => output.event(json!({ "event": "reloaded" }), format_args!("certificates reloaded")),
            Err(error) => eprintln!("sip: the certificates stay as they were: {error}"),
        }
    }
    std::future::pending().await
}

#[cfg(not(unix))]
async fn reload_on_hangup(_: &TlsArgs, _: &Tls, _: Output) {
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
