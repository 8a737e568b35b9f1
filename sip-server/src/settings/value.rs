//! Values of TOML as settings: what they may be, where they stand, how the reference shows them.

use std::collections::BTreeMap;
use std::ops::Deref;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::fault::{Faults, did_you_mean};

/// A value and where it stands, for what can be said of it only when all is read.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct At<T> {
    value: T,
    pub(super) offset: usize,
}

impl<T> Deref for At<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> At<T> {
    pub(super) fn nowhere(value: T) -> Self {
        Self { value, offset: 0 }
    }
}

/// A text that is not shown where settings are printed: a password.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Private(String);

impl Private {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Deref for Private {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Private {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(not shown)")
    }
}

impl Setting for Private {
    fn kind() -> String {
        String::kind()
    }

    fn shown(&self) -> Option<String> {
        None
    }

    fn read(value: &Spanned<DeValue<'_>>, faults: &mut Faults) -> Option<Self> {
        String::read(value, faults).map(Self)
    }
}

/// What a table may hold.
pub(super) struct Described {
    pub(super) name: &'static str,
    pub(super) about: &'static [&'static str],
    pub(super) kind: String,
    pub(super) default: Option<String>,
    pub(super) table: Option<fn() -> Vec<Described>>,
}

/// Something that can stand in a file of settings.
pub(super) trait Setting: Sized {
    /// In words.
    fn kind() -> String;

    /// What is in it, if it is a table.
    fn table() -> Option<fn() -> Vec<Described>> {
        None
    }

    /// As it would be written; `None` if nothing is.
    fn shown(&self) -> Option<String>;

    /// `None` after adding why not.
    fn read(value: &Spanned<DeValue<'_>>, faults: &mut Faults) -> Option<Self>;
}

/// Says that something else was expected.
pub(super) fn expected<T>(value: &Spanned<DeValue<'_>>, what: &str, faults: &mut Faults) -> Option<T> {
    faults.add(value.span().start, format!("expected {what}, found {}", article(value.get_ref().type_str())));
    None
}

fn article(kind: &str) -> String {
    let vowel = kind.starts_with(['a', 'e', 'i', 'o', 'u']);
    format!("{} {kind}", if vowel { "an" } else { "a" })
}

/// The table in a value, every key of which must be known.
pub(super) fn known_table<'t, 'i>(
    value: &'t Spanned<DeValue<'i>>,
    keys: &[&str],
    faults: &mut Faults,
) -> Option<&'t DeTable<'i>> {
    let Some(table) = value.get_ref().as_table() else {
        return expected(value, "a table", faults);
    };
    for (key, _) in table.iter() {
        let name = key.get_ref().as_ref();
        if !keys.contains(&name) {
            let meant = did_you_mean(name, keys.iter().copied());
            faults.add(key.span().start, format!("unknown key \"{name}\"{meant}"));
        }
    }
    Some(table)
}

impl Setting for bool {
    fn kind() -> String {
        "true or false".into()
    }

    fn shown(&self) -> Option<String> {
        Some(self.to_string())
    }

    fn read(value: &Spanned<DeValue<'_>>, faults: &mut Faults) -> Option<Self> {
        value.get_ref().as_bool().or_else(|| expected(value, "true or false", faults))
    }
}

macro_rules! numbers {
    ($($type:ty),*) => { $(
        impl Setting for $type {
            fn kind() -> String {
                "number".into()
            }

            fn shown(&self) -> Option<String> {
                Some(self.to_string())
            }

            fn read(value: &Spanned<DeValue<'_>>, faults: &mut Faults) -> Option<Self> {
                let Some(number) = value.get_ref().as_integer() else {
                    return expected(value, "a whole number", faults);
                };
                let read = <$type>::from_str_radix(number.as_str(), number.radix());
                if read.is_err() {
                    faults.add(value.span().start, format!("expected a number from 0 to {}", <$type>::MAX));
                }
                read.ok()
            }
        }
    )* };
}

numbers!(u16, u32, usize);

impl Setting for String {
    fn kind() -> String {
        "text".into()
    }

    fn shown(&self) -> Option<String> {
        (!self.is_empty()).then(|| format!("{self:?}"))
    }

    fn read(value: &Spanned<DeValue<'_>>, faults: &mut Faults) -> Option<Self> {
        value.get_ref().as_str().map(str::to_owned).or_else(|| expected(value, "a text in quotes", faults))
    }
}

impl<T: Setting> Setting for At<T> {
    fn kind() -> String {
        T::kind()
    }

    fn table() -> Option<fn() -> Vec<Described>> {
        T::table()
    }

    fn shown(&self) -> Option<String> {
        self.value.shown()
    }

    fn read(value: &Spanned<DeValue<'_>>, faults: &mut Faults) -> Option<Self> {
        Some(Self { value: T::read(value, faults)?, offset: value.span().start })
    }
}

impl<T: Setting> Setting for Option<T> {
    fn kind() -> String {
        T::kind()
    }

    fn table() -> Option<fn() -> Vec<Described>> {
        T::table()
    }

    fn shown(&self) -> Option<String> {
        self.as_ref().and_then(T::shown)
    }

    fn read(value: &Spanned<DeValue<'_>>, faults: &mut Faults) -> Option<Self> {
        T::read(value, faults).map(Some)
    }
}

impl<T: Setting> Setting for Vec<T> {
    fn kind() -> String {
        match T::kind().as_str() {
            "text" => "list of texts".into(),
            "table" => "list of tables".into(),
            other => format!("list: {other}"),
        }
    }

    fn table() -> Option<fn() -> Vec<Described>> {
        T::table()
    }

    fn shown(&self) -> Option<String> {
        let all: Vec<String> = self.iter().filter_map(T::shown).collect();
        (!all.is_empty()).then(|| format!("[{}]", all.join(", ")))
    }

    fn read(value: &Spanned<DeValue<'_>>, faults: &mut Faults) -> Option<Self> {
        let Some(list) = value.get_ref().as_array() else {
            return expected(value, "a list in brackets", faults);
        };
        // Each that is wrong is told.
        Some(list.iter().filter_map(|one| T::read(one, faults)).collect())
    }
}

impl<T: Setting> Setting for BTreeMap<At<String>, T> {
    fn kind() -> String {
        format!("table of any names, each a {}", T::kind())
    }

    fn shown(&self) -> Option<String> {
        None
    }

    fn read(value: &Spanned<DeValue<'_>>, faults: &mut Faults) -> Option<Self> {
        let Some(table) = value.get_ref().as_table() else {
            return expected(value, "a table", faults);
        };
        let entries = table.iter().filter_map(|(key, value)| {
            let name = At { value: key.get_ref().to_string(), offset: key.span().start };
            Some((name, T::read(value, faults)?))
        });
        Some(entries.collect())
    }
}

/// Declares a table of settings: its fields with their documentation and defaults, and how it is read.
macro_rules! settings {
    ($(#[doc = $about:literal])* $name:ident {
        $( $(#[doc = $doc:literal])* $field:ident : $type:ty = $default:expr ),* $(,)?
    }) => {
        $(#[doc = $about])*
        #[derive(Clone, Debug)]
        #[non_exhaustive]
        pub struct $name {
            /// Where it stands in the text.
            #[allow(dead_code)] // not of all tables anything is said as a whole
            pub(super) at: usize,
            $( $(#[doc = $doc])* pub $field: $type, )*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { at: 0, $( $field: $default, )* }
            }
        }

        impl Setting for $name {
            fn kind() -> String {
                "table".into()
            }

            fn table() -> Option<fn() -> Vec<Described>> {
                fn table() -> Vec<Described> {
                    let default = $name::default();
                    vec![ $( Described {
                        name: stringify!($field),
                        about: &[$($doc),*],
                        kind: <$type as Setting>::kind(),
                        default: default.$field.shown(),
                        table: <$type as Setting>::table(),
                    }, )* ]
                }
                Some(table)
            }

            fn shown(&self) -> Option<String> {
                None
            }

            fn read(value: &Spanned<DeValue<'_>>, faults: &mut Faults) -> Option<Self> {
                let table = known_table(value, &[$(stringify!($field)),*], faults)?;
                let mut all = Self { at: value.span().start, ..Self::default() };
                $(
                    if let Some(value) = table.get(stringify!($field))
                        && let Some(read) = <$type as Setting>::read(value, faults)
                    {
                        all.$field = read;
                    }
                )*
                Some(all)
            }
        }
    };
}

pub(super) use settings;
