//! `NAME=value` by `NAME=value`, and the values that there are.

use std::fmt;
use std::str::FromStr;

/// What is not a value of its kind stays an extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// A share in hundredths of a percent, up to 100 % (`1*3DIGIT [ "." 1*2DIGIT ]`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Percent(u16);

impl Percent {
    /// A share of one.
    pub fn of(share: f64) -> Self {
        Self((share * 10_000.0).clamp(0.0, 10_000.0).round() as u16)
    }

    /// Percent.
    pub fn percent(self) -> f64 {
        f64::from(self.0) / 100.0
    }
}

/// A mean opinion score in thousandths, below 10 (`DIGIT [ "." 1*3DIGIT ]`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Score(u16);

impl Score {
    /// A score of 0 to 4.9, as the grammar has it.
    pub fn of(score: f64) -> Self {
        Self((score * 1000.0).clamp(0.0, 4900.0).round() as u16)
    }

    /// The score.
    pub fn score(self) -> f64 {
        f64::from(self.0) / 1000.0
    }
}

/// Reads a decimal of so many places into units of the last one.
fn decimal(text: &str, places: usize) -> Option<u32> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|octet| octet.is_ascii_digit());
    if whole.is_empty() || whole.len() > 3 || part.len() > places || !digits(whole) || !digits(part) {
        return None;
    }
    format!("{whole}{part:0<places$}").parse().ok()
}

/// Writes units of the last of so many places without zeros at the end, but with one place.
fn write_decimal(f: &mut fmt::Formatter<'_>, units: u16, places: usize) -> fmt::Result {
    let scale = 10u16.saturating_pow(places as u32).max(1);
    let part = format!("{:0places$}", units % scale);
    let part = part.trim_end_matches('0');
    write!(f, "{}.{}", units / scale, if part.is_empty() { "0" } else { part })
}

impl FromStr for Percent {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let hundredths = decimal(text, 2).filter(|hundredths| *hundredths <= 10_000).ok_or(Malformed)?;
        Ok(Self(hundredths as u16))
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_decimal(f, self.0, 2)
    }
}

impl FromStr for Score {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let thousandths = decimal(text, 3).filter(|thousandths| *thousandths < 10_000).ok_or(Malformed)?;
        Ok(Self(thousandths as u16))
    }
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_decimal(f, self.0, 3)
    }
}

/// On or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Switch(pub bool);

impl FromStr for Switch {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let values = [("on", true), ("off", false)];
        let found = values.into_iter().find(|(word, _)| word.eq_ignore_ascii_case(text));
        found.map(|(_, on)| Self(on)).ok_or(Malformed)
    }
}

impl fmt::Display for Switch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0 { "on" } else { "off" })
    }
}

/// Sample rates in Hz, at most eight.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Rates(pub Vec<u32>);

impl FromStr for Rates {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let rates: Vec<u32> =
            text.split(';').take(9).map(str::parse).collect::<Result<_, _>>().map_err(|_| Malformed)?;
        if rates.len() > 8 { Err(Malformed) } else { Ok(Self(rates)) }
    }
}

impl fmt::Display for Rates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, rate) in self.0.iter().enumerate() {
            write!(f, "{}{rate}", if index == 0 { "" } else { ";" })?;
        }
        Ok(())
    }
}

/// A word, or words in quotation marks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Quoted(pub String);

impl FromStr for Quoted {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        Ok(Self(text.into()))
    }
}

impl fmt::Display for Quoted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Parameters that were read and nobody asked for yet.
pub(super) struct Parameters(Vec<(String, Option<String>)>);

impl Parameters {
    /// Reads `NAME`, `NAME=value` and `NAME="several words"`, with white space around them.
    pub(super) fn read(text: &str) -> Self {
        let mut parameters = Vec::new();
        let mut rest = text.trim_matches(is_space);
        while !rest.is_empty() {
            let end = rest.find(|c| is_space(c) || c == '=').unwrap_or(rest.len());
            let (name, behind) = rest.split_at(end);
            let behind = behind.trim_start_matches(is_space);
            let Some(value) = behind.strip_prefix('=') else {
                parameters.push((name.to_owned(), None));
                rest = behind;
                continue;
            };
            let value = value.trim_start_matches(is_space);
            let (value, behind) = match value.strip_prefix('"') {
                Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
                None => value.split_at(value.find(is_space).unwrap_or(value.len())),
            };
            if !name.is_empty() {
                parameters.push((name.to_owned(), Some(value.to_owned())));
            }
            rest = behind.trim_start_matches(is_space);
        }
        Self(parameters)
    }

    /// The first value of a name, if it is one of its kind.
    pub(super) fn take<T: FromStr>(&mut self, name: &str) -> Option<T> {
        let index = self.0.iter().position(|(known, value)| {
            known.eq_ignore_ascii_case(name) && value.as_ref().is_some_and(|value| value.parse::<T>().is_ok())
        })?;
        self.0.remove(index).1?.parse().ok()
    }

    /// What nobody asked for.
    pub(super) fn rest(self) -> Vec<(String, Option<String>)> {
        self.0
    }
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t')
}

/// Writes ` NAME=value` for each that has one.
pub(super) fn write_parameters(
    f: &mut fmt::Formatter<'_>,
    known: &[(&str, Option<String>)],
    extensions: &[(String, Option<String>)],
) -> fmt::Result {
    for (name, value) in known.iter().filter_map(|(name, value)| Some((name, value.as_ref()?))) {
        write_parameter(f, name, Some(value), *name == "FMTP")?;
    }
    for (name, value) in extensions {
        // What would be read as something else is left out.
        if !name.is_empty() && !name.contains(|c: char| is_space(c) || c == '=' || c.is_control()) {
            write_parameter(f, name, value.as_deref(), false)?;
        }
    }
    Ok(())
}

pub(super) fn write_parameter(
    f: &mut fmt::Formatter<'_>,
    name: &str,
    value: Option<&str>,
    quote: bool,
) -> fmt::Result {
    let Some(value) = value else { return write!(f, " {name}") };
    let quotes = value.contains('"');
    let spaces = value.is_empty() || value.contains(is_space);
    let value: String = value.chars().filter(|c| !c.is_control() || *c == '\t').collect();
    match (quotes, spaces || quote) {
        (false, false) => write!(f, " {name}={value}"),
        (false, true) => write!(f, " {name}=\"{value}\""),
        (true, _) if !spaces && !value.starts_with('"') => write!(f, " {name}={value}"),
        // The grammar has no way to write both.
        (true, _) => write!(f, " {name}=\"{}\"", value.replace('"', "'")),
    }
}
