//! Messages to read, and what becomes of them when a few octets change.

use std::path::PathBuf;

/// Mutants of each run.
pub const MUTANTS: usize = 5_000;

/// Requests of our own, and those of RFC 4475 and RFC 5118 where they are at hand.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = [
        &include_bytes!("../../../sip-message/benches/data/invite.sip")[..],
        include_bytes!("../../../sip-message/benches/data/register.sip"),
        include_bytes!("../../../sip-message/benches/data/wsinv.sip"),
        include_bytes!("../../../sip-message/tests/data/options-folded-and-compact.sip"),
    ]
    .map(<[u8]>::to_vec)
    .to_vec();
    if let Some(root) = std::env::var_os("SIP_CORPUS").map(PathBuf::from) {
        for set in ["rfc4475", "rfc5118"] {
            let mut files: Vec<_> =
                std::fs::read_dir(root.join(set)).unwrap().map(|entry| entry.unwrap().path()).collect();
            files.sort();
            seeds.extend(
                files
                    .iter()
                    .filter(|path| path.extension().is_some_and(|e| e == "dat"))
                    .map(|path| std::fs::read(path).unwrap()),
            );
        }
    } else {
        println!(
            "SIP_CORPUS does not name a folder with rfc4475 and rfc5118: mutants of our own messages alone"
        );
    }
    seeds
}

/// A generator that gives the same mutants each time.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % below.max(1)
    }
}

/// One to three changes within the head, with octets that parsers trip over.
pub fn mutate(random: &mut Random, seed: &[u8]) -> Vec<u8> {
    const SPECIAL: &[&[u8]] = &[
        b"\r",
        b"\n",
        b"\t",
        b" ",
        b"\r\n ",
        b"\r\n",
        b":",
        b";",
        b",",
        b"<",
        b">",
        b"\"",
        b"\\",
        b"%",
        b"=",
        b"@",
        b"/",
        b"\0",
        b"\x7f",
        b"\xff",
        b"0",
        b"9",
        b"tag=x",
        b";tag=y",
        b"To: <sip:e@f>;tag=z\r\n",
        b"l: 3\r\n",
        b"()",
        b"?",
        b"*",
    ];
    let mut message = seed.to_vec();
    for _ in 0..=random.next(2) {
        let head = message.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or(message.len());
        let at = random.next(head);
        let special = SPECIAL[random.next(SPECIAL.len())];
        match random.next(4) {
            0 => drop(message.splice(at..at, special.iter().copied())),
            1 => drop(message.splice(at..=at, special.iter().copied())),
            2 => drop(message.remove(at)),
            _ => {
                let line = message[..at].iter().rposition(|&octet| octet == b'\n').map_or(0, |end| end + 1);
                let length =
                    message[line..].iter().position(|&octet| octet == b'\n').map_or(0, |end| end + 1);
                let copy = message[line..line + length].to_vec();
                message.splice(line..line, copy); // a line twice
            }
        }
    }
    message
}
