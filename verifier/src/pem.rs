//! Certificates and revocation lists in PEM \[RFC 7468\], as AMD's key
//! distribution service gives chains. Decodes the armour; judges nothing inside.

/// Most bytes of PEM text.
const MAX_PEM_BYTES: usize = 64 * 1024;
/// Most blocks.
const MAX_BLOCKS: usize = 16;
const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";

/// Why text isn't PEM of certificates.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PemError {
    /// Too much text or too many blocks.
    #[error("PEM of at most {MAX_PEM_BYTES} bytes and {MAX_BLOCKS} blocks was expected")]
    TooLarge,
    /// Not text.
    #[error("PEM was expected, got bytes that are no text; DER files are given as they are")]
    NotText,
    /// No block in it.
    #[error("PEM was expected, with at least one `-----BEGIN CERTIFICATE-----`")]
    Empty,
    /// A block that has no end, or whose base64 is wrong.
    #[error("PEM block {index} cannot be decoded")]
    Block {
        /// Which block, from 1.
        index: usize,
    },
    /// A block of another kind.
    #[error("PEM block {index} is `{label}`, expected `CERTIFICATE` or `X509 CRL`")]
    Label {
        /// Which block, from 1.
        index: usize,
        /// Its label.
        label: String,
    },
}

/// DER of every block of PEM text, in order. Text between blocks is passed
/// over, as are carriage returns and spaces at the ends of lines.
///
/// # Errors
/// [`PemError`] names the first block that is no certificate or revocation list.
pub fn pem_certificates(text: &[u8]) -> Result<Vec<Vec<u8>>, PemError> {
    if text.len() > MAX_PEM_BYTES {
        return Err(PemError::TooLarge);
    }
    let text = core::str::from_utf8(text).map_err(|_| PemError::NotText)?;
    let mut blocks = Vec::new();
    let mut block: Option<String> = None;
    for line in text.lines().map(str::trim) {
        if line.starts_with(BEGIN) {
            if block.is_some() {
                return Err(PemError::Block {
                    index: blocks.len() + 1,
                });
            }
            block = Some(String::new());
        }
        let Some(mut open) = block.take() else { continue };
        open.push_str(line);
        open.push('\n');
        if line.starts_with(END) {
            if blocks.len() == MAX_BLOCKS {
                return Err(PemError::TooLarge);
            }
            blocks.push(decode(&open, blocks.len() + 1)?);
        } else {
            block = Some(open);
        }
    }
    if block.is_some() {
        return Err(PemError::Block {
            index: blocks.len() + 1,
        });
    }
    if blocks.is_empty() {
        return Err(PemError::Empty);
    }
    Ok(blocks)
}

fn decode(block: &str, index: usize) -> Result<Vec<u8>, PemError> {
    let (label, bytes) = der::pem::decode_vec(block.as_bytes()).map_err(|_| PemError::Block { index })?;
    match label {
        "CERTIFICATE" | "X509 CRL" => Ok(bytes),
        _ => Err(PemError::Label {
            index,
            label: label.to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::{PemError, pem_certificates};
    use proptest::prelude::*;

    const BLOCK: &str = "-----BEGIN CERTIFICATE-----\r\nAAEC\r\n-----END CERTIFICATE-----\r\n\r\n";

    #[test]
    fn blocks_come_in_order_and_text_between_is_passed_over() {
        let text = format!("subject=x\n{BLOCK}\nissuer=y\n{BLOCK}");
        assert_eq!(pem_certificates(text.as_bytes()).unwrap(), [[0, 1, 2], [0, 1, 2]]);
    }

    #[test]
    fn what_is_no_certificate_is_named() {
        assert_eq!(pem_certificates(b"\x30\x82\xff"), Err(PemError::NotText));
        assert_eq!(pem_certificates(b"hello"), Err(PemError::Empty));
        let key = BLOCK.replace("CERTIFICATE", "PRIVATE KEY");
        assert!(matches!(
            pem_certificates(key.as_bytes()),
            Err(PemError::Label { index: 1, .. })
        ));
        let cut = format!("{BLOCK}-----BEGIN CERTIFICATE-----\nAAEC");
        assert_eq!(
            pem_certificates(cut.as_bytes()),
            Err(PemError::Block { index: 2 })
        );
        assert_eq!(
            pem_certificates(BLOCK.repeat(17).as_bytes()),
            Err(PemError::TooLarge)
        );
    }

    proptest! {
        #[test]
        fn decoding_never_panics(text in ".{0,200}") {
            let _ = pem_certificates(text.as_bytes());
        }
    }
}
