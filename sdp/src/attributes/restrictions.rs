//! What an `a=rid` line says of its stream (RFC 8851 §5).

use std::fmt;

/// A restriction of a stream, independent of its codec (RFC 8851 §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Restriction {
    /// Pixels across.
    MaxWidth,
    /// Pixels down.
    MaxHeight,
    /// Frames in a second.
    MaxFps,
    /// Pixels of a frame.
    MaxFs,
    /// Bits of payload in a second.
    MaxBr,
    /// Pixels in a second.
    MaxPps,
    /// Bits of a pixel, in ten-thousandths: 15000 is `1.5`.
    MaxBpp,
}

/// RFC 8851 §5: from 0.0001 to 48.0 bits for a pixel.
const MAX_BPP: u64 = 480_000;

impl Restriction {
    const ALL: [Restriction; 7] = [
        Restriction::MaxWidth,
        Restriction::MaxHeight,
        Restriction::MaxFps,
        Restriction::MaxFs,
        Restriction::MaxBr,
        Restriction::MaxPps,
        Restriction::MaxBpp,
    ];

    /// Its name in `a=rid`.
    pub fn as_str(self) -> &'static str {
        match self {
            Restriction::MaxWidth => "max-width",
            Restriction::MaxHeight => "max-height",
            Restriction::MaxFps => "max-fps",
            Restriction::MaxFs => "max-fs",
            Restriction::MaxBr => "max-br",
            Restriction::MaxPps => "max-pps",
            Restriction::MaxBpp => "max-bpp",
        }
    }

    /// The value that a text stands for. Nothing fits into a limit of 0.
    fn value(self, text: &str) -> Option<u64> {
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if self != Restriction::MaxBpp {
            return text.parse().ok().filter(|value| digits(text) && *value > 0);
        }
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        if !digits(whole) || !digits(fraction) || fraction.len() > 4 {
            return None;
        }
        let value = format!("{whole}{fraction:0<4}").parse().ok();
        value.filter(|value| self.is_sound(*value))
    }

    fn is_sound(self, value: u64) -> bool {
        value > 0 && (self != Restriction::MaxBpp || value <= MAX_BPP)
    }
}

/// The restrictions of a stream, in the order of the text.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Restrictions {
    known: Vec<(Restriction, Option<u64>)>,
    others: Vec<String>,
}

impl Restrictions {
    /// None.
    pub fn new() -> Self {
        Restrictions::default()
    }

    /// The same with this limit, in the unit of the [`Restriction`].
    #[must_use]
    pub fn with(mut self, restriction: Restriction, most: u64) -> Self {
        self.set(restriction, Some(most));
        self
    }

    /// The same with a limit that the answerer may set (RFC 8851 §6.1: the name without a value).
    #[must_use]
    pub fn asking(mut self, restriction: Restriction) -> Self {
        self.set(restriction, None);
        self
    }

    pub(crate) fn set(&mut self, restriction: Restriction, most: Option<u64>) {
        match self.known.iter_mut().find(|(known, _)| *known == restriction) {
            Some((_, value)) => *value = most,
            None => self.known.push((restriction, most)),
        }
    }

    /// The limit, if there is one.
    pub fn most(&self, restriction: Restriction) -> Option<u64> {
        self.stated(restriction).flatten()
    }

    /// What is said of it: `Some(None)` if it is asked for.
    pub(crate) fn stated(&self, restriction: Restriction) -> Option<Option<u64>> {
        self.known.iter().find(|(known, _)| *known == restriction).map(|(_, value)| *value)
    }

    pub(crate) fn known(&self) -> impl Iterator<Item = (Restriction, Option<u64>)> {
        self.known.iter().copied()
    }

    /// Both at once: of each the smaller limit, which is what holds (RFC 8851 §8). What is only asked for is no limit.
    #[must_use]
    pub fn and(&self, other: &Restrictions) -> Restrictions {
        let mut both = self.clone();
        for (restriction, most) in other.known() {
            let Some(most) = most else { continue };
            both.set(restriction, Some(both.most(restriction).map_or(most, |own| own.min(most))));
        }
        both
    }

    /// Restrictions that this crate does not know, as they stand: `name` or `name=value`.
    pub fn others(&self) -> &[String] {
        &self.others
    }

    /// Whether every limit can be written and kept.
    pub(crate) fn is_sound(&self) -> bool {
        self.known.iter().all(|(known, value)| value.is_none_or(|value| known.is_sound(value)))
    }

    /// Takes one parameter. `None` if it is malformed, or there already (RFC 8851 §6.2.2).
    pub(crate) fn take(&mut self, parameter: &str) -> Option<()> {
        let (name, value) = match parameter.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (parameter, None),
        };
        let named = |other: &String| other.split('=').next() == Some(name);
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
            return None;
        }
        match Restriction::ALL.into_iter().find(|known| known.as_str() == name) {
            Some(known) if self.stated(known).is_some() => return None,
            Some(known) => {
                let value = match value {
                    Some(text) => Some(known.value(text)?),
                    None => None,
                };
                self.known.push((known, value));
            }
            None if self.others.iter().any(named) => return None,
            None => self.others.push(parameter.to_owned()),
        }
        Some(())
    }
}

/// As in `a=rid`: `max-width=1280;max-fps=30`.
impl fmt::Display for Restrictions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (known, value) in &self.known {
            write!(f, "{separator}{}", known.as_str())?;
            separator = ";";
            match value {
                // Ten-thousandths.
                Some(value) if *known == Restriction::MaxBpp => {
                    let (whole, rest) = (value / 10_000, value % 10_000);
                    let fraction = format!("{rest:04}");
                    let fraction = fraction.trim_end_matches('0');
                    write!(f, "={whole}.{}", if fraction.is_empty() { "0" } else { fraction })?;
                }
                Some(value) => write!(f, "={value}")?,
                None => {}
            }
        }
        for other in &self.others {
            write!(f, "{separator}{other}")?;
            separator = ";";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Option<Restrictions> {
        let mut restrictions = Restrictions::new();
        text.split(';').try_for_each(|parameter| restrictions.take(parameter)).map(|()| restrictions)
    }

    #[test]
    fn rfc8851_5_values_are_whole_numbers_and_bits_of_a_pixel_have_four_places() {
        let text = "max-width=1280;max-fps;max-bpp=1.5;max-br=64000;x-y=z;w";
        let all = read(text).unwrap();
        assert_eq!(all.to_string(), text);
        assert_eq!((all.most(Restriction::MaxBpp), all.most(Restriction::MaxFps)), (Some(15_000), None));
        assert_eq!((all.stated(Restriction::MaxFps), all.stated(Restriction::MaxFs)), (Some(None), None));
        assert_eq!(all.others(), ["x-y=z", "w"]);
        assert_eq!(read("max-bpp=0.0001;max-fs=9").unwrap().to_string(), "max-bpp=0.0001;max-fs=9");
        assert_eq!(read("max-bpp=48").unwrap().to_string(), "max-bpp=48.0");
        for bad in [
            "max-width=",
            "max-width=0",
            "max-width=-1",
            "max-width=+1",
            "max-width=1.5",
            "max-bpp=48.1",
            "max-bpp=0.0",
            "max-bpp=1.00001",
            "max-bpp=.5",
            "max-fps=1;max-fps=2",
            "x;x=1",
            "",
            "a_b=1",
            "max-br=99999999999999999999999",
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn print_and_parse_are_inverse(text in "(max-(width|fps|bpp|br)(=[0-9.]{1,6})?;?|[a-z]{1,3}(=[!-:]{0,3})?;?){0,5}") {
            if let Some(restrictions) = read(&text) {
                prop_assert_eq!(read(&restrictions.to_string()), Some(restrictions));
            }
        }
    }
}
