//! What a key server, a directory or an export may say: certificate, chain,
//! revocation list, file name and list of digests. The first byte chooses.

#![no_main]

use bastide_endorsements::manifest::Manifest;
use bastide_endorsements::{Endorsement, Name};
use libfuzzer_sys::fuzz_target;

const NAMES: [&str; 4] = [
    "vcek-turin-0909090909090909-01-01-01-04-81.der",
    "vcek-genoa-chain.pem",
    "vlek-milan-chain.pem",
    "vcek-genoa-crl.der",
];

fuzz_target!(|data: &[u8]| {
    let Some((choice, bytes)) = data.split_first() else {
        return;
    };
    if let Some(name) = NAMES.get(usize::from(*choice)) {
        let name: Name = name.parse().expect("these are names");
        if let Ok(read) = Endorsement::read(name, bytes) {
            let again = Endorsement::read(name, &read.encode()).expect("what was read is written back");
            assert_eq!(again, read);
        }
        return;
    }
    if let Ok(manifest) = Manifest::decode(bytes) {
        assert_eq!(manifest.encode().as_bytes(), bytes);
    }
    if let Some(Ok(name)) = core::str::from_utf8(bytes).ok().map(str::parse::<Name>) {
        assert_eq!(name.to_string().as_bytes(), bytes);
    }
});
