//! `sip inspect`: reads messages from files, streams and captures and says of each whether it is valid, what is wrong
//! with it and where, and what its fields mean.

mod calls;
mod report;
mod show;
mod split;

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use sip_message::Limits;
use sip_transport::capture::read::{Captured, Payload, is_capture, read};

use crate::args::InspectArgs;
use crate::exit::{Code, Failure};
use crate::output::Output;
use calls::Calls;
use report::Report;
use split::{Splitter, is_sip};

/// The port of SIP: what comes there and is no message is told, elsewhere it is passed over.
const SIP_PORT: u16 = 5060;

/// How a message passed the network.
#[derive(Clone, Debug)]
struct Passage {
    at: Duration,
    transport: &'static str,
    from: SocketAddr,
    to: SocketAddr,
}

/// Where a message stands.
#[derive(Clone, Debug)]
struct Source {
    file: String,
    /// From 1.
    number: usize,
    passage: Option<Passage>,
}

/// Runs `sip inspect`.
pub(crate) fn run(args: &InspectArgs, output: Output) -> Result<Code, Failure> {
    let mut inspection = Inspection {
        args,
        output,
        limits: Limits::default(),
        number: 0,
        invalid: 0,
        total: 0,
        calls: Calls::default(),
    };
    if args.files.is_empty() {
        inspection.input("-", io::stdin())?;
    }
    for path in &args.files {
        let name = path.display().to_string();
        if name == "-" {
            inspection.input("-", io::stdin())?;
        } else {
            let file =
                open(path).map_err(|error| Failure::fault(format_args!("cannot read {name}: {error}")))?;
            inspection.input(&name, file)?;
        }
    }
    Ok(inspection.summary())
}

fn open(path: &Path) -> io::Result<File> {
    let file = File::open(path)?;
    if file.metadata()?.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    Ok(file)
}

struct Inspection<'a> {
    args: &'a InspectArgs,
    output: Output,
    limits: Limits,
    /// Messages of the file that is read.
    number: usize,
    invalid: usize,
    total: usize,
    calls: Calls,
}

impl Inspection<'_> {
    /// Reads one file, whatever it holds.
    fn input(&mut self, name: &str, mut file: impl Read + Send) -> Result<(), Failure> {
        let unreadable = |error: io::Error| Failure::fault(format_args!("cannot read {name}: {error}"));
        self.number = 0;
        let mut begin = Vec::new();
        file.by_ref().take(4).read_to_end(&mut begin).map_err(unreadable)?;
        let capture = is_capture(&begin);
        let mut whole = BufReader::new(begin.chain(file));
        if capture {
            return self.capture(name, whole);
        }
        let mut splitter = Splitter::of_file(self.limits);
        let mut octets = vec![0; 1 << 16];
        loop {
            let length = match whole.read(&mut octets) {
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(unreadable(error)),
            };
            if self.args.datagram {
                splitter.push(octets.get(..length).unwrap_or_default());
                if length == 0 {
                    self.message(name, &splitter.all(), None)?;
                    break;
                }
                continue;
            }
            splitter.push(octets.get(..length).unwrap_or_default());
            while let Some(message) = splitter.next(length == 0) {
                self.message(name, &message, None)?;
            }
            if length == 0 {
                break;
            }
        }
        if self.number == 0 {
            self.message(name, &Bytes::new(), None)?; // an empty file is no message either
        }
        Ok(())
    }

    fn capture(&mut self, name: &str, file: impl Read + Send) -> Result<(), Failure> {
        let mut streams: HashMap<(SocketAddr, SocketAddr), Splitter> = HashMap::new();
        let mut failed = None;
        let ended = read(file, |captured| {
            if failed.is_none() {
                failed = self.captured(name, captured, &mut streams).err();
            }
        });
        if let Some(failure) = failed {
            return Err(failure);
        }
        let calls = std::mem::take(&mut self.calls);
        for ladder in calls.ladders() {
            self.print(&format!("\n{ladder}"))?;
        }
        ended.map_err(|error| Failure::fault(format_args!("{name}: {error}")))
    }

    fn captured(
        &mut self,
        name: &str,
        captured: Captured,
        streams: &mut HashMap<(SocketAddr, SocketAddr), Splitter>,
    ) -> Result<(), Failure> {
        let Captured { at, from, to, payload } = captured;
        let passage = |transport| Some(Passage { at, transport, from, to });
        match payload {
            Payload::Datagram(octets) => {
                let keep_alive = octets.iter().all(|octet| matches!(octet, b'\r' | b'\n' | 0));
                let at_port = from.port() == SIP_PORT || to.port() == SIP_PORT;
                // STUN shares the port (RFC 5389 §6: its two first bits are zero and no SIP message begins so).
                let other = octets.first().is_some_and(|first| !first.is_ascii_graphic());
                if !keep_alive && (is_sip(&octets) || (at_port && !other)) {
                    self.message(name, &octets, passage("UDP"))?;
                }
            }
            Payload::Stream { octets, gap } => {
                let splitter = streams.entry((from, to)).or_insert_with(|| Splitter::of_stream(self.limits));
                if gap {
                    // What was before the gap cannot be finished, and what follows begins somewhere in a message.
                    *splitter = Splitter::of_stream(self.limits);
                }
                splitter.push(&octets);
                while let Some(message) = splitter.next(false) {
                    if is_sip(&message) {
                        self.message(name, &message, passage("TCP"))?;
                    }
                }
            }
            _ => {
                if let Some(mut splitter) = streams.remove(&(from, to)) {
                    while let Some(message) = splitter.next(true) {
                        if is_sip(&message) {
                            self.message(name, &message, passage("TCP"))?;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn message(&mut self, file: &str, octets: &Bytes, passage: Option<Passage>) -> Result<(), Failure> {
        let report = Report::of(octets, &self.limits);
        self.number = self.number.saturating_add(1);
        self.total = self.total.saturating_add(1);
        if report.problem.is_some() {
            self.invalid = self.invalid.saturating_add(1);
        }
        if let Some(passage) = &passage {
            self.calls.add(passage, &report);
        }
        let source = Source { file: file.to_owned(), number: self.number, passage };
        if self.output.is_json() {
            return self.line(&show::json(&source, &report).to_string());
        }
        if self.args.ladder && source.passage.is_some() {
            return Ok(());
        }
        if self.args.brief {
            let (origin, verdict, start) =
                (show::origin(&source), show::verdict(&report), show::start(&report));
            return self.print(&format!("{origin}: {verdict}: {start}\n"));
        }
        self.print(&show::whole(&source, &report))
    }

    fn summary(&self) -> Code {
        let text = match (self.total, self.invalid) {
            (0, _) => "no SIP message".into(),
            (1, 0) => "1 message, valid".into(),
            (1, _) => "1 message, invalid".into(),
            (total, 0) => format!("{total} messages, all valid"),
            (total, invalid) => format!("{total} messages, {invalid} invalid"),
        };
        // Whoever has closed the pipe knows enough.
        let _ = self.print(&format!("{text}\n"));
        if self.invalid > 0 { Code::Fault } else { Code::Well }
    }

    /// For people.
    fn print(&self, text: &str) -> Result<(), Failure> {
        if self.output.is_json() { Ok(()) } else { write(text) }
    }

    /// For machines.
    fn line(&self, text: &str) -> Result<(), Failure> {
        write(&format!("{text}\n"))
    }
}

fn write(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).map_err(|error| Failure::fault(format_args!("cannot write: {error}")))
}
