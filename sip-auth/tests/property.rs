//! Whatever names and passwords are made of, client and server understand each other; whatever is sent, nothing panics.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod common;

use common::*;
use proptest::prelude::*;
use sip_auth::{Algorithm, Attempts, Authenticator, ClientPolicy, Secret, Verdict};
use sip_message::StatusCode;

proptest! {
    #[test]
    fn client_and_server_agree(
        realm in "[^\\p{C}]{1,20}",
        username in "[^\\p{C}]{1,20}",
        password in any::<String>(),
        other in any::<String>(),
        cnonce in "[!-~]{1,20}",
        algorithm in proptest::sample::select(Algorithm::ALL.to_vec()),
        prefer_integrity in any::<bool>(),
        body in "[ -~]{0,40}",
    ) {
        let mut config = config();
        config.realm = realm.clone();
        config.algorithms = vec![algorithm];
        config.offer_integrity = true;
        let (mut server, now) = verifier(config);
        let mut client = Authenticator::new(ClientPolicy { prefer_integrity, ..ClientPolicy::default() });
        client.add_account(Some(&realm), username.clone(), Secret::password(password.clone()));
        let mut request = request(sip_message::Method::Message, URI, &body);
        let response = refused(&mut server, &request, now);
        client.answer(&mut request, &response, &mut Attempts::default(), &cnonce).unwrap();
        let wrong = server.verify(&request, now, |_| Some(Secret::password(other.clone())));
        prop_assert_eq!(matches!(wrong, Verdict::Accepted(_)), other == password);
        if other != password {
            let right = server.verify(&request, now, |user| (user == username).then(|| Secret::password(password)));
            prop_assert!(matches!(right, Verdict::Accepted(_)), "{:?}", right);
        }
    }

    #[test]
    fn arbitrary_fields_never_panic_and_are_never_accepted(text in "(Digest )?([a-z*]{1,8}=(\"[ -~&&[^\"\\\\]]{0,12}\"|[a-zA-Z0-9]{0,9})(, )?){0,14}") {
        let mut request = invite();
        if request.headers.set_raw("Authorization", &text).is_ok() {
            let (mut server, now) = verifier(config());
            let verdict = server.verify(&request, now, secret_of);
            prop_assert!(!matches!(verdict, Verdict::Accepted(_)));
        }
        if let Ok(response) = request.reply(StatusCode::UNAUTHORIZED).raw("WWW-Authenticate", &text).build() {
            let _ = alice().answer(&mut request, &response, &mut Attempts::default(), "c");
        }
    }
}
