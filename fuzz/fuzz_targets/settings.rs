//! A file of settings: read or refused with places in it, and what is read decides on calls of the same text.
#![no_main]

use std::net::{IpAddr, Ipv4Addr};

use libfuzzer_sys::fuzz_target;
use sip_message::{Method, Uri};
use sip_server::routing::rules::Facts;
use sip_server::routing::{Decision, MAX_STEPS};
use sip_server::settings::Settings;

fuzz_target!(|input: &[u8]| {
    let Ok(text) = std::str::from_utf8(input) else { return };
    // The last line of the settings is who is called too.
    let (settings, called) = text.rsplit_once('\n').unwrap_or((text, ""));
    match Settings::parse(text).or_else(|_| Settings::parse(settings)) {
        Ok(settings) => {
            let mut rules = settings.rules().clone();
            let Ok(uri) = Uri::sip(Some(called.trim_start_matches(['#', ' '])), "example.com", None) else { return };
            let aor = sip_server::AddressOfRecord::new(&uri, "example.com");
            for (method, user) in [(Method::Invite, None), (Method::Invite, Some("alice")), (Method::Message, None)] {
                let decision = rules.decide(&Facts {
                    method: &method,
                    uri: &uri,
                    called: aor.as_ref(),
                    caller: Some(&uri),
                    user,
                    source: IpAddr::V4(Ipv4Addr::LOCALHOST),
                    route: None,
                });
                if let Decision::Proxy(steps) = decision {
                    assert!(!steps.is_empty() && steps.len() <= MAX_STEPS);
                    for (index, step) in steps.iter().enumerate() {
                        assert!(step.after.is_none_or(|after| after < index), "a step comes after its condition");
                    }
                }
            }
        }
        Err(error) => {
            let lines = settings.matches('\n').count() + 1;
            assert!(!error.faults.is_empty());
            assert!(error.faults.iter().all(|fault| fault.column >= 1 && (1..=lines).contains(&fault.line)));
        }
    }
});
