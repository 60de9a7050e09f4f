//! What a key server, NVIDIA's services, a directory or an export may say:
//! certificate, chain, revocation list, manifest, OCSP answer, file name and list
//! of digests. The first byte chooses.

#![no_main]

use bastide_endorsements::manifest::Manifest;
use bastide_endorsements::{Item, ItemName};
use libfuzzer_sys::fuzz_target;

const NAMES: [&str; 7] = [
    "vcek-turin-0909090909090909-01-01-01-04-81.der",
    "vcek-genoa-chain.pem",
    "vlek-milan-chain.pem",
    "vcek-genoa-crl.der",
    "nvidia-rim.NV_GPU_DRIVER_GH100_550.90.07.xml",
    "nvidia-ocsp.070707070707070707070707070707070707070707070707070707070707070707070707070707070707070707070707.09.der",
    "nvidia-crl.crl.l1-root.crl.der",
];

fuzz_target!(|data: &[u8]| {
    let Some((choice, bytes)) = data.split_first() else {
        return;
    };
    if let Some(name) = NAMES.get(usize::from(*choice)) {
        let name: ItemName = name.parse().expect("these are names");
        if let Ok(read) = Item::read(name.clone(), bytes) {
            let again = Item::read(name, &read.encode()).expect("what was read is written back");
            assert_eq!(again, read);
        }
        return;
    }
    if let Ok(manifest) = Manifest::decode(bytes) {
        assert_eq!(manifest.encode().as_bytes(), bytes);
    }
    if let Some(Ok(name)) = core::str::from_utf8(bytes).ok().map(str::parse::<ItemName>) {
        assert_eq!(name.to_string().as_bytes(), bytes);
    }
});
