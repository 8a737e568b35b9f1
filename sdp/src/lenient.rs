//! The second look at a description that does not parse as it stands: mends what can only have one meaning.

/// Rewrites `text` line by line. What is not listed in [`mend_line`] stays as it is and fails again.
pub(crate) fn mend(text: &[u8]) -> String {
    // RFC 8866 §5 is UTF-8, but names in Latin-1 are seen in `s=` and `i=`; none of them is worth a call.
    let text = String::from_utf8_lossy(text);
    let mut mended = String::with_capacity(text.len());
    // CR alone as line end, and the NUL of a C string sent along.
    for line in text.split(['\n', '\r']).map(|line| line.trim_matches('\0')) {
        if let Some(line) = mend_line(line) {
            mended.push_str(&line);
            mended.push_str("\r\n");
        }
    }
    mended
}

/// One line, or `None` when it says nothing.
fn mend_line(line: &str) -> Option<String> {
    let trimmed = line.trim();
    if trimmed.is_empty() {
        return None;
    }
    let Some((key, value)) = trimmed.split_once('=') else { return Some(line.to_owned()) };
    match key.trim() {
        // Doubled, leading and trailing spaces. RFC 6364 shows `m=` without any format: keep the field, empty.
        "m" => {
            let fields: Vec<&str> = value.split_whitespace().collect();
            let without_format = if fields.len() == 3 { " " } else { "" };
            Some(format!("m={}{without_format}", fields.join(" ")))
        }
        // A bandwidth that is no whole number cannot be obeyed; RFC 8866 §5.8 lets receivers ignore what they do not know.
        "b" => {
            let known =
                value.rsplit_once(':').is_some_and(|(_, number)| number.trim().parse::<u64>().is_ok());
            known.then(|| format!("b={}", value.split_whitespace().collect::<String>()))
        }
        key => Some(format!("{key}={value}")),
    }
}

#[cfg(test)]
mod tests {
    use crate::SessionDescription;

    fn parse(lines: &[&str]) -> SessionDescription {
        SessionDescription::parse(lines.join("\n").as_bytes()).unwrap()
    }

    #[test]
    fn what_phones_get_wrong_is_read_and_printed_right() {
        let description = parse(&[
            "v=0",
            "o=- 1 1 IN IP4 192.0.2.1",
            "b=AS:25.4",
            "   ",
            "c=IN IP4 192.0.2.1",
            "m= audio  49170 RTP/AVP 0  8 ",
            "m=application 30000 UDP/FEC",
        ]);
        assert_eq!(
            description.to_string(),
            "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
             m=audio 49170 RTP/AVP 0 8\r\nm=application 30000 UDP/FEC \r\n"
        );
        let again = SessionDescription::parse(&description.to_bytes()).unwrap();
        assert_eq!(again, description);
    }

    #[test]
    fn latin_1_bare_carriage_returns_and_a_trailing_nul_do_not_cost_a_call() {
        let text = b"v=0\ro=- 1 1 IN IP4 192.0.2.1\rs=B\xfcro\rt=0 0\r\0";
        let description = SessionDescription::parse(text).unwrap();
        assert_eq!(description.session().session_name, "B\u{fffd}ro");
    }

    #[test]
    fn the_empty_session_name_of_rfc_5359_is_accepted() {
        assert_eq!(parse(&["v=0", "o=- 1 1 IN IP4 192.0.2.1", "s=", "t=0 0"]).session().session_name, "");
    }

    #[test]
    fn nonsense_stays_an_error_and_names_its_line() {
        let error = SessionDescription::parse(b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\nhello\r\n").unwrap_err();
        assert!(error.to_string().contains("line 3"), "{error}");
        assert_eq!(error.status(), 400);
    }
}
