//! What a reader asks of a field that it has read: every answer holds for what is printed too, and none panics.

mod addresses;
mod words;

use sip_message::HeaderName;
use sip_message::headers::Header;

/// Asks a value everything that its type can tell.
pub fn ask(name: HeaderName, value: &str) {
    addresses::ask(name, value);
    words::ask(name, value);
}

/// The value, if the field is of this type and the value is one.
fn read<H: Header>(name: HeaderName, value: &str) -> Option<H> {
    if name == H::NAME { H::parse(value).ok() } else { None }
}

/// What was changed and printed still reads, as what prints the same: a control character in a name became a space.
fn reads_back<H: Header>(header: &H) {
    let text = printed(header);
    assert_eq!(H::parse(&text).map(|read| printed(&read)).as_ref(), Ok(&text));
}

fn printed(header: &impl Header) -> String {
    let mut text = String::new();
    header.write(&mut text);
    text
}
