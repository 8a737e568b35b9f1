//! What is typed into `sip phone`.

use std::path::PathBuf;
use std::time::Duration;

/// A command: one line of standard input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// Answer what rings.
    Answer,
    /// Hang up, cancel or reject.
    HangUp,
    /// Hold, or resume what is held.
    Hold,
    /// Send digits.
    Digits(String),
    /// Call somebody.
    Call(String),
    /// Have the peer call somebody else.
    Transfer(String),
    /// Connect the peers of the current call and of the one with this number.
    Connect(u32),
    /// Send silence, or sound again.
    Mute,
    /// Say how well the call is heard.
    Quality,
    /// In a script: do nothing for this long.
    Wait(Duration),
    /// Call and write by the account with this number from now on, or show which there are.
    Account(Option<usize>),
    /// Send a text to somebody.
    Message(String, String),
    /// Send a file to somebody.
    File(String, PathBuf),
    /// Make the next call the current one.
    Next,
    /// List the calls.
    List,
    /// End the program.
    Quit,
}

impl Command {
    /// Reads a line. `Ok(None)` for an empty one.
    ///
    /// # Errors
    /// A line for the person who typed it.
    pub(crate) fn parse(line: &str) -> Result<Option<Self>, String> {
        let line = line.trim();
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let rest = rest.trim();
        let command = match word {
            "" => return Ok(None),
            "a" | "answer" => Self::Answer,
            "h" | "hangup" => Self::HangUp,
            "o" | "hold" => Self::Hold,
            "u" | "mute" => Self::Mute,
            "i" | "info" => Self::Quality,
            "t" | "transfer" => return transfer(rest).map(Some),
            "w" | "wait" => return wait(rest).map(Some),
            "n" | "next" => Self::Next,
            "l" | "list" => Self::List,
            "q" | "quit" => Self::Quit,
            "k" | "account" if !rest.is_empty() => {
                let number = rest.parse().map_err(|_| format!("{rest:?} is no number of an account"))?;
                return Ok(Some(Self::Account(Some(number))));
            }
            "k" | "account" => Self::Account(None),
            "c" | "call" if !rest.is_empty() => return Ok(Some(Self::Call(rest.into()))),
            "c" | "call" => return Err("whom? type `c sip:bob@example.com`".into()),
            "m" | "message" => {
                let (uri, text) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
                return match text.trim() {
                    "" => Err("to whom, and what? type `m sip:bob@example.com Hello`".into()),
                    text => Ok(Some(Self::Message(uri.into(), text.into()))),
                };
            }
            "f" | "file" => {
                let (uri, path) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
                return match path.trim() {
                    "" => Err("to whom, and which? type `f sip:bob@example.com notes.txt`".into()),
                    path => Ok(Some(Self::File(uri.into(), path.into()))),
                };
            }
            "d" | "digits" => return digits(rest).map(Some),
            _ => return Err(format!("{word:?} is no command; there are a h o u t i d c m f k n l w q")),
        };
        if rest.is_empty() { Ok(Some(command)) } else { Err(format!("`{word}` stands alone on its line")) }
    }
}

fn transfer(text: &str) -> Result<Command, String> {
    if text.is_empty() || text.contains(char::is_whitespace) {
        return Err(
            "whereto? type `t sip:carol@example.com`, or `t 2` to connect the peer with call 2".into()
        );
    }
    Ok(text.parse().map_or_else(|_| Command::Transfer(text.into()), Command::Connect))
}

fn wait(text: &str) -> Result<Command, String> {
    let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds.map(Command::Wait).ok_or_else(|| "how many seconds? type `w 2.5`".into())
}

fn digits(text: &str) -> Result<Command, String> {
    let keys: String = text.chars().filter(|key| !key.is_whitespace()).collect();
    match keys.chars().find(|&key| rtp::dtmf::Event::from_key(key).is_none()) {
        Some(wrong) => Err(format!("{wrong:?} is no key of a telephone; use 0-9 * # A-D")),
        None if keys.is_empty() => Err("which? type `d 123#`".into()),
        None => Ok(Command::Digits(keys)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_commands() {
        for (line, command) in [
            ("a", Command::Answer),
            ("  h \r", Command::HangUp),
            ("hold", Command::Hold),
            ("d 12 3#", Command::Digits("123#".into())),
            ("c  sip:bob@example.com ", Command::Call("sip:bob@example.com".into())),
            ("m sip:b@c see you  soon ", Command::Message("sip:b@c".into(), "see you  soon".into())),
            ("f sip:b@c my notes.txt", Command::File("sip:b@c".into(), "my notes.txt".into())),
            ("t sip:carol@example.com", Command::Transfer("sip:carol@example.com".into())),
            ("t 2", Command::Connect(2)),
            ("w 2.5", Command::Wait(Duration::from_millis(2500))),
            ("k", Command::Account(None)),
            ("k 2", Command::Account(Some(2))),
            ("q", Command::Quit),
        ] {
            assert_eq!(Command::parse(line), Ok(Some(command)), "{line}");
        }
        assert_eq!(Command::parse("   "), Ok(None));
    }

    #[test]
    fn wrong_lines_say_what_would_be_right() {
        for (line, hint) in [
            ("x", "a h o u t i d c m f k"),
            ("f sip:b@c", "which?"),
            ("t", "t 2"),
            ("w soon", "w 2.5"),
            ("c", "sip:"),
            ("m sip:b@c", "what?"),
            ("d", "d 123#"),
            ("d 1y", "no key"),
            ("a b", "alone"),
        ] {
            let error = Command::parse(line).unwrap_err();
            assert!(error.contains(hint), "{line}: {error}");
        }
    }
}
