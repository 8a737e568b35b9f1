//! `sip demo`: a whole call on this machine, drawn, measured and verified.

mod checks;
mod script;
mod watch;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde_json::json;
use tokio::sync::oneshot;

use crate::args::DemoArgs;
use crate::exit::{Code, Failure};
use crate::interrupt::Interrupt;
use crate::media;
use crate::output::Output;
use checks::{Check, Seats};
use script::{Cast, Story};
use watch::{Sent, Watch};

/// The domain of the demonstration. Everything goes to its proxy by address, so nobody asks for it by DNS.
const DOMAIN: &str = "example.com";
/// Its users. The passwords protect a server that lives for ten seconds on the loopback interface.
const USERS: &str = "alice:wonderland\nbob:builder\n";

/// The files that stay.
struct Files {
    recordings: [PathBuf; 2],
    capture: PathBuf,
}

/// Runs the demonstration.
pub(crate) async fn run(args: DemoArgs, output: Output, mut interrupt: Interrupt) -> Result<Code, Failure> {
    tokio::select! {
        code = show(args, output) => code,
        () = interrupt.requested() => Err(Failure::fault("interrupted")),
    }
}

async fn show(args: DemoArgs, output: Output) -> Result<Code, Failure> {
    let files = Files::in_folder(args.out)?;
    let watch = Watch::default();
    let server = crate::server::demo(DOMAIN, USERS, watch.tap()).await?;
    let at_server = address_of(&server.locals())?;
    let (stop, stopped) = oneshot::channel::<()>();
    let server = tokio::spawn(server.run_until(async {
        let _ = stopped.await;
    }));

    let proxy = format!("sip:{at_server}");
    let cast = Cast {
        alice: script::phone("alice", "wonderland", &proxy, &watch).await?,
        bob: script::phone("bob", "builder", &proxy, &watch).await?,
    };
    let seats = Seats {
        alice: address_of(&cast.alice.locals())?,
        server: at_server,
        bob: address_of(&cast.bob.locals())?,
    };
    output.text(format_args!(
        "alice {}, server {} (registrar and proxy of {DOMAIN}), bob {}\n",
        seats.alice, seats.server, seats.bob
    ));
    let story = script::play(&cast, &files.recordings).await;
    cast.alice.close().await;
    cast.bob.close().await;
    drop(stop);
    if server.await.is_err() {
        return Err(Failure::fault("the server broke down"));
    }

    let sent = watch.all();
    let ladder = draw(&sent, seats);
    watch::write_capture(&files.capture, &sent)
        .map_err(|error| Failure::fault(format_args!("{}: {error}", files.capture.display())))?;
    let story = match story {
        Ok(story) => story,
        Err(failure) => {
            // How far it came says more than the failure alone.
            output.text(ladder);
            output.text(format_args!("capture  {}", files.capture.display()));
            return Err(failure);
        }
    };
    let recordings = files.recordings.clone();
    let (checks, story, sent) =
        tokio::task::spawn_blocking(move || (checks::all(&story, &sent, seats, &recordings), story, sent))
            .await
            .map_err(Failure::fault)?;
    let verified = checks.iter().all(|check| check.ok);
    report(output, &ladder, &story, &checks, &sent, &files, verified);
    Ok(if verified { Code::Well } else { Code::Fault })
}

fn report(
    output: Output,
    ladder: &str,
    story: &Story,
    checks: &[Check],
    sent: &[Sent],
    files: &Files,
    verified: bool,
) {
    let [alice, bob] = &story.summaries;
    let machine = json!({
        "verified": verified,
        "took_seconds": media::seconds(story.took),
        "checks": checks.iter().map(|check| json!({
            "what": check.what, "ok": check.ok, "found": check.found,
        })).collect::<Vec<_>>(),
        "media": { "alice": media::to_json(&alice.statistics), "bob": media::to_json(&bob.statistics) },
        "ladder": ladder.lines().collect::<Vec<_>>(),
        "recordings": files.recordings.iter().map(|path| path.display().to_string()).collect::<Vec<_>>(),
        "capture": files.capture.display().to_string(),
    });
    let mut text =
        format!("{ladder}\n{}\n", media::table(&[("alice", &alice.statistics), ("bob", &bob.statistics)]));
    for Check { what, ok, found } in checks {
        let mark = if *ok { "ok    " } else { "FAILED" };
        text.push_str(&format!("{mark}  {what}: {found}\n"));
    }
    for (name, path) in [
        ("alice heard", &files.recordings[0]),
        ("bob heard", &files.recordings[1]),
        ("capture", &files.capture),
    ] {
        text.push_str(&format!("\n{name:<12} {}", path.display()));
    }
    text.push_str(&format!(" ({} packets; Wireshark opens it)\n", sent.len()));
    let failed = checks.iter().filter(|check| !check.ok).count();
    if verified {
        text.push_str(&format!("\nAll {} checks passed in {:.1} s.", checks.len(), story.took.as_secs_f64()));
    } else {
        text.push_str(&format!("\n{failed} of {} checks FAILED.", checks.len()));
    }
    output.event(machine, text);
}

/// The ladder: messages by the addresses of the parties, media by the ports that they named.
fn draw(sent: &[Sent], seats: Seats) -> String {
    let parties = [seats.alice, seats.server, seats.bob];
    let media = parties.map(|party| checks::media_ports_of(sent, party));
    let column_of = |address: SocketAddr| {
        let by_message = parties.iter().position(|party| *party == address);
        by_message.or_else(|| {
            // The proxy passes descriptions on unchanged, so only the phones' own count.
            [0_usize, 2].into_iter().find(|&column| {
                // RTCP is at the next port (RFC 3550 §11).
                let named = |port: u16| media.get(column).is_some_and(|ports| ports.contains(&port));
                named(address.port()) || address.port().checked_sub(1).is_some_and(named)
            })
        })
    };
    crate::ladder::draw(&["alice", "server", "bob"], &watch::arrows(sent, column_of))
}

fn address_of(locals: &sip_transport::Locals) -> Result<SocketAddr, Failure> {
    locals.iter().next().map(|local| local.bound).ok_or_else(|| Failure::fault("there is no listener"))
}

impl Files {
    fn in_folder(out: Option<PathBuf>) -> Result<Self, Failure> {
        let folder = match out {
            Some(folder) => {
                std::fs::create_dir_all(&folder).map(|()| folder.clone()).map_err(|error| (folder, error))
            }
            None => new_temporary_folder(),
        };
        let folder = folder
            .map_err(|(folder, error)| Failure::fault(format_args!("{}: {error}", folder.display())))?;
        let file = |name: &str| Path::join(&folder, name);
        Ok(Self { recordings: [file("alice-heard.wav"), file("bob-heard.wav")], capture: file("call.pcap") })
    }
}

/// A folder that was not there before: in a place where everybody may write, one that is there may be a trap.
fn new_temporary_folder() -> Result<PathBuf, (PathBuf, std::io::Error)> {
    let mut number = std::process::id();
    loop {
        let folder = std::env::temp_dir().join(format!("sip-demo-{number}"));
        match std::fs::create_dir(&folder) {
            Ok(()) => return Ok(folder),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                number = number.wrapping_add(1)
            }
            Err(error) => return Err((folder, error)),
        }
    }
}
