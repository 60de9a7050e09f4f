//! The certificates inside a manifest, leaf first: what OCSP is asked about. No
//! XML is parsed here: the text between the tags is found by searching, and
//! whatever a hostile manifest makes of that is a question that nobody answers.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Certificates of a manifest's chain.
pub(super) const CHAIN_LENGTH: usize = 4;
/// Most bytes of a certificate.
const MAX_CERTIFICATE_BYTES: usize = 4096;
const TAG: &str = "X509Certificate>";

/// DER of each certificate, at most four; `None` if there is none, more, or one
/// that can't be read.
pub(super) fn certificates(xml: &str) -> Option<Vec<Vec<u8>>> {
    let mut found = Vec::new();
    let mut parts = xml.split(TAG);
    let mut before = parts.next()?;
    while let Some(text) = parts.next() {
        if !opens(before) || found.len() == CHAIN_LENGTH {
            return None;
        }
        let (text, closing) = text.rsplit_once("</")?;
        if closing.contains('<') {
            return None;
        }
        let text: String = text.split_ascii_whitespace().collect();
        let der = STANDARD.decode(text).ok()?;
        if der.len() > MAX_CERTIFICATE_BYTES {
            return None;
        }
        found.push(der);
        before = parts.next()?;
    }
    (!found.is_empty()).then_some(found)
}

/// Whether what stands before the tag's name opens an element.
fn opens(before: &str) -> bool {
    before
        .rsplit_once('<')
        .is_some_and(|(_, prefix)| prefix.is_empty() || (prefix.ends_with(':') && !prefix.contains('/')))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn certificates_are_found_in_their_order_with_any_prefix() {
        let xml =
            "<a><ds:X509Certificate>AQI=\n</ds:X509Certificate><X509Certificate> Aw==</X509Certificate></a>";
        assert_eq!(certificates(xml).unwrap(), [vec![1, 2], vec![3]]);
    }

    #[test]
    fn none_too_many_cut_and_unreadable_ones_are_refused() {
        let one = "<X509Certificate>AQ==</X509Certificate>";
        assert!(certificates(&one.repeat(4)).is_some());
        for xml in [
            String::new(),
            "<a/>".to_owned(),
            one.repeat(5),
            "<X509Certificate>AQ==".to_owned(),
            "<X509Certificate>AQ</X509Certificate>".to_owned(),
            "<X509Certificate>A!==</X509Certificate>".to_owned(),
            "</X509Certificate>AQ==</X509Certificate>".to_owned(),
            "<X509Certificate><b>AQ==</b></X509Certificate>".to_owned(),
        ] {
            assert_eq!(certificates(&xml), None, "{xml}");
        }
    }

    proptest! {
        #[test]
        fn searching_never_panics(xml in "(<|</|X509Certificate>|ds:|AQ==|.){0,30}") {
            let _ = certificates(&xml);
        }
    }
}
