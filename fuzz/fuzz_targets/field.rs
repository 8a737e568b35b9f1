//! Any field by its number, then its value: what its type reads it prints, and reads again as the same; its elements
//! stand where they say.
#![no_main]

mod views;

use libfuzzer_sys::fuzz_target;
use sip_message::HeaderName;

fuzz_target!(|input: &[u8]| {
    let Some((&number, value)) = input.split_first() else { return };
    let octets = value;
    let Ok(value) = std::str::from_utf8(value) else { return };
    let count = HeaderName::all().count();
    let Some(name) = HeaderName::all().nth(usize::from(number) % count) else { return };
    let mut before = 0;
    for element in name.elements(octets) {
        assert!(before <= element.at && element.at <= octets.len(), "{name}");
        if let Err(error) = element.parts {
            assert!(error.at <= octets.len(), "{name}: {error}");
        }
        before = element.at;
    }
    views::ask(name, value);
    if let Ok(printed) = name.reprint(value) {
        assert_eq!(name.reprint(&printed).as_ref(), Ok(&printed), "{name}");
    }
});
