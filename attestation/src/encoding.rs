//! Certificates and revocation lists out of files and host tables, DER or PEM.
//! Finds where each begins and ends; does not look inside. Hosts pad their
//! blobs with zeros and line ends, which is passed over; other bytes are not.

use der::{Reader as _, SliceReader};

/// Most bytes of one certificate or revocation list, as in an evidence envelope.
pub const MAX_OBJECT_BYTES: usize = 16 * 1024;
/// Most certificates or lists in one input.
const MAX_OBJECTS: usize = 8;
const SEQUENCE: u8 = 0x30;
const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";

/// What an input should consist of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Certificates.
    Certificate,
    /// Revocation lists.
    RevocationList,
}

impl Kind {
    /// The label of its PEM blocks \[RFC 7468\].
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Certificate => "CERTIFICATE",
            Self::RevocationList => "X509 CRL",
        }
    }
}

/// Why an input can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodingError {
    /// The input is neither DER nor PEM, or empty.
    #[error("expected DER or PEM, got neither")]
    Neither,
    /// An object that isn't whole, or bytes after one.
    #[error("object {index} is cut short or is no DER SEQUENCE")]
    Der {
        /// Which object, from 1.
        index: usize,
    },
    /// A PEM block without an end, or whose base64 is wrong.
    #[error("PEM block {index} cannot be decoded")]
    Pem {
        /// Which block, from 1.
        index: usize,
    },
    /// A PEM block of another kind.
    #[error("PEM block {index} is not `{expected}`")]
    Label {
        /// Which block, from 1.
        index: usize,
        /// The label that was expected.
        expected: &'static str,
    },
    /// Too many objects, or too large a one.
    #[error("more than {MAX_OBJECTS} objects, or one of more than {MAX_OBJECT_BYTES} bytes")]
    TooLarge,
}

/// DER of every object in the input, at least one.
///
/// # Errors
/// [`EncodingError`] names the first fault.
pub fn objects(input: &[u8], kind: Kind) -> Result<Vec<Vec<u8>>, EncodingError> {
    let found = if input.first() == Some(&SEQUENCE) {
        from_der(input)?
    } else {
        from_pem(input, kind)?
    };
    if found.is_empty() {
        return Err(EncodingError::Neither);
    }
    if found.iter().any(|object| object.len() > MAX_OBJECT_BYTES) {
        return Err(EncodingError::TooLarge);
    }
    Ok(found)
}

fn from_der(input: &[u8]) -> Result<Vec<Vec<u8>>, EncodingError> {
    let mut found = Vec::new();
    let mut rest = input;
    while !rest.is_empty() {
        if found.len() == MAX_OBJECTS {
            return Err(EncodingError::TooLarge);
        }
        let fault = EncodingError::Der {
            index: found.len() + 1,
        };
        if rest.first() != Some(&SEQUENCE) {
            return Err(fault);
        }
        let object = SliceReader::new(rest)
            .and_then(|mut reader| reader.tlv_bytes())
            .map_err(|_| fault.clone())?;
        found.push(object.to_vec());
        rest = rest.get(object.len()..).ok_or(fault)?;
        let padding = rest.iter().take_while(|byte| is_padding(**byte)).count();
        rest = rest.get(padding..).unwrap_or_default();
    }
    Ok(found)
}

const fn is_padding(byte: u8) -> bool {
    matches!(byte, 0 | b'\r' | b'\n' | b' ')
}

fn from_pem(input: &[u8], kind: Kind) -> Result<Vec<Vec<u8>>, EncodingError> {
    let text = core::str::from_utf8(input).map_err(|_| EncodingError::Neither)?;
    let mut found = Vec::new();
    let mut block: Option<String> = None;
    for line in text.lines().map(str::trim) {
        let index = found.len() + 1;
        if line.starts_with(BEGIN) {
            if block.replace(String::new()).is_some() {
                return Err(EncodingError::Pem { index });
            }
            if found.len() == MAX_OBJECTS {
                return Err(EncodingError::TooLarge);
            }
        }
        // Text outside of blocks is a comment.
        let Some(mut open) = block.take() else { continue };
        open.push_str(line);
        open.push('\n');
        if line.starts_with(END) {
            let (label, der) =
                der::pem::decode_vec(open.as_bytes()).map_err(|_| EncodingError::Pem { index })?;
            if label != kind.label() {
                return Err(EncodingError::Label {
                    index,
                    expected: kind.label(),
                });
            }
            found.push(der);
        } else {
            block = Some(open);
        }
    }
    match block {
        Some(_) => Err(EncodingError::Pem {
            index: found.len() + 1,
        }),
        None => Ok(found),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DER: [u8; 5] = [0x30, 3, 1, 2, 3];
    const PEM: &str = "-----BEGIN CERTIFICATE-----\r\nMAMBAgM=\r\n-----END CERTIFICATE-----\r\n";

    fn certificates(input: &[u8]) -> Result<Vec<Vec<u8>>, EncodingError> {
        objects(input, Kind::Certificate)
    }

    #[test]
    fn der_and_pem_give_the_same_with_padding_or_without() {
        let expected = Ok(vec![DER.to_vec()]);
        assert_eq!(certificates(&DER), expected);
        assert_eq!(
            certificates(&[DER.as_slice(), &[0; 9], b"\r\n"].concat()),
            expected
        );
        assert_eq!(certificates(PEM.as_bytes()), expected);
        assert_eq!(
            certificates(format!("subject\n{PEM}\r\n\0\0").as_bytes()),
            expected
        );
        assert_eq!(certificates(&DER.repeat(2)), Ok(vec![DER.to_vec(); 2]));
        assert_eq!(certificates(PEM.repeat(2).as_bytes()), Ok(vec![DER.to_vec(); 2]));
    }

    #[test]
    fn what_is_neither_is_named() {
        assert_eq!(certificates(b""), Err(EncodingError::Neither));
        assert_eq!(certificates(b"hello"), Err(EncodingError::Neither));
        assert_eq!(certificates(&[0xff; 4]), Err(EncodingError::Neither));
        assert_eq!(certificates(&DER[..4]), Err(EncodingError::Der { index: 1 }));
        let followed = [DER.as_slice(), &[1]].concat();
        assert_eq!(certificates(&followed), Err(EncodingError::Der { index: 2 }));
        let key = PEM.replace("CERTIFICATE", "PRIVATE KEY");
        assert!(matches!(
            certificates(key.as_bytes()),
            Err(EncodingError::Label { index: 1, .. })
        ));
        assert_eq!(
            certificates(&PEM.as_bytes()[..40]),
            Err(EncodingError::Pem { index: 1 })
        );
        assert_eq!(
            certificates(PEM.repeat(9).as_bytes()),
            Err(EncodingError::TooLarge)
        );
        assert_eq!(certificates(&DER.repeat(9)), Err(EncodingError::TooLarge));
        let large = [&[0x30, 0x82, 0x50, 0x00], [0; 0x5000].as_slice()].concat();
        assert_eq!(certificates(&large), Err(EncodingError::TooLarge));
    }

    proptest! {
        #[test]
        fn bytes_never_panic(bytes: Vec<u8>, lead in prop::sample::select(vec![0x30, b'-'])) {
            let _ = certificates(&bytes);
            let _ = certificates(&[vec![lead], bytes].concat());
        }

        #[test]
        fn text_never_panics(text in "(-----BEGIN CERTIFICATE-----\n)?[A-Za-z0-9+/=\r\n-]{0,80}(-----END CERTIFICATE-----)?") {
            let _ = certificates(text.as_bytes());
        }
    }
}
