//! Certificates and revocation lists like AMD's, every field open to change.

use super::der::{bits, integer, oid, sequence, time, tlv, tlv_of};
use super::keys::{RsaKey, VekKey};

/// Which processor and kind of key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Genoa,
    Bergamo,
    Turin,
}

impl Kind {
    /// AMD's name of the generation.
    pub(crate) fn generation(self) -> &'static str {
        match self {
            Self::Genoa | Self::Bergamo => "Genoa",
            Self::Turin => "Turin",
        }
    }

    /// Bytes of a chip's identity.
    pub(crate) fn hwid(self) -> Vec<u8> {
        match self {
            Self::Genoa | Self::Bergamo => (0..64).map(|byte| byte ^ 0xa5).collect(),
            Self::Turin => vec![9, 8, 7, 6, 5, 4, 3, 2],
        }
    }
}

/// How a certificate is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signing {
    /// RSASSA-PSS with the default trailer left out.
    Pss,
    /// RSASSA-PSS with the default trailer spelt out, as AMD did until 2023.
    PssExplicitTrailer,
    /// RSASSA-PKCS1-v1_5.
    Pkcs1,
    /// RSASSA-PSS with SHA-256, and 32 bytes of salt.
    PssSha256,
    /// RSASSA-PSS with SHA-384 that says to have 32 bytes of salt.
    PssSalt32,
    /// Says RSASSA-PSS with SHA-384, and is one with SHA-256.
    PssSha256InDisguise,
}

/// One extension: content of the OID, critical, content of extnValue.
pub(crate) type Extension = (Vec<u8>, bool, Vec<u8>);

/// A certificate to be signed.
#[derive(Clone)]
pub(crate) struct CertificateSpec {
    pub(crate) serial: Vec<u8>,
    pub(crate) issuer: String,
    pub(crate) subject: String,
    pub(crate) not_before: &'static str,
    pub(crate) not_after: &'static str,
    pub(crate) spki: Vec<u8>,
    pub(crate) extensions: Vec<Extension>,
    pub(crate) signing: Signing,
    pub(crate) signer: RsaKey,
    /// Bytes after the certificate's end.
    pub(crate) trailing: Vec<u8>,
    /// Which byte of the signature is wrong.
    pub(crate) spoil_signature: bool,
}

impl CertificateSpec {
    /// A root.
    pub(crate) fn ark(kind: Kind) -> Self {
        let name = format!("ARK-{}", kind.generation());
        Self::authority(&name, &name, vec![2, 0, 0], RsaKey::Ark, RsaKey::Ark, 0x06)
    }

    /// An intermediate.
    pub(crate) fn ask(kind: Kind) -> Self {
        let (ark, ask) = (
            format!("ARK-{}", kind.generation()),
            format!("SEV-{}", kind.generation()),
        );
        Self::authority(&ark, &ask, vec![2, 0, 2], RsaKey::Ask, RsaKey::Ark, 0x04)
    }

    /// An intermediate for VLEKs.
    pub(crate) fn asvk(kind: Kind) -> Self {
        let (ark, asvk) = (
            format!("ARK-{}", kind.generation()),
            format!("SEV-VLEK-{}", kind.generation()),
        );
        Self::authority(&ark, &asvk, vec![2, 1, 1], RsaKey::Asvk, RsaKey::Ark, 0x04)
    }

    fn authority(
        issuer: &str,
        subject: &str,
        serial: Vec<u8>,
        key: RsaKey,
        signer: RsaKey,
        usage: u8,
    ) -> Self {
        Self {
            serial,
            issuer: issuer.to_owned(),
            subject: subject.to_owned(),
            not_before: "20220126153437",
            not_after: "20470126153437",
            spki: key.spki(),
            extensions: vec![
                (vec![0x55, 0x1d, 0x13], true, sequence(&[tlv(0x01, &[0xff])])),
                (vec![0x55, 0x1d, 0x0f], true, tlv(0x03, &[0x01, usage])),
            ],
            signing: Signing::PssExplicitTrailer,
            signer,
            trailing: Vec::new(),
            spoil_signature: false,
        }
    }

    /// A VCEK that fits the report of the same kind.
    pub(crate) fn leaf(kind: Kind) -> Self {
        let mut extensions = vec![
            (amd(&[1]), false, integer(u8::from(kind == Kind::Turin))),
            (amd(&[2]), false, tlv(0x16, kind.generation().as_bytes())),
            (amd(&[4]), false, kind.hwid()),
        ];
        let levels: &[(u8, u8)] = match kind {
            Kind::Genoa => &[(1, 10), (2, 0), (3, 27), (8, 84)],
            Kind::Bergamo => &[(1, 10), (2, 0), (3, 27), (8, 28)],
            Kind::Turin => &[(9, 1), (1, 1), (2, 1), (3, 4), (8, 81)],
        };
        extensions.extend(
            levels
                .iter()
                .map(|(number, level)| (amd(&[3, *number]), false, integer(*level))),
        );
        Self {
            serial: vec![0],
            issuer: format!("SEV-{}", kind.generation()),
            subject: "SEV-VCEK".to_owned(),
            not_before: "20260101000000",
            not_after: "20330101000000",
            spki: VekKey::Vek.spki(),
            extensions,
            signing: Signing::Pss,
            signer: RsaKey::Ask,
            trailing: Vec::new(),
            spoil_signature: false,
        }
    }

    /// A VLEK of the provider `CN=test.example` that fits the report of the same kind.
    pub(crate) fn vlek(kind: Kind) -> Self {
        let mut leaf = Self::leaf(kind);
        leaf.without(&amd(&[4]));
        leaf.extensions
            .push((amd(&[5]), false, tlv(0x16, b"CN=test.example")));
        Self {
            issuer: format!("SEV-VLEK-{}", kind.generation()),
            subject: "SEV-VLEK".to_owned(),
            signer: RsaKey::Asvk,
            ..leaf
        }
    }

    /// Removes an extension by the content of its OID.
    pub(crate) fn without(&mut self, oid: &[u8]) {
        let before = self.extensions.len();
        self.extensions.retain(|(name, _, _)| name != oid);
        assert_eq!(self.extensions.len() + 1, before, "there was one such extension");
    }

    /// Replaces the value of an extension.
    pub(crate) fn set(&mut self, oid: &[u8], value: Vec<u8>) {
        self.without(oid);
        self.extensions.push((oid.to_vec(), false, value));
    }

    /// The certificate, signed.
    pub(crate) fn sign(&self) -> Vec<u8> {
        let extensions: Vec<_> = self
            .extensions
            .iter()
            .map(|(name, critical, value)| {
                let critical = if *critical { tlv(0x01, &[0xff]) } else { Vec::new() };
                sequence(&[oid(name), critical, tlv(0x04, value)])
            })
            .collect();
        let algorithm = algorithm(self.signing);
        let tbs = sequence(&[
            tlv(0xa0, &integer(2)),
            tlv(0x02, &self.serial),
            algorithm.clone(),
            name(&self.issuer),
            sequence(&[time(self.not_before), time(self.not_after)]),
            name(&self.subject),
            self.spki.clone(),
            tlv(0xa3, &sequence(&extensions)),
        ]);
        let mut signature = match self.signing {
            Signing::Pkcs1 => self.signer.sign_pkcs1(&tbs),
            Signing::PssSha256 | Signing::PssSha256InDisguise => self.signer.sign_pss_sha256(&tbs),
            Signing::Pss | Signing::PssExplicitTrailer | Signing::PssSalt32 => self.signer.sign_pss(&tbs),
        };
        if self.spoil_signature {
            signature[100] ^= 1;
        }
        let mut certificate = sequence(&[tbs, algorithm, bits(&signature)]);
        certificate.extend_from_slice(&self.trailing);
        certificate
    }
}

/// A revocation list to be signed.
#[derive(Clone)]
pub(crate) struct CrlSpec {
    pub(crate) issuer: String,
    pub(crate) this_update: &'static str,
    pub(crate) next_update: &'static str,
    pub(crate) revoked: Vec<Vec<u8>>,
    pub(crate) signer: RsaKey,
    pub(crate) trailing: Vec<u8>,
}

impl CrlSpec {
    /// A current list that revokes somebody else.
    pub(crate) fn new(kind: Kind) -> Self {
        Self {
            issuer: format!("ARK-{}", kind.generation()),
            this_update: "20260101000000",
            next_update: "20270101000000",
            revoked: vec![vec![2, 0, 1]],
            signer: RsaKey::Ark,
            trailing: Vec::new(),
        }
    }

    /// The list, signed.
    pub(crate) fn sign(&self) -> Vec<u8> {
        let revoked: Vec<_> = self
            .revoked
            .iter()
            .map(|serial| sequence(&[tlv(0x02, serial), time("20221031120000")]))
            .collect();
        let algorithm = algorithm(Signing::Pss);
        let number = sequence(&[oid(&[0x55, 0x1d, 0x14]), tlv(0x04, &integer(4))]);
        let tbs = sequence(&[
            integer(1),
            algorithm.clone(),
            name(&self.issuer),
            time(self.this_update),
            time(self.next_update),
            sequence(&revoked),
            tlv(0xa0, &sequence(&[number])),
        ]);
        let signature = self.signer.sign_pss(&tbs);
        let mut list = sequence(&[tbs, algorithm, bits(&signature)]);
        list.extend_from_slice(&self.trailing);
        list
    }
}

/// Content of an OID under AMD's arc 1.3.6.1.4.1.3704.1.
pub(crate) fn amd(suffix: &[u8]) -> Vec<u8> {
    [&[0x2b, 0x06, 0x01, 0x04, 0x01, 0x9c, 0x78, 0x01], suffix].concat()
}

/// AMD's distinguished name with this common name.
pub(crate) fn name(common_name: &str) -> Vec<u8> {
    let parts: Vec<_> = [
        (11_u8, "Engineering"),
        (6, "US"),
        (7, "Santa Clara"),
        (8, "CA"),
        (10, "Advanced Micro Devices"),
        (3, common_name),
    ]
    .into_iter()
    .map(|(number, text)| {
        let attribute = sequence(&[oid(&[0x55, 0x04, number]), tlv(0x0c, text.as_bytes())]);
        tlv(0x31, &attribute)
    })
    .collect();
    sequence(&parts)
}

fn algorithm(signing: Signing) -> Vec<u8> {
    let (hash, salt) = match signing {
        Signing::PssSha256 => (1, 32),
        Signing::PssSalt32 => (2, 32),
        _ => (2, 48),
    };
    let hash = || {
        sequence(&[
            oid(&[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, hash]),
            tlv(0x05, &[]),
        ])
    };
    let rsa = |last| oid(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, last]);
    let mut parameters = vec![
        tlv(0xa0, &hash()),
        tlv_of(0xa1, &[sequence(&[rsa(8), hash()])]),
        tlv(0xa2, &integer(salt)),
    ];
    match signing {
        Signing::Pkcs1 => return sequence(&[rsa(12), tlv(0x05, &[])]),
        Signing::PssExplicitTrailer => parameters.push(tlv(0xa3, &integer(1))),
        _ => {}
    }
    sequence(&[rsa(10), sequence(&parameters)])
}
