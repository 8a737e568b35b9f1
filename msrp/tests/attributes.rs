//! What session descriptions carry: RFC 4975 §8, RFC 5547, RFC 6135, RFC 6714, RFC 7701.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use msrp::Path;
use msrp::file::{Disposition, FileError, FileRange, FileSelector, Incoming, Sha1Hash, TransferId};
use msrp::sdp::{Cema, Chatroom, Described, MaxSize, MediaTypes, Setup};

#[test]
fn rfc_4975_8_6_and_rfc_7701_8_lists_of_types_and_features() {
    let types: MediaTypes = "message/cpim text/* image/png;a=\"b c\"".parse().unwrap();
    assert_eq!(types.entries().count(), 3);
    for (text, takes) in
        [("TEXT/html;charset=utf-8", true), ("image/png", true), ("image/jpeg", false), ("nonsense", false)]
    {
        assert_eq!(types.takes(text), takes, "{text}");
    }
    assert!(MediaTypes::any().takes("video/mpeg"));
    for bad in ["", "text", "text/plain  text/html", "text/plain;", "text/plain;a", "text/\"x"] {
        assert!(bad.parse::<MediaTypes>().is_err(), "{bad}");
    }
    assert_eq!("10000".parse::<MaxSize>().unwrap(), MaxSize(10_000));
    assert!("-1".parse::<MaxSize>().is_err() && "".parse::<MaxSize>().is_err());
    let room: Chatroom = "nickname private-messages com.example.chat.foo".parse().unwrap();
    assert!(room.nicknames() && room.private_messages() && room.features().count() == 3);
    assert!(!"".parse::<Chatroom>().unwrap().nicknames());
}

#[test]
fn rfc_6135_who_opens_the_connection() {
    use Setup::{ActPass, Active, Passive};
    for (offer, answer, offerer) in [
        (None, None, true),
        (Some(ActPass), None, true),
        (Some(ActPass), Some(Active), false),
        (Some(ActPass), Some(Passive), true),
        (Some(Active), Some(Passive), true),
        (None, Some(Active), true),
    ] {
        assert_eq!(Setup::offerer_is_active(offer, answer), offerer, "{offer:?} {answer:?}");
    }
    assert_eq!([Active, Passive, ActPass].map(Setup::answer), [Passive, Active, Passive]);
    assert!("holdconn".parse::<Setup>().is_err());
}

#[test]
fn rfc_6714_which_address_is_used_and_when_to_fall_back() {
    let (direct, relayed): (Path, Path) = (
        "msrp://192.0.2.1:7394/a;tcp".parse().unwrap(),
        "msrps://192.0.2.9:9000/r;tcp msrp://192.0.2.1:7394/a;tcp".parse().unwrap(),
    );
    let here = ("192.0.2.1".parse().unwrap(), 7394);
    let middlebox = ("198.51.100.1".parse().unwrap(), 1000);
    let described = |path, media, cema, setup| Described { path, media, addresses: &[], cema, setup };
    for (path, media, cema, setup, we_relay, expected) in [
        (&direct, middlebox, true, Some(Setup::Passive), false, Cema::UseMediaLine),
        (&direct, middlebox, false, Some(Setup::Passive), false, Cema::UseMediaLine),
        (&direct, middlebox, false, Some(Setup::Active), false, Cema::FallBack),
        (&direct, middlebox, false, None, true, Cema::FallBack),
        (&relayed, middlebox, false, None, false, Cema::FallBack),
        (&relayed, here, false, None, false, Cema::UsePath),
        (&direct, here, false, Some(Setup::Active), false, Cema::UseMediaLine),
    ] {
        assert_eq!(described(path, media, cema, setup).as_answer(we_relay), expected, "{media:?} {setup:?}");
    }
    for (path, media, cema, setup, we_relay, expected) in [
        (&direct, middlebox, true, Some(Setup::ActPass), false, Cema::UseMediaLine),
        (&direct, middlebox, false, None, false, Cema::FallBack),
        (&direct, here, false, None, false, Cema::UsePath),
        (&relayed, here, true, Some(Setup::ActPass), true, Cema::UsePath),
        (&relayed, here, true, Some(Setup::Active), false, Cema::UsePath),
        (&direct, here, true, Some(Setup::Passive), true, Cema::UsePath),
        (&relayed, here, true, Some(Setup::ActPass), false, Cema::UseMediaLine),
    ] {
        assert_eq!(described(path, media, cema, setup).as_offer(we_relay), expected, "{media:?} {setup:?}");
    }
}

#[test]
fn rfc_5547_6_the_example_and_names_that_need_escapes() {
    let text = "name:\"My cool picture.jpg\" type:image/jpeg size:32349 \
                hash:sha-1:72:24:5F:E8:65:3D:DA:F3:71:36:2F:86:D4:71:91:3E:E4:A2:CE:2E";
    let selector: FileSelector = text.parse().unwrap();
    assert_eq!(selector.to_string(), text);
    assert_eq!(selector.hash.unwrap().0[..2], [0x72, 0x24]);
    let odd = FileSelector { name: Some("50 % \"of\" it".into()), ..FileSelector::default() };
    assert_eq!(odd.to_string(), "name:\"50 %25 %22of%22 it\"");
    assert_eq!(odd.to_string().parse::<FileSelector>().unwrap(), odd);
    assert_eq!("".parse::<FileSelector>().unwrap(), FileSelector::default());
    for bad in [
        "name:x",
        "name:\"\"",
        "name:\"%4\"",
        "size:x",
        "hash:sha-1:00",
        "colour:red",
        "size:1 size:2",
        "type:x",
    ] {
        assert!(bad.parse::<FileSelector>().is_err(), "{bad}");
    }
    // Another hash function than ours hinders nobody.
    assert_eq!("hash:sha-256:00:11 size:1".parse::<FileSelector>().unwrap().size, Some(1));
    assert_eq!("1-32349".parse::<FileRange>().unwrap(), FileRange { start: 1, stop: Some(32_349) });
    assert!(["0-1", "5-3", "1", "1-x"].iter().all(|text| text.parse::<FileRange>().is_err()));
    assert_eq!(FileRange { start: 4, stop: None }.octets(8), Some(5));
    assert_eq!(FileRange { start: 4, stop: Some(9) }.octets(8), None);
    assert_eq!("render".parse::<Disposition>().unwrap(), Disposition::Render);
    assert!(
        "vBnG916bdberum2fFEABR1FR3ExZMUrd".parse::<TransferId>().is_ok()
            && "a b".parse::<TransferId>().is_err()
    );
}

#[test]
fn rfc_5547_10_names_that_lead_elsewhere_are_not_used() {
    for (name, safe) in [
        ("picture.jpg", Some("picture.jpg")),
        ("../../etc/passwd", Some("passwd")),
        ("C:\\windows\\x.exe", Some("x.exe")),
        ("..", None),
        ("a/", None),
        ("a\nb", None),
        ("a:b", None),
    ] {
        let selector = FileSelector { name: Some(name.into()), ..FileSelector::default() };
        assert_eq!(selector.safe_name(), safe, "{name:?}");
    }
}

#[test]
fn a_file_that_is_not_the_one_described_is_found_out() {
    let described =
        FileSelector { size: Some(4), hash: Some(Sha1Hash::of(b"abcd")), ..FileSelector::default() };
    let arriving = |parts: &[(u64, &[u8])]| {
        let mut file = Incoming::new(&described, 100);
        parts.iter().try_for_each(|(offset, octets)| file.part(*offset, octets)).and_then(|()| file.finish())
    };
    assert_eq!(arriving(&[(0, b"ab"), (2, b"cd")]), Ok(()));
    assert_eq!(arriving(&[(0, b"abcx")]), Err(FileError::Hash));
    assert_eq!(arriving(&[(0, b"abc")]), Err(FileError::TooShort { expected: 4, found: 3 }));
    assert_eq!(arriving(&[(0, b"abcde")]), Err(FileError::TooLarge(4)));
    assert_eq!(arriving(&[(2, b"cd")]), Err(FileError::OutOfOrder { expected: 0, found: 2 }));
    let mut endless = Incoming::new(&FileSelector::default(), 3);
    assert_eq!(endless.part(0, b"abcd"), Err(FileError::TooLarge(3)));
}
