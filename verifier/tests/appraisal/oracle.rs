//! Differential tests against two other implementations, in tests alone:
//! RustCrypto (`rsa`, `p384`, `x509-cert`) and `sev`. What is authentic here is
//! signed for both of them. What `sev` takes and is refused here is a list, with
//! the reason for each; the reverse never happens.

use bastide_attestation::{Status, UnixTime, Verdict};
use bastide_verifier::{Policy, RecordedSnp, Verifier, crypto};
use p384::ecdsa::signature::Verifier as _;
use proptest::prelude::*;
use rsa::pkcs1::DecodeRsaPublicKey as _;
use sev::certs::snp::{Certificate as SevCertificate, Chain as SevChain, Verifiable as _, ca};
use sev::firmware::guest::AttestationReport;
use sev::parser::ByteParser as _;
use x509_cert::Certificate;
use x509_cert::der::{Decode as _, Header, Reader as _, SliceReader};

use crate::real::{JUNE_2025, MARCH_2026, milan_policy, real_policy, three, vlek};
use crate::support::keys::{RsaKey, VekKey};
use crate::support::pki::{CertificateSpec, Kind, amd};
use crate::support::report::TCB_OFFSETS;
use crate::support::vectors::{Vector, folder};
use crate::support::{Case, Made, NOW, der, policies};

/// Evidence, its policy and its time. The chain is intermediate, then root.
struct Subject {
    name: String,
    report: Vec<u8>,
    vek: Vec<u8>,
    chain: Vec<Vec<u8>>,
    policy: Policy,
    at: UnixTime,
}

impl Subject {
    fn made(name: &str, made: Made, policy: Policy) -> Self {
        Self {
            name: name.to_owned(),
            report: made.report,
            vek: made.vek,
            chain: made.chain,
            policy,
            at: NOW,
        }
    }

    fn real(name: &str, vector: Vector, policy: Policy, at: UnixTime) -> Self {
        Self {
            name: name.to_owned(),
            report: vector.report,
            vek: vector.vek,
            chain: vector.chain,
            policy,
            at,
        }
    }

    fn all() -> Vec<Self> {
        let mut all = vec![
            Self::made("genoa", Case::new(Kind::Genoa).make(), policies::with(&[])),
            Self::made("bergamo", Case::new(Kind::Bergamo).make(), policies::with(&[])),
            Self::made("turin", Case::new(Kind::Turin).make(), policies::turin()),
            Self::made(
                "vlek",
                Case::vlek(Kind::Genoa).make(),
                policies::vlek("CN=test.example"),
            ),
        ];
        let Some(folder) = folder() else { return all };
        for (name, vector) in three(&folder) {
            all.push(Self::real(name, vector, real_policy(&[]), MARCH_2026));
        }
        let milan = Vector::read(&folder, "milan-v2", "vcek.der", "ask-ark-milan.pem");
        let in_2023 = UnixTime::from_secs(1_672_531_200);
        all.push(Self::real(
            "milan-v2",
            milan,
            milan_policy(&"ab".repeat(64)),
            in_2023,
        ));
        let policy = milan_policy(&"ab".repeat(64));
        all.push(Self::real("milan-vlek", vlek(&folder), policy, JUNE_2025));
        all
    }

    fn verdict(&self) -> Verdict {
        let recorded = RecordedSnp {
            report: &self.report,
            vek: &self.vek,
            chain: &self.chain,
            crl: None,
            report_data: None,
        };
        Verifier::new(self.policy.clone()).appraise_recorded(&recorded, self.at)
    }

    /// The subject with one byte of one part changed. Parts are the report, the
    /// leaf, the intermediate, the root.
    fn altered(&mut self, part: usize, at: usize) -> u8 {
        let bytes = match part {
            0 => &mut self.report,
            1 => &mut self.vek,
            _ => &mut self.chain[part - 2],
        };
        let bit = 1 << (at % 8);
        bytes[at] ^= bit;
        bit
    }

    fn part(&self, part: usize) -> &[u8] {
        match part {
            0 => &self.report,
            1 => &self.vek,
            _ => &self.chain[part - 2],
        }
    }
}

/// What RustCrypto says of each signature; `None` if it can't read the part.
#[derive(Debug, PartialEq, Eq)]
struct RustCrypto {
    root: Option<bool>,
    intermediate: Option<bool>,
    leaf: Option<bool>,
    report: Option<bool>,
}

impl RustCrypto {
    const ALL_HOLD: Self = Self {
        root: Some(true),
        intermediate: Some(true),
        leaf: Some(true),
        report: Some(true),
    };

    fn of(subject: &Subject) -> Self {
        let [intermediate, root] = subject.chain.as_slice() else {
            panic!("a chain of two");
        };
        Self {
            root: rustcrypto_certificate(root, root),
            intermediate: rustcrypto_certificate(intermediate, root),
            leaf: rustcrypto_certificate(&subject.vek, intermediate),
            report: rustcrypto_report(&subject.report, &subject.vek),
        }
    }
}

/// Bytes of a certificate's key.
fn public_key(certificate: &Certificate) -> Option<&[u8]> {
    let spki = certificate.tbs_certificate().subject_public_key_info();
    spki.subject_public_key.as_bytes()
}

/// The to-be-signed part as it came: the first element inside the outer one.
fn to_be_signed(certificate: &[u8]) -> Option<&[u8]> {
    let mut reader = SliceReader::new(certificate).ok()?;
    Header::decode(&mut reader).ok()?;
    let inside = certificate.get(usize::try_from(reader.position()).ok()?..)?;
    let mut reader = SliceReader::new(inside).ok()?;
    let header = Header::decode(&mut reader).ok()?;
    let length = usize::try_from(reader.position()).ok()? + usize::try_from(header.length()).ok()?;
    inside.get(..length)
}

fn rustcrypto_pss(key: &[u8], message: &[u8], signature: &[u8]) -> bool {
    let Ok(key) = rsa::RsaPublicKey::from_pkcs1_der(key) else {
        return false;
    };
    let key = rsa::pss::VerifyingKey::<rsa::sha2::Sha384>::new(key);
    rsa::pss::Signature::try_from(signature).is_ok_and(|signature| key.verify(message, &signature).is_ok())
}

fn rustcrypto_p384(point: &[u8], message: &[u8], signature: &[u8]) -> bool {
    let Ok(key) = p384::ecdsa::VerifyingKey::from_sec1_bytes(point) else {
        return false;
    };
    p384::ecdsa::Signature::from_slice(signature)
        .is_ok_and(|signature| key.verify(message, &signature).is_ok())
}

fn rustcrypto_certificate(certificate: &[u8], issuer: &[u8]) -> Option<bool> {
    let parsed = Certificate::from_der(certificate).ok()?;
    let issuer = Certificate::from_der(issuer).ok()?;
    Some(rustcrypto_pss(
        public_key(&issuer)?,
        to_be_signed(certificate)?,
        parsed.signature().as_bytes()?,
    ))
}

fn rustcrypto_report(report: &[u8], leaf: &[u8]) -> Option<bool> {
    let leaf = Certificate::from_der(leaf).ok()?;
    let (r, s) = (report.get(0x2a0..0x2d0)?, report.get(0x2e8..0x318)?);
    let signature: Vec<u8> = r.iter().rev().chain(s.iter().rev()).copied().collect();
    Some(rustcrypto_p384(
        public_key(&leaf)?,
        report.get(..0x2a0)?,
        &signature,
    ))
}

/// Whether `sev` verifies the chain that came, and the report.
fn sev_accepts(subject: &Subject) -> bool {
    let certificate = SevCertificate::from_der;
    let [Ok(ask), Ok(ark), Ok(vek)] = [
        certificate(&subject.chain[0]),
        certificate(&subject.chain[1]),
        certificate(&subject.vek),
    ] else {
        return false;
    };
    let Ok(report) = AttestationReport::from_bytes(&subject.report) else {
        return false;
    };
    let ca = ca::Chain { ark, ask };
    (&SevChain { ca, vek }, &report).verify().is_ok()
}

/// Whether `sev` verifies the report by the leaf alone, which takes a fraction of the time.
fn sev_accepts_report(subject: &Subject) -> bool {
    let Ok(vek) = SevCertificate::from_der(&subject.vek) else {
        return false;
    };
    AttestationReport::from_bytes(&subject.report).is_ok_and(|report| (&vek, &report).verify().is_ok())
}

fn status(verdict: &Verdict, id: &str) -> Status {
    let check = verdict.checks.iter().find(|check| check.id == id);
    check.unwrap_or_else(|| panic!("no check {id}")).status
}

/// Requires that a verdict and RustCrypto agree on every signature that was
/// looked at, and that nothing is authentic that RustCrypto finds unsigned.
fn require_agreement(verdict: &Verdict, oracle: &RustCrypto, what: &str) {
    if verdict.snp.is_some() {
        assert_eq!(oracle, &RustCrypto::ALL_HOLD, "{what}");
    }
    for (id, theirs) in [
        ("snp.vek.signature", oracle.leaf),
        ("snp.report.signature", oracle.report),
    ] {
        match status(verdict, id) {
            Status::Pass => assert_eq!(theirs, Some(true), "{what}: {id}"),
            Status::Fail => assert_ne!(theirs, Some(true), "{what}: {id}"),
            _ => {}
        }
    }
    if verdict.code == Some("snp.chain.signature") {
        assert!(
            oracle.root != Some(true) || oracle.intermediate != Some(true),
            "{what}"
        );
    }
}

#[test]
fn all_three_accept_what_is_whole() {
    for subject in Subject::all() {
        let verdict = subject.verdict();
        assert!(verdict.snp.is_some(), "{}: {verdict:#?}", subject.name);
        assert_eq!(RustCrypto::of(&subject), RustCrypto::ALL_HOLD, "{}", subject.name);
        assert!(sev_accepts(&subject), "{}", subject.name);
    }
}

#[test]
fn rustcrypto_agrees_on_every_signature_of_altered_evidence() {
    for mut subject in Subject::all() {
        for part in 0..4 {
            let length = subject.part(part).len();
            // Another place in each part, so that each field is met somewhere.
            for at in (part * 7..length).step_by(61) {
                let bit = subject.altered(part, at);
                let what = format!("{}: part {part}, byte {at}", subject.name);
                let verdict = subject.verdict();
                require_agreement(&verdict, &RustCrypto::of(&subject), &what);
                assert!(
                    verdict.snp.is_none(),
                    "{what}: an altered byte is in a signature or signed"
                );
                assert_eq!(subject.altered(part, at), bit);
            }
        }
    }
}

/// Why `sev`, which encodes a report again before it verifies, does not see a
/// change at a byte of a report; `None` where it does.
fn unseen_by_sev(turin: bool, at: usize) -> Option<&'static str> {
    let reserved = if turin { 4..7 } else { 2..6 };
    let in_tcb = |offset: &usize| {
        at.checked_sub(*offset)
            .is_some_and(|byte| reserved.contains(&byte))
    };
    match at {
        _ if TCB_OFFSETS.iter().any(in_tcb) => Some("reserved byte of a TCB version, which is signed"),
        0x2d0..0x2e8 | 0x318..0x330 => Some("padding of R or S"),
        0x330..0x4a0 => Some("what follows the signature"),
        _ => None,
    }
}

#[test]
fn sev_misses_changes_only_where_it_drops_bytes_and_each_is_refused_here() {
    for mut subject in Subject::all() {
        let turin = subject.name.starts_with("turin");
        let mut classes = std::collections::BTreeSet::new();
        for at in 0..1184 {
            let class = unseen_by_sev(turin, at);
            // All of TCB versions and paddings, a sample of the rest.
            let dense = class.is_some_and(|class| class != "what follows the signature");
            if !dense && at % 29 != 3 {
                continue;
            }
            let bit = subject.altered(0, at);
            let what = format!("{}: byte 0x{at:03x}", subject.name);
            let theirs = sev_accepts_report(&subject);
            assert!(subject.verdict().snp.is_none(), "{what}");
            assert!(!theirs || class.is_some(), "{what}: sev does not see it");
            if theirs {
                classes.extend(class);
            }
            assert_eq!(subject.altered(0, at), bit);
        }
        // That the list says no more than is so.
        assert_eq!(classes.len(), 3, "{}: {classes:?}", subject.name);
    }
}

/// Evidence that `sev` accepts, since it judges signatures alone, and the code
/// under which it is refused here.
fn accepted_by_sev() -> Vec<(&'static str, Case, &'static str)> {
    let genoa = || Case::new(Kind::Genoa);
    let leaf = |change: fn(&mut CertificateSpec)| genoa().with(|case| change(&mut case.leaf));
    vec![
        (
            "a stranger's root with AMD's names",
            genoa().with(|case| {
                case.ark.spki = RsaKey::StrangerArk.spki();
                case.ark.signer = RsaKey::StrangerArk;
                case.ask.spki = RsaKey::StrangerAsk.spki();
                case.ask.signer = RsaKey::StrangerArk;
                case.leaf.signer = RsaKey::StrangerAsk;
            }),
            "snp.root.unknown",
        ),
        (
            "a second intermediate under the root",
            genoa().with(|case| {
                case.ask.spki = RsaKey::StrangerAsk.spki();
                case.leaf.signer = RsaKey::StrangerAsk;
            }),
            "snp.intermediate.unknown",
        ),
        (
            "an expired leaf",
            leaf(|leaf| leaf.not_after = "20260201000000"),
            "snp.vek.expired",
        ),
        (
            "another chip's leaf",
            leaf(|leaf| leaf.set(&amd(&[4]), vec![9; 64])),
            "snp.vcek.hwid_mismatch",
        ),
        (
            "a leaf for another TCB version",
            leaf(|leaf| leaf.set(&amd(&[3, 3]), der::integer(28))),
            "snp.vek.tcb_mismatch",
        ),
        (
            "a leaf for another product",
            leaf(|leaf| leaf.set(&amd(&[2]), der::tlv(0x16, b"Milan"))),
            "snp.vek.product_mismatch",
        ),
        (
            "a leaf that names itself a VLEK",
            leaf(|leaf| leaf.subject = "SEV-VLEK".to_owned()),
            "snp.vek.name",
        ),
        (
            "no chip in the report",
            genoa().with(|case| case.report.put(0x1a0, &[0; 64])),
            "snp.vcek.chip_id_zero",
        ),
    ]
}

#[test]
fn what_sev_accepts_by_its_signatures_alone_is_refused_here_by_name() {
    for (what, case, code) in accepted_by_sev() {
        let subject = Subject::made(what, case.make(), policies::with(&[]));
        assert!(sev_accepts(&subject), "{what}: sev sees it");
        let verdict = subject.verdict();
        assert_eq!(verdict.code, Some(code), "{what}: {verdict:#?}");
        require_agreement(&verdict, &RustCrypto::of(&subject), what);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn primitives_decide_as_rustcrypto_does(
        message in prop::collection::vec(any::<u8>(), 0..600),
        altered in 0_usize..4,
        at: prop::sample::Index,
        bit in 0_u8..8,
    ) {
        let mut pss = RsaKey::Ask.sign_pss(&message);
        let mut ecdsa: [u8; 96] = VekKey::Vek.sign(&message).try_into().expect("96 bytes");
        let (mut rsa, mut point) = (RsaKey::Ask.public(), VekKey::Vek.point());
        // One in four stays whole.
        match altered {
            1 => {
                pss[at.index(512)] ^= 1 << bit;
                ecdsa[at.index(96)] ^= 1 << bit;
            }
            2 => {
                let at = at.index(rsa.len());
                rsa[at] ^= 1 << bit;
            }
            3 => {
                let at = at.index(point.len());
                point[at] ^= 1 << bit;
            }
            _ => {}
        }
        let theirs = (rustcrypto_pss(&rsa, &message, &pss), rustcrypto_p384(&point, &message, &ecdsa));
        let providers: [&dyn crypto::Crypto; 2] = [crypto::provider(), &crypto::Ring];
        for provider in providers {
            let ours = (
                provider.rsa_pss_sha384_verify(&rsa, &message, &pss),
                provider.p384_sha384_verify(&point, &message, &ecdsa),
            );
            prop_assert_eq!(ours, theirs, "{:?}", provider);
        }
        prop_assert!(altered != 0 || theirs == (true, true));
    }
}
