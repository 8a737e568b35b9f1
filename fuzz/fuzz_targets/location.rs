//! Location files: whatever is in one, it is read or refused, its bindings likewise; and a record that is read writes itself.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sip_message::headers::NameAddr;
use sip_server::location::journal::read_octets;
use sip_server::location::record::{Record, Stored, StoredRef};

/// Control characters of a display name are printed as spaces: no quoted string holds them as they are.
fn as_printed(address: &NameAddr) -> NameAddr {
    let space = |character: char| character.is_ascii_control() && character != '\t';
    match address.display_name() {
        Some(name) => address.clone().with_display_name(&name.replace(space, " ")),
        None => address.clone(),
    }
}

/// The same record with its bindings written anew.
fn again(record: &Record) {
    let bindings: Result<Vec<Stored>, _> = record.bindings().collect();
    let Ok(mut bindings) = bindings else { return };
    for binding in &mut bindings {
        binding.contact = as_printed(&binding.contact);
        binding.path = binding.path.iter().map(as_printed).collect();
    }
    let written = Record::new(record.aor(), bindings.iter().map(StoredRef::from), record.stamp());
    // What is printed anew may be spelled otherwise, and longer than fits.
    let Ok(written) = written else { return };
    let read = Record::read(written.octets()).expect("what was written is read");
    let same: Vec<Stored> = read.bindings().map(|binding| binding.expect("likewise")).collect();
    assert_eq!(same, bindings);
}

fuzz_target!(|input: &[u8]| {
    // With a checksum that fits, or nothing would get past it.
    if let Ok(record) = Record::read_unchecked(input) {
        again(&record);
    }
    let (whole, salvaged) = read_octets(input);
    for record in whole.into_iter().flatten().chain(salvaged) {
        again(&record);
    }
});
