//! The host's certificate table: never a panic, never more bytes than came.
#![no_main]

use bastide_attestation::CertificateTable;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(table) = CertificateTable::parse(bytes) {
        for certificate in [table.vcek, table.vlek, table.ask, table.ark, table.crl].into_iter().flatten() {
            assert!(certificate.len() <= bytes.len());
        }
    }
});
