//! Trust anchors: AMD's root and intermediate keys, pinned by digest, and what
//! an anchor is. A certificate that comes with evidence is never an anchor by
//! itself: it must hash to a pin.
//!
//! Pinned are the intermediates too, since AMD's own CRL revokes a former
//! SEV-Genoa: "whatever the root signed" would let that key in.

use bastide_attestation::SpkiDigest;
use bastide_attestation::snp::{Generation, Product, SigningKey};

/// One pinned certificate authority certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    /// SHA-256 of the DER SubjectPublicKeyInfo.
    pub spki: SpkiDigest,
    /// SHA-256 of the whole DER certificate; `None` pins the key alone.
    pub certificate: Option<[u8; 32]>,
}

/// A root and the one intermediate under it that may issue endorsement keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anchor {
    /// Name for verdicts, for example `AMD Genoa`.
    pub name: String,
    /// Processors whose keys it endorses.
    pub generation: Generation,
    /// Products it is relied on for; all of that generation.
    pub products: Vec<Product>,
    /// Which kind of key the intermediate issues.
    pub issues: SigningKey,
    /// The root (ARK).
    pub root: Pin,
    /// The intermediate (ASK for VCEKs, ASVK for VLEKs).
    pub intermediate: Pin,
    /// Whether the private keys are public and nothing under it is confidential.
    pub simulated: bool,
    /// Whether a policy added it, as opposed to being pinned in this crate.
    pub added_by_policy: bool,
}

impl Anchor {
    /// CN that the root's certificate must have.
    #[must_use]
    pub const fn root_name(&self) -> &'static str {
        match self.generation {
            Generation::Milan => "ARK-Milan",
            Generation::Genoa => "ARK-Genoa",
            Generation::Turin => "ARK-Turin",
        }
    }

    /// CN that the intermediate's certificate must have.
    #[must_use]
    pub const fn intermediate_name(&self) -> &'static str {
        match (self.issues, self.generation) {
            (SigningKey::Vcek, Generation::Milan) => "SEV-Milan",
            (SigningKey::Vcek, Generation::Genoa) => "SEV-Genoa",
            (SigningKey::Vcek, Generation::Turin) => "SEV-Turin",
            (SigningKey::Vlek, Generation::Milan) => "SEV-VLEK-Milan",
            (SigningKey::Vlek, Generation::Genoa) => "SEV-VLEK-Genoa",
            (SigningKey::Vlek, Generation::Turin) => "SEV-VLEK-Turin",
        }
    }

    /// AMD's anchor of one generation for one kind of key, relied on for `products`.
    #[must_use]
    pub fn amd(generation: Generation, issues: SigningKey, products: Vec<Product>) -> Self {
        let authority = match generation {
            Generation::Milan => &MILAN,
            Generation::Genoa => &GENOA,
            Generation::Turin => &TURIN,
        };
        let intermediate = match issues {
            SigningKey::Vcek => &authority.ask,
            SigningKey::Vlek => &authority.asvk,
        };
        Self {
            name: format!("AMD {}", generation.name()),
            generation,
            products,
            issues,
            root: authority.ark.pin(),
            intermediate: intermediate.pin(),
            simulated: false,
            added_by_policy: false,
        }
    }
}

/// A certificate of AMD's as published: serial number and digests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Published {
    /// Serial number.
    pub serial: u32,
    /// SHA-256 of the DER certificate.
    pub certificate: [u8; 32],
    /// SHA-256 of the DER SubjectPublicKeyInfo.
    pub spki: [u8; 32],
}

impl Published {
    const fn pin(&self) -> Pin {
        Pin {
            spki: SpkiDigest::new(self.spki),
            certificate: Some(self.certificate),
        }
    }
}

/// AMD's certificate authority of one generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Authority {
    /// AMD root key, self-signed.
    pub ark: Published,
    /// AMD SEV key: issues VCEKs.
    pub ask: Published,
    /// AMD SEV VLEK key: issues VLEKs.
    pub asvk: Published,
}

const fn published(serial: u32, certificate: &str, spki: &str) -> Published {
    Published {
        serial,
        certificate: unhex(certificate),
        spki: unhex(spki),
    }
}

/// 64 hexadecimal digits as bytes; a wrong digit or length fails the build.
pub(crate) const fn unhex(text: &str) -> [u8; 32] {
    const fn digit(byte: u8) -> u8 {
        match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            _ => DIGITS_ONLY,
        }
    }
    /// Marks a byte that is no digit.
    const DIGITS_ONLY: u8 = 0xff;
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    assert!(pairs.len() == 32 && rest.is_empty());
    let mut out = [0; 32];
    let (mut target, mut source): (&mut [u8], &[[u8; 2]]) = (&mut out, pairs);
    while let ([to, targets @ ..], [[high, low], sources @ ..]) = (target, source) {
        let (high, low) = (digit(*high), digit(*low));
        assert!(high < 16 && low < 16);
        *to = high << 4 | low;
        (target, source) = (targets, sources);
    }
    out
}

/// Milan (EPYC 7003). Its root seed can be extracted by software alone
/// (arXiv 2605.12990), which no report shows: policies must name it to use it.
pub const MILAN: Authority = Authority {
    ark: published(
        0x0001_0000,
        "69d063b45344d26a2e94e1f4210de49ef555308287d4c174445c95639a540bcd",
        "9f056bee44377e29308cb5ffa895bdfb62d18881fa6bed8d6f075b0204089cb9",
    ),
    ask: published(
        0x0001_0001,
        "67d303bd3905fd38db8b20e0793699870e7fa612eaad5dec358293fd8c0bac1b",
        "42491669ccb851d627ea9846cd24eccbeb7de7c2a62740120fff88001d38ebb6",
    ),
    asvk: published(
        0x0001_0101,
        "c5e081f59b7efab1fe2f8b505e159704e72f29cab7ef7cf628a05a42439082f5",
        "66450a123ea5876206df67f2514a4fea224c0f63b18313423078b0edc4535e33",
    ),
};

/// Genoa (EPYC 9004), and Bergamo and Siena, which share its authority.
pub const GENOA: Authority = Authority {
    ark: published(
        0x0002_0000,
        "4c6598d19c18719c5dfd4a7d335f674e5bfe1d8f800cea2cf270c10d103db2f1",
        "429a69c9422aa258ee4d8db5fcda9c6470ef15f8cd5a9cebd6cbc7d90b863831",
    ),
    ask: published(
        0x0002_0002,
        "5464738c1546aed5f2cecf1dc98c5c960a92e8913238a61711bc90ec6e828521",
        "0324d55bcd48ba877a8fd87c0e1b4934dec8448e3807a24384a34dc6a6c9ebb8",
    ),
    asvk: published(
        0x0002_0101,
        "197e610743a917d6b9bb982a5a9226ccc0a15b611be0619e626aca9151457372",
        "7d1633252ebbadaa75f96e9b4e6f7d43a90ceb3f843937482630f8da2459264e",
    ),
};

/// Turin (EPYC 9005).
pub const TURIN: Authority = Authority {
    ark: published(
        0x0003_0000,
        "1f084161a44bb6d93778a904877d4819cafa5d05ef4193b2ded9dd9c73dd3f6a",
        "4f125410563a2ab9a50356f9243f6fe0b6f73de98603f53f90339c70e9d7ad08",
    ),
    ask: published(
        0x0003_0001,
        "5b77ef5fe7a7a004fd9032668fba9d0fda22f88c4442069a479636a6ae3b3185",
        "0000ead352025f208bf55297c4192c34cd1b878002107366d8f2065a9ae7d3a9",
    ),
    asvk: published(
        0x0003_0101,
        "104e10a8bd060a3c20a434261a57d0588fd65a88915b4f65b08bdecaf8df1a3c",
        "bfc441408b2f806c5dbf180bd8920e6e60dd404d82141780d85dbf962954d386",
    ),
};

/// Public keys (SPKI, SHA-256) of the simulation roots and intermediates whose
/// private keys are in this repository. A policy that pins one must call it
/// simulated.
pub const SIMULATION_KEYS: [SpkiDigest; 11] = [
    SpkiDigest::new(unhex(
        "a43d0694effe3bbeb88eebf0312808371c07019f3d59fd5a0705c4286af77fdb",
    )),
    SpkiDigest::new(unhex(
        "cc4b68ab6d5aafa92762ea5847a47aa3cd43129880518029dc7257ad8a0bcc61",
    )),
    SpkiDigest::new(unhex(
        "329d39e0db08579437e0f64cc3a475d5368bcee3082b12b99650c9ce490a606c",
    )),
    SpkiDigest::new(unhex(
        "17e21b6f75ae58473485726c653d67bd7bc134d7df9537f1fe8faf315bef3a28",
    )),
    SpkiDigest::new(unhex(
        "87713a0727514fa0b4d1601cefde284a088959b08756239ac276850086296fb3",
    )),
    SpkiDigest::new(unhex(
        "8cb811eddedc2a99acd7352952cd104b344a287757eb511d00ce79ce4559fecc",
    )),
    SpkiDigest::new(unhex(
        "9740e079eaf5f1d98da6acd57a06941dd198ebdb033e01f3d1ee7135740f0cab",
    )),
    SpkiDigest::new(unhex(
        "e7601c677095a2e392ddbeb0ddd114eb4e6833dcade3a7f475d37dce2bdc022a",
    )),
    SpkiDigest::new(unhex(
        "279b4a6470a787066d058071089875b16618b0e7daa0a1d025c55614b115700b",
    )),
    SpkiDigest::new(unhex(
        "cdcd880673ab6d4964d5ba93656b6ca1f8295a5c5b36d06a0c54972b445b3f87",
    )),
    SpkiDigest::new(unhex(
        "e87ff99e884ee6d1e007f7c39abdb6719fcfa6fa8e0e57d473398386ecb8051f",
    )),
];
