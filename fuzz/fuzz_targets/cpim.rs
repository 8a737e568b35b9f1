//! CPIM: any octets are read or refused, what is read prints and reads back equal, no value that is written becomes more
//! than one header, and of a notification no notification is told.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use sip_dialog::messaging::cpim::{Cpim, CpimAddress, SUBJECT};
use sip_dialog::messaging::imdn::{DeliveryStatus, Disposition, Imdn, Notification, Teller};

fuzz_target!(|input: &[u8]| {
    let octets = Bytes::copy_from_slice(input);
    if let Ok(message) = Cpim::parse_understanding(&octets, |_, _| true) {
        let again = Cpim::parse_understanding(&message.to_octets(), |_, _| true);
        assert_eq!(again.as_ref(), Ok(&message));
        assert!(octets.ends_with(&message.body));
        let told = Notification::Delivery(DeliveryStatus::Delivered);
        if let Ok(answer) = Imdn::answer(&message, told, Teller::Recipient, "id") {
            let answer = Cpim::parse(&answer.to_octets()).expect("what was made is read");
            assert!(answer.is_notification() && answer.asks_for().is_empty());
            assert!(Imdn::answer(&answer, told, Teller::Recipient, "id").is_err());
            let document = Imdn::parse(&answer.body).expect("what was made is read");
            assert_eq!(document.notification, Some(told));
        }
    }
    let Ok(text) = std::str::from_utf8(input) else { return };
    let mut made = Cpim::new("text/plain", "");
    made.push_from(&CpimAddress::new(Some(text), text));
    made.push(SUBJECT, Some(text), text);
    made.ask_for(text, &[Disposition::Display]);
    made.push_field("X-Field", text);
    if let Ok(read) = Cpim::parse(&made.to_octets()) {
        assert_eq!(read.headers().len(), 5);
        assert_eq!(read.fields().len(), 2);
        assert_eq!(read, made);
    } else {
        assert!(text.len() > 2_000, "only for its length");
    }
});
