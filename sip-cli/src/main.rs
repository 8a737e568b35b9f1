//! The `sip` program: phone, call, server, messages and next hops explained, and a demonstration on the command line.
//!
//! Each subcommand is a module. They share the exit codes ([`exit`]), what is said on standard output ([`output`])
//! and the reaction to Ctrl-C ([`interrupt`]).

mod account;
mod args;
mod call;
mod chat;
mod chat_files;
mod demo;
mod exit;
mod film;
mod inspect;
mod interrupt;
mod keys;
mod ladder;
mod location;
mod media;
mod once;
mod operation;
mod output;
mod phone;
mod presence;
mod resolve;
mod room;
mod server;
mod sound;
#[cfg(feature = "sound-card")]
mod sound_card;
mod state;
mod subscribe;
mod tls;

use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;

use args::{Cli, Command};
use exit::{Code, Failure};
use interrupt::Interrupt;
use output::Output;

/// A message is some dozens of small allocations, and this allocator makes them cheaper than the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            return usage(&error);
        }
    };
    log_to_stderr(cli.verbose, cli.log_json);
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if let Command::Server(args) = &cli.command {
        runtime.worker_threads(server::threads(args));
    }
    let runtime = match runtime.enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&Failure::fault(format_args!("no runtime: {error}"))),
    };
    match runtime.block_on(run(cli)) {
        Ok(code) => code.into(),
        Err(failure) => fail(&failure),
    }
}

async fn run(cli: Cli) -> Result<Code, Failure> {
    let output = Output::new(cli.json);
    let interrupt =
        Interrupt::listen().map_err(|error| Failure::fault(format_args!("no signals: {error}")))?;
    match cli.command {
        Command::Demo(args) => demo::run(args, output, interrupt).await,
        Command::Server(args) => server::run(args, output, interrupt).await,
        Command::Phone(args) => phone::run(args, output, interrupt).await,
        Command::Call(args) => call::run(args, output, interrupt).await,
        Command::Message(args) => once::message(args, output, interrupt).await,
        Command::Chat(args) => chat::run(args, output, interrupt).await,
        Command::Room(args) => room::host(args, output, interrupt).await,
        Command::Options(args) => once::options(args, output, interrupt).await,
        Command::Subscribe(args) => subscribe::run(args, output, interrupt).await,
        Command::Watch(args) => presence::watch(args, output, interrupt).await,
        Command::Publish(args) => presence::publish(args, output, interrupt).await,
        Command::Refer(args) => subscribe::refer(args, output, interrupt).await,
        Command::Register(args) => once::register(args, output, interrupt).await,
        Command::Location(args) => location::run(&args.command, output).await,
        Command::Inspect(args) => inspect::run(&args, output),
        Command::Resolve(args) => resolve::run(args, output, interrupt).await,
    }
}

/// Help and version come as errors that are none; a real one is told in one line.
fn usage(error: &clap::Error) -> ExitCode {
    use clap::error::ErrorKind::{DisplayHelp, DisplayHelpOnMissingArgumentOrSubcommand, DisplayVersion};
    match error.kind() {
        DisplayHelp | DisplayVersion => {
            let _ = error.print();
            Code::Well.into()
        }
        DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = error.print();
            Code::Fault.into()
        }
        _ => {
            let text = error.to_string();
            // What is wrong comes first; an empty line, hints and the usage follow.
            let wrong = text.split("\n\n").next().unwrap_or_default();
            let wrong = wrong.strip_prefix("error: ").unwrap_or(wrong);
            fail(&Failure::fault(format_args!("{wrong}; see --help")))
        }
    }
}

fn fail(failure: &Failure) -> ExitCode {
    eprintln!("sip: {failure}");
    failure.code.into()
}

/// The log, at the level that `-v` names unless RUST_LOG says more exactly what is wanted.
fn log_to_stderr(verbose: u8, json: bool) {
    let level = match verbose {
        0 => "error",
        1 => "info",
        2 => "debug",
        _ => "trace",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if json { log.json().init() } else { log.init() }
}
