//! The GHCB certificate table that a host may hand over with a report
//! (\[GHCB 56421, "SNP Extended Guest Request"\]; `auxblob` of configfs-tsm).
//! The host writes it: hostile input, often empty.

/// Most bytes of a table.
const MAX_TABLE_BYTES: usize = 64 * 1024;
/// Most bytes of one certificate.
const MAX_CERTIFICATE_BYTES: usize = 16 * 1024;
const MAX_ENTRIES: usize = 16;
const ENTRY_BYTES: usize = 24;

/// GUIDs as they lie in memory: first three groups little-endian.
const VCEK: [u8; 16] = guid(
    0x63da_758d,
    0xe664,
    0x4564,
    [0xad, 0xc5, 0xf4, 0xb9, 0x3b, 0xe8, 0xac, 0xcd],
);
const VLEK: [u8; 16] = guid(
    0xa807_4bc2,
    0xa25a,
    0x483e,
    [0xaa, 0xe6, 0x39, 0xc0, 0x45, 0xa0, 0xb8, 0xa1],
);
const ASK: [u8; 16] = guid(
    0x4ab7_b379,
    0xbbac,
    0x4fe4,
    [0xa0, 0x2f, 0x05, 0xae, 0xf3, 0x27, 0xc7, 0x82],
);
const ARK: [u8; 16] = guid(
    0xc0b4_06a4,
    0xa803,
    0x4952,
    [0x97, 0x43, 0x3f, 0xb6, 0x01, 0x4c, 0xd0, 0xae],
);
const CRL: [u8; 16] = guid(
    0x92f8_1bc3,
    0x5811,
    0x4d3d,
    [0x97, 0xff, 0xd1, 0x9f, 0x88, 0xdc, 0x67, 0xea],
);

const fn guid(a: u32, b: u16, c: u16, d: [u8; 8]) -> [u8; 16] {
    let [a0, a1, a2, a3] = a.to_le_bytes();
    let ([b0, b1], [c0, c1]) = (b.to_le_bytes(), c.to_le_bytes());
    let [d0, d1, d2, d3, d4, d5, d6, d7] = d;
    [a0, a1, a2, a3, b0, b1, c0, c1, d0, d1, d2, d3, d4, d5, d6, d7]
}

/// Why a table can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateTableError {
    /// More bytes or entries than a table has.
    #[error("certificate table: more than {MAX_TABLE_BYTES} bytes or {MAX_ENTRIES} entries")]
    TooLarge,
    /// No all-zero entry ends the table.
    #[error("certificate table: no entry ends it")]
    Unterminated,
    /// An entry points outside the table or into its header, or is too large.
    #[error("certificate table: entry {index} lies outside the table")]
    OutOfBounds {
        /// Which entry, from 0.
        index: usize,
    },
    /// The same certificate twice.
    #[error("certificate table: entry {index} repeats an earlier one")]
    Duplicate {
        /// Which entry, from 0.
        index: usize,
    },
}

/// The certificates of a table, DER or PEM as the host put them there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CertificateTable {
    /// The VCEK.
    pub vcek: Option<Vec<u8>>,
    /// The VLEK.
    pub vlek: Option<Vec<u8>>,
    /// The ASK or ASVK.
    pub ask: Option<Vec<u8>>,
    /// The ARK.
    pub ark: Option<Vec<u8>>,
    /// The CRL.
    pub crl: Option<Vec<u8>>,
}

impl CertificateTable {
    /// Parses a table; an empty input is an empty table. Unknown GUIDs are
    /// passed over, since hosts add their own.
    ///
    /// # Errors
    /// [`CertificateTableError`] names the fault.
    pub fn parse(table: &[u8]) -> Result<Self, CertificateTableError> {
        let mut found = Self::default();
        if table.is_empty() {
            return Ok(found);
        }
        if table.len() > MAX_TABLE_BYTES {
            return Err(CertificateTableError::TooLarge);
        }
        let (entries, _) = table.as_chunks::<ENTRY_BYTES>();
        let end = entries
            .iter()
            .position(|entry| entry.iter().all(|byte| *byte == 0))
            .ok_or(CertificateTableError::Unterminated)?;
        if end > MAX_ENTRIES {
            return Err(CertificateTableError::TooLarge);
        }
        for (index, entry) in entries.iter().take(end).enumerate() {
            let outside = CertificateTableError::OutOfBounds { index };
            let (guid, rest) = entry.split_first_chunk::<16>().ok_or_else(|| outside.clone())?;
            let (offset, length) = rest.split_first_chunk::<4>().ok_or_else(|| outside.clone())?;
            let length = length.first_chunk::<4>().ok_or_else(|| outside.clone())?;
            let (Ok(offset), Ok(length)) = (
                usize::try_from(u32::from_le_bytes(*offset)),
                usize::try_from(u32::from_le_bytes(*length)),
            ) else {
                return Err(outside);
            };
            let certificate = offset
                .checked_add(length)
                .filter(|_| {
                    offset >= (end + 1) * ENTRY_BYTES && length > 0 && length <= MAX_CERTIFICATE_BYTES
                })
                .and_then(|stop| table.get(offset..stop))
                .ok_or(outside)?;
            let slot = match *guid {
                VCEK => &mut found.vcek,
                VLEK => &mut found.vlek,
                ASK => &mut found.ask,
                ARK => &mut found.ark,
                CRL => &mut found.crl,
                _ => continue,
            };
            if slot.replace(certificate.to_vec()).is_some() {
                return Err(CertificateTableError::Duplicate { index });
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn table(entries: &[([u8; 16], u32, u32)], blob: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        for (guid, offset, length) in entries {
            out.extend_from_slice(guid);
            out.extend_from_slice(&offset.to_le_bytes());
            out.extend_from_slice(&length.to_le_bytes());
        }
        out.extend_from_slice(&[0; ENTRY_BYTES]);
        out.extend_from_slice(blob);
        out
    }

    #[test]
    fn known_entries_are_found_and_strangers_passed_over() {
        assert_eq!(hex::encode(VCEK), "8d75da6364e66445adc5f4b93be8accd");
        let bytes = table(&[(VCEK, 72, 3), ([7; 16], 72, 1)], b"abc");
        let found = CertificateTable::parse(&bytes).unwrap();
        assert_eq!(found.vcek.as_deref(), Some(b"abc".as_slice()));
        assert_eq!(CertificateTable::parse(&[]), Ok(CertificateTable::default()));
    }

    #[test]
    fn hostile_tables_are_refused_by_name() {
        let outside = Err(CertificateTableError::OutOfBounds { index: 0 });
        assert_eq!(CertificateTable::parse(&table(&[(VCEK, 48, 4)], b"abc")), outside);
        assert_eq!(CertificateTable::parse(&table(&[(VCEK, 0, 4)], b"abc")), outside);
        assert_eq!(CertificateTable::parse(&table(&[(VCEK, 48, 0)], b"abc")), outside);
        assert_eq!(
            CertificateTable::parse(&table(&[(VCEK, u32::MAX, u32::MAX)], b"abc")),
            outside
        );
        assert_eq!(
            CertificateTable::parse(&table(&[(ARK, 72, 1), (ARK, 73, 1)], b"abc")),
            Err(CertificateTableError::Duplicate { index: 1 })
        );
        assert_eq!(
            CertificateTable::parse(&[1; 100]),
            Err(CertificateTableError::Unterminated)
        );
        assert_eq!(
            CertificateTable::parse(&vec![0; MAX_TABLE_BYTES + 1]),
            Err(CertificateTableError::TooLarge)
        );
    }

    proptest! {
        #[test]
        fn parsing_never_panics(bytes: Vec<u8>) {
            let _ = CertificateTable::parse(&bytes);
        }
    }
}
