//! The accounts of a phone: the one of the command line, or those of a file; and what comes in for any of them.

use std::path::Path;

use serde_json::json;
use sip_dialog::packages::message_summary::MessageSummary;
use sip_ua::{IncomingCall, Phone, PresenceState, Referral, RequestError, TextMessage};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::account::{ANONYMOUS, Identity, not_registered};
use crate::args::{Account, PhoneArgs};
use crate::exit::Failure;
use crate::interrupt::Interrupt;
use crate::output::Output;

/// Accounts of one phone: nobody has more.
const MAX_ACCOUNTS: usize = 64;
/// What came in and waits to be looked at.
const WAITING: usize = 16;

/// Something that came in for one of the accounts.
pub(super) enum News {
    Incoming(IncomingCall),
    Referral(Referral),
    /// A text, and the phone that it came to.
    Message(Phone, TextMessage),
    /// Somebody who is watched.
    Presence(String, PresenceState),
    /// Messages that wait for an account.
    Waiting(String, MessageSummary),
    /// Something is not told, for this reason.
    NotTold(String, RequestError),
}

/// The phones of all accounts.
pub(super) struct Accounts {
    pub(super) phones: Vec<Phone>,
    addresses: Vec<String>,
    /// Which one calls and writes.
    current: usize,
}

/// One line of the file.
#[derive(Debug, PartialEq, Eq)]
struct Line {
    address: String,
    password: String,
    username: Option<String>,
    proxy: Option<String>,
}

impl Line {
    fn parse(text: &str) -> Result<Self, String> {
        let mut words = text.split_whitespace();
        let (Some(address), Some(password)) = (words.next(), words.next()) else {
            return Err("an address and a password are needed: `sip:alice@example.com secret`".into());
        };
        let mut line =
            Self { address: address.into(), password: password.into(), username: None, proxy: None };
        for word in words {
            match word.split_once('=') {
                Some(("username", name)) => line.username = Some(name.into()),
                Some(("proxy", uri)) => line.proxy = Some(uri.into()),
                _ => return Err(format!("{word:?} is neither username=NAME nor proxy=URI")),
            }
        }
        Ok(line)
    }
}

/// Reads the file of accounts.
fn read(path: &Path) -> Result<Vec<Line>, Failure> {
    let shown = path.display();
    let text =
        std::fs::read_to_string(path).map_err(|error| Failure::fault(format_args!("{shown}: {error}")))?;
    let mut lines = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if line.trim().is_empty() || line.trim_start().starts_with('#') {
            continue;
        }
        let number = number.saturating_add(1);
        let line =
            Line::parse(line).map_err(|error| Failure::fault(format_args!("{shown}:{number}: {error}")))?;
        lines.push(line);
    }
    match lines.len() {
        0 => Err(Failure::fault(format_args!("{shown}: there is no account in it"))),
        1..=MAX_ACCOUNTS => Ok(lines),
        more => Err(Failure::fault(format_args!("{shown}: {more} accounts are more than {MAX_ACCOUNTS}"))),
    }
}

impl Accounts {
    /// Opens the phone of each account.
    pub(super) async fn open(args: &PhoneArgs) -> Result<Self, Failure> {
        let Some(file) = &args.accounts else {
            let address = args.register.as_deref().or(args.from.as_deref()).unwrap_or(ANONYMOUS);
            let phone = bind(args, address, &args.account, args.register.as_deref()).await?;
            return Ok(Self { phones: vec![phone], addresses: vec![address.into()], current: 0 });
        };
        let (mut phones, mut addresses) = (Vec::new(), Vec::new());
        for line in read(file)? {
            let proxy = line.proxy.or_else(|| args.account.proxy.clone());
            let account = Account { username: line.username, password: Some(line.password), proxy };
            phones.push(bind(args, &line.address, &account, Some(&line.address)).await?);
            addresses.push(line.address);
        }
        Ok(Self { phones, addresses, current: 0 })
    }

    /// Registers all of them, unless there is one that need not be. `false`: Ctrl-C came first.
    pub(super) async fn register(
        &self,
        args: &PhoneArgs,
        output: Output,
        interrupt: &mut Interrupt,
    ) -> Result<bool, Failure> {
        if args.register.is_none() && args.accounts.is_none() {
            return Ok(true);
        }
        for (phone, address) in self.phones.iter().zip(&self.addresses) {
            let registered = tokio::select! {
                registered = phone.register() => registered,
                () = interrupt.requested() => return Ok(false),
            };
            match registered {
                Ok(lifetime) => output.event(
                    json!({ "event": "registered", "address": address, "seconds": lifetime.as_secs() }),
                    format_args!("registered {address} for {} s", lifetime.as_secs()),
                ),
                Err(error) => return Err(not_registered(address, &error)),
            }
        }
        Ok(true)
    }

    /// The one that calls and writes.
    pub(super) fn current(&self) -> Option<&Phone> {
        self.phones.get(self.current)
    }

    /// Makes another one the current one, or shows which there are.
    pub(super) fn choose(&mut self, number: Option<usize>, output: Output) {
        if let Some(number) = number {
            match number.checked_sub(1).filter(|index| *index < self.phones.len()) {
                Some(index) => self.current = index,
                None => return eprintln!("sip: there is no account {number}"),
            }
        }
        for (index, address) in self.addresses.iter().enumerate() {
            let (number, current) = (index.saturating_add(1), index == self.current);
            let mark = if current { '>' } else { ' ' };
            output.event(
                json!({ "event": "account", "account": number, "address": address, "current": current }),
                format_args!("{mark} account {number} {address}"),
            );
        }
    }

    /// What comes in for any of them, as long as the tasks live; the first account watches these.
    pub(super) fn listen(&self, watched: &[String], mwi: bool) -> (mpsc::Receiver<News>, JoinSet<()>) {
        let (sender, receiver) = mpsc::channel(WAITING);
        let mut tasks = JoinSet::new();
        for phone in &self.phones {
            let (phone, sender) = (phone.clone(), sender.clone());
            tasks.spawn(async move {
                loop {
                    let news = tokio::select! {
                        incoming = phone.incoming() => match incoming {
                            Some(incoming) => News::Incoming(incoming),
                            None => return,
                        },
                        referral = phone.next_referral() => News::Referral(referral),
                        message = phone.next_message() => News::Message(phone.clone(), message),
                    };
                    if sender.send(news).await.is_err() {
                        return;
                    }
                }
            });
        }
        for (uri, phone) in watched.iter().zip(self.phones.first().into_iter().cycle()) {
            tasks.spawn(watch(phone.clone(), uri.clone(), sender.clone()));
        }
        for (phone, address) in self.phones.iter().zip(&self.addresses).filter(|_| mwi) {
            tasks.spawn(waiting_messages(phone.clone(), address.clone(), sender.clone()));
        }
        (receiver, tasks)
    }

    /// Hangs up, unregisters and stops all of them.
    pub(super) async fn close(self) {
        let mut closing = JoinSet::new();
        for phone in self.phones {
            closing.spawn(async move { phone.close().await });
        }
        closing.join_all().await;
    }
}

async fn watch(phone: Phone, uri: String, sender: mpsc::Sender<News>) {
    match phone.watch(&uri).await {
        Ok(mut watch) => {
            while let Some(state) = watch.next_state().await {
                if sender.send(News::Presence(uri.clone(), state)).await.is_err() {
                    return;
                }
            }
        }
        Err(error) => drop(sender.send(News::NotTold(uri, error)).await),
    }
}

async fn waiting_messages(phone: Phone, address: String, sender: mpsc::Sender<News>) {
    match phone.waiting_messages().await {
        Ok(mut waiting) => {
            while let Some(summary) = waiting.next().await {
                if sender.send(News::Waiting(address.clone(), summary)).await.is_err() {
                    return;
                }
            }
        }
        Err(error) => drop(sender.send(News::NotTold(address, error)).await),
    }
}

async fn bind(
    args: &PhoneArgs,
    address: &str,
    account: &Account,
    peer: Option<&str>,
) -> Result<Phone, Failure> {
    Identity {
        focus: false,
        address,
        account,
        tls: &args.tls,
        listen: &args.listen,
        expires: args.expires,
        instance: args.instance.as_ref(),
        peer,
        sound: &args.sound,
        sessions: &args.sessions,
    }
    .bind()
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_file() {
        let line = Line::parse("sip:alice@example.com  secret proxy=sip:192.0.2.1 username=al").unwrap();
        assert_eq!((line.address.as_str(), line.password.as_str()), ("sip:alice@example.com", "secret"));
        assert_eq!((line.proxy.as_deref(), line.username.as_deref()), (Some("sip:192.0.2.1"), Some("al")));
        assert!(Line::parse("sip:alice@example.com").unwrap_err().contains("password"));
        assert!(Line::parse("sip:alice@example.com secret port=5").unwrap_err().contains("port=5"));
    }
}
