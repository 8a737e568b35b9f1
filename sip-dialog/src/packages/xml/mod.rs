//! Reading small documents of known vocabularies into a tree, within limits; and writing them.

mod element;
mod read;
mod write;

pub use element::{Attribute, Content, Element};
pub(crate) use read::{MAX_DEPTH, MAX_ELEMENTS, MAX_NAMESPACE, is_name, read, read_whole};
pub(crate) use write::{Writer, document, fragment};

/// Of which the declarations of namespaces are that stand at elements where a vocabulary wants them: a name per prefix, empty
/// for the default one. Nothing can be of it by itself, since a prefix of this name cannot be declared.
pub(crate) const DECLARED: &str = "xmlns:";

/// The namespaces of a kind of document: that of its root, and others with the prefixes to write.
#[derive(Debug)]
pub(crate) struct Vocabulary {
    pub(crate) namespace: &'static str,
    pub(crate) prefixes: &'static [(&'static str, &'static str)],
    /// Elements of this namespace keep what they declare: their attributes have names with prefixes in their values.
    pub(crate) declaring: Option<&'static str>,
}

impl Vocabulary {
    fn known(&self, namespace: &str) -> Option<&'static str> {
        let others = self.prefixes.iter().map(|(_, namespace)| *namespace);
        std::iter::once(self.namespace).chain(others).find(|known| *known == namespace)
    }

    fn has(&self, namespace: &str) -> bool {
        self.known(namespace).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packages::{DocumentError, MAX_OCTETS};

    const NAMESPACES: &[&str] = &["urn:a", "urn:b"];

    fn refused(text: &str) -> DocumentError {
        read(text.as_bytes(), NAMESPACES).unwrap_err()
    }

    #[test]
    fn namespaces_by_whatever_prefix() {
        let text = "<?xml version='1.0'?><!-- c --><x:a xmlns:x='urn:a' xmlns='urn:c' k='1 &amp; 2' x:k='3'>\
            t<x:b>&lt;&#65;<![CDATA[<&>]]></x:b><b><x:b>no</x:b></b><y:b xmlns:y='urn:b' xml:lang='en'/></x:a>";
        let root = read(text.as_bytes(), NAMESPACES).unwrap();
        assert!(root.is("urn:a", "a"));
        assert_eq!((root.attribute("k"), root.attribute("x:k"), root.text()), (Some("1 & 2"), None, "t"));
        assert_eq!(root.children("b").map(Element::text).collect::<Vec<_>>(), ["<A<&>"]);
        assert_eq!(root.children_of("urn:b", "b").next().unwrap().attribute("xml:lang"), Some("en"));
        // No namespace counts as the first.
        assert!(read(b"<a><b/></a>", NAMESPACES).unwrap().child("b").is_some());
    }

    /// Bombs and other documents that nobody sends in good faith.
    #[test]
    fn documents_that_are_refused() {
        let bomb = "<!DOCTYPE a [<!ENTITY x 'xx'><!ENTITY y '&x;&x;'>]><a>&y;</a>";
        assert_eq!(refused(bomb), DocumentError::DocumentType);
        assert_eq!(refused("<!DOCTYPE a SYSTEM 'file:///etc/passwd'><a/>"), DocumentError::DocumentType);
        assert_eq!(refused("<a>&y;</a>"), DocumentError::DocumentType);
        assert_eq!(refused("<a k='&y;'/>"), DocumentError::DocumentType);
        let deep = format!("{}{}", "<a>".repeat(17), "</a>".repeat(17));
        assert_eq!(refused(&deep), DocumentError::TooMany("elements within each other"));
        let deep = format!("<a>{}{}</a>", "<z:b>".repeat(17), "</z:b>".repeat(17));
        assert_eq!(refused(&deep), DocumentError::TooMany("elements within each other"));
        assert_eq!(refused(&format!("<a>{}</a>", "<b/>".repeat(20_000))), DocumentError::TooMany("elements"));
        let many: String = (0..33).map(|n| format!(" k{n}=''")).collect();
        assert_eq!(refused(&format!("<a{many}/>")), DocumentError::TooMany("attributes"));
        assert_eq!(refused(&" ".repeat(MAX_OCTETS + 1)), DocumentError::TooLong);
        assert_eq!(read(b"<a>\xff</a>", NAMESPACES).unwrap_err(), DocumentError::NotUtf8);
        for broken in [
            "",
            "text",
            "<a>",
            "<a></b>",
            "<a/><a/>",
            "<a/>x",
            "<a k='1' k='2'/>",
            "<a",
            "</a>",
            "<c xmlns='urn:c'/>",
            "<a>\u{1}</a>",
            "<a>&#1;</a>",
            "<a k='&#xffff;'/>",
        ] {
            assert!(matches!(refused(broken), DocumentError::Syntax(_)), "{broken}");
        }
    }

    /// RFC 3863 §4.1 has UTF-8. Whatever says that it is another one must be ASCII, and UTF-16 is refused as what it is.
    #[test]
    fn encodings_and_versions() {
        let fine = |text: &str| read(text.as_bytes(), NAMESPACES).unwrap();
        assert_eq!(fine("\u{feff}<?xml version='1.0' encoding='utf-8'?><a>\u{e4}</a>").text(), "\u{e4}");
        assert_eq!(fine("<?xml version='1.1'?><a>\u{85}x</a>").text(), "x");
        assert_eq!(fine("<?xml version='1.0' encoding='ISO-8859-1'?><a>a</a>").text(), "a");
        let latin = "<?xml version='1.0' encoding='ISO-8859-1'?><a>\u{e4}</a>";
        assert_eq!(refused(latin), DocumentError::NotUtf8);
        assert_eq!(read(b"<?xml version='1.0'?><a>\xe4</a>", NAMESPACES), Err(DocumentError::NotUtf8));
        let wide: Vec<u16> = "<a/>".encode_utf16().collect();
        for mark in [&[][..], &[0xfeff]] {
            let units = || mark.iter().chain(&wide);
            let big: Vec<u8> = units().flat_map(|unit| unit.to_be_bytes()).collect();
            let little: Vec<u8> = units().flat_map(|unit| unit.to_le_bytes()).collect();
            assert_eq!(read(&big, NAMESPACES), Err(DocumentError::NotUtf8));
            assert_eq!(read(&little, NAMESPACES), Err(DocumentError::NotUtf8));
        }
        assert!(matches!(refused("<?xml version='1.1'?><a>&#1;</a>"), DocumentError::Syntax(_)));
    }

    #[test]
    fn what_is_written_is_read() {
        let nasty = "a\"'<>&]]>\r\n\tz\u{1}";
        let mut writer = Writer::new();
        writer.start("a", &[("xmlns", Some("urn:a")), ("k", Some(nasty)), ("none", None)]);
        writer.leaf("b", &[], nasty);
        writer.leaf("b", &[], "");
        let text = writer.finish();
        let root = read(text.as_bytes(), NAMESPACES).unwrap();
        let kept = nasty.replace('\u{1}', "");
        assert_eq!(root.attribute("k"), Some(kept.as_str()));
        assert_eq!(root.attribute("none"), None);
        assert_eq!(root.children("b").map(Element::text).collect::<Vec<_>>(), [kept.as_str(), ""]);
    }
}
