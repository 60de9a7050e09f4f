//! Genoa evidence that is wrong in one way, and the code it is refused with.
//! Data alone; the tests are in the module above.

use bastide_verifier::Rejection;

use crate::support::Case;
use crate::support::der::{integer, sequence, tlv};
use crate::support::keys::{RsaKey, VekKey};
use crate::support::other_root;
use crate::support::pki::{CrlSpec, Kind, Signing, amd};

/// What makes good evidence wrong.
pub(crate) type Change = fn(&mut Case);

/// Evidence for Genoa, changed, under the tests' policy.
pub(crate) const EVIDENCE: &[(Rejection, &str, Change)] = {
    use Rejection as R;
    &[
        (R::ReportVersion, "version 6", |c| c.report.bytes[0] = 6),
        (R::ReportVersion, "version 1", |c| c.report.bytes[0] = 1),
        (R::ReportVersion, "version 0xffffffff", |c| {
            c.report.put(0, &[0xff; 4]);
        }),
        (R::ReportReserved, "a byte at 0x04c", |c| {
            c.report.bytes[0x4c] = 1;
        }),
        (R::ReportReserved, "mitigation vectors in version 3", |c| {
            c.report.bytes[0] = 3;
            c.report.bytes[0x1f8] = 1;
        }),
        (R::ReportReserved, "a byte at 0x208 in version 5", |c| {
            c.report.bytes[0x208] = 1;
        }),
        (R::ReportAlgorithm, "algorithm 2", |c| c.report.bytes[0x34] = 2),
        (R::KeyInfoReserved, "bit 5", |c| c.report.bytes[0x48] = 0x20),
        (R::KeyInfoReserved, "bit 31", |c| c.report.bytes[0x4b] = 0x80),
        (R::ChipKeyMasked, "MASK_CHIP_KEY", |c| c.report.bytes[0x48] = 2),
        (R::SigningKeyUnknown, "SIGNING_KEY 2", |c| {
            c.report.bytes[0x48] = 2 << 2;
        }),
        (R::SigningKeyUnknown, "SIGNING_KEY 7", |c| {
            c.report.bytes[0x48] = 7 << 2;
        }),
        (R::ProductUnknown, "family 1Ah model 50h", |c| {
            c.report.put(0x188, &[0x1a, 0x50]);
        }),
        (R::TcbReserved, "CURRENT_TCB", |c| c.report.bytes[0x3c] = 1),
        (R::TcbReserved, "LAUNCH_TCB", |c| c.report.bytes[0x1f2] = 1),
        (R::RootUnknown, "a stranger's chain under AMD's names", |c| {
            c.ark.spki = RsaKey::StrangerArk.spki();
            c.ark.signer = RsaKey::StrangerArk;
            c.ask.spki = RsaKey::StrangerAsk.spki();
            c.ask.signer = RsaKey::StrangerArk;
            c.leaf.signer = RsaKey::StrangerAsk;
        }),
        (R::IntermediateUnknown, "VCEK's intermediate for a VLEK", |c| {
            c.report.bytes[0x48] = 1 << 2;
        }),
        (R::IntermediateUnknown, "another key under the pinned root", |c| {
            c.ask.spki = RsaKey::StrangerAsk.spki();
            c.leaf.signer = RsaKey::StrangerAsk;
        }),
        (R::ChainAlgorithm, "PKCS#1 v1.5 on the intermediate", |c| {
            c.ask.signing = Signing::Pkcs1;
        }),
        (R::ChainAlgorithm, "PSS with SHA-256 on the intermediate", |c| {
            c.ask.signing = Signing::PssSha256;
        }),
        (R::ChainSignature, "SHA-256 under the name of SHA-384", |c| {
            c.ask.signing = Signing::PssSha256InDisguise;
        }),
        (R::ChainAlgorithm, "PKCS#1 v1.5 on the root", |c| {
            c.ark.signing = Signing::Pkcs1;
        }),
        (R::ChainName, "another name of the intermediate", |c| {
            c.ask.subject = "SEV-Milan".into();
        }),
        (R::ChainName, "another issuer of the intermediate", |c| {
            c.ask.issuer = "ARK-Milan".into();
        }),
        (R::ChainName, "another name of the root", |c| {
            (c.ark.subject, c.ark.issuer) = ("ARK-Turin".into(), "ARK-Turin".into());
        }),
        (R::ChainAuthority, "no basicConstraints", |c| {
            c.ask.without(&[0x55, 0x1d, 0x13]);
        }),
        (R::ChainAuthority, "cA false", |c| {
            c.ask.set(&[0x55, 0x1d, 0x13], sequence(&[]));
        }),
        (R::ChainAuthority, "no keyCertSign", |c| {
            c.ark.set(&[0x55, 0x1d, 0x0f], tlv(0x03, &[0x01, 0x02]));
        }),
        (R::ChainAuthority, "an unknown critical extension", |c| {
            c.ask
                .extensions
                .push((vec![0x55, 0x1d, 0x1e], true, sequence(&[])));
        }),
        (R::ChainAuthority, "an extension twice", |c| {
            let first = c.ask.extensions[0].clone();
            c.ask.extensions.push(first);
        }),
        (R::ChainValidity, "the intermediate expired", |c| {
            c.ask.not_after = "20260228235959";
        }),
        (R::ChainValidity, "the root not valid yet", |c| {
            c.ark.not_before = "20260301000001";
        }),
        (R::ChainSignature, "a spoilt signature of the intermediate", |c| {
            c.ask.spoil_signature = true;
        }),
        (R::ChainSignature, "an intermediate signed by a stranger", |c| {
            c.ask.signer = RsaKey::StrangerArk;
        }),
        (R::ChainSignature, "a root signed by a stranger", |c| {
            c.ark.signer = RsaKey::StrangerArk;
        }),
        (R::ChainMalformed, "bytes after the intermediate", |c| {
            c.ask.trailing = vec![0];
        }),
        (R::ChainMalformed, "an elliptic key in the root", |c| {
            c.ask.trailing = vec![0x05, 0x00];
        }),
        (R::CrlMalformed, "bytes after the list", |c| {
            c.crl = Some(CrlSpec {
                trailing: vec![0],
                ..CrlSpec::new(Kind::Genoa)
            });
        }),
        (R::CrlSignature, "a list signed by a stranger", |c| {
            c.crl = Some(CrlSpec {
                signer: RsaKey::StrangerArk,
                ..CrlSpec::new(Kind::Genoa)
            });
        }),
        (R::CrlSignature, "another root's list", |c| {
            c.crl = Some(CrlSpec {
                issuer: "ARK-Turin".into(),
                ..CrlSpec::new(Kind::Genoa)
            });
        }),
        (R::CrlRevoked, "the intermediate revoked", |c| {
            c.crl = Some(CrlSpec {
                revoked: vec![vec![2, 0, 1], vec![0, 2, 0, 2]],
                ..CrlSpec::new(Kind::Genoa)
            });
        }),
        (R::CrlRevoked, "the intermediate revoked in a stale list", |c| {
            c.crl = Some(CrlSpec {
                revoked: vec![vec![2, 0, 2]],
                next_update: "20260201000000",
                ..CrlSpec::new(Kind::Genoa)
            });
        }),
        (R::VekMalformed, "bytes after the leaf", |c| {
            c.leaf.trailing = vec![0];
        }),
        (R::VekMalformed, "a leaf of more than 4 KiB", |c| {
            c.leaf.trailing = vec![0; 4096];
        }),
        (R::VekAlgorithm, "PKCS#1 v1.5 on the leaf", |c| {
            c.leaf.signing = Signing::Pkcs1;
        }),
        (R::VekAlgorithm, "PSS with SHA-256 on the leaf", |c| {
            c.leaf.signing = Signing::PssSha256;
        }),
        (R::VekAlgorithm, "32 bytes of salt on the leaf", |c| {
            c.leaf.signing = Signing::PssSalt32;
        }),
        (R::VekSignature, "SHA-256 under the name of SHA-384", |c| {
            c.leaf.signing = Signing::PssSha256InDisguise;
        }),
        (R::VekKey, "a key on P-256", |c| c.leaf.spki = VekKey::P256.spki()),
        (R::VekKey, "an RSA key", |c| c.leaf.spki = RsaKey::Ask.spki()),
        (R::VekName, "a VLEK's name", |c| {
            c.leaf.subject = "SEV-VLEK".into();
        }),
        (R::VekName, "another issuer", |c| {
            c.leaf.issuer = "SEV-Turin".into();
        }),
        (R::VekNotYetValid, "valid a second later", |c| {
            c.leaf.not_before = "20260301000001";
        }),
        (R::VekExpired, "expired a second before", |c| {
            c.leaf.not_after = "20260228235959";
        }),
        (R::VekExtensionMissing, "no structVersion", |c| {
            c.leaf.without(&amd(&[1]));
        }),
        (R::VekExtensionMissing, "no productName", |c| {
            c.leaf.without(&amd(&[2]));
        }),
        (R::VekExtensionMissing, "no blSPL", |c| {
            c.leaf.without(&amd(&[3, 1]));
        }),
        (R::VekExtensionMissing, "no teeSPL", |c| {
            c.leaf.without(&amd(&[3, 2]));
        }),
        (R::VekExtensionMissing, "no snpSPL", |c| {
            c.leaf.without(&amd(&[3, 3]));
        }),
        (R::VekExtensionMissing, "no ucodeSPL", |c| {
            c.leaf.without(&amd(&[3, 8]));
        }),
        (R::VekExtensionMissing, "no hwID", |c| c.leaf.without(&amd(&[4]))),
        (R::VekExtensionMalformed, "a negative level", |c| {
            c.leaf.set(&amd(&[3, 3]), tlv(0x02, &[0x9b]));
        }),
        (R::VekExtensionMalformed, "a level padded with zero", |c| {
            c.leaf.set(&amd(&[3, 3]), tlv(0x02, &[0, 27]));
        }),
        (R::VekExtensionMalformed, "a level above 255", |c| {
            c.leaf.set(&amd(&[3, 3]), tlv(0x02, &[1, 27]));
        }),
        (R::VekExtensionMalformed, "bytes after a level", |c| {
            c.leaf.set(&amd(&[3, 3]), [integer(27), vec![0]].concat());
        }),
        (R::VekExtensionMalformed, "a level that is text", |c| {
            c.leaf.set(&amd(&[3, 3]), tlv(0x16, &[27]));
        }),
        (
            R::VekExtensionMalformed,
            "a product with a control character",
            |c| {
                c.leaf.set(&amd(&[2]), tlv(0x16, b"Genoa\n"));
            },
        ),
        (R::VekExtensionMalformed, "hwID of 63 bytes", |c| {
            c.leaf.set(&amd(&[4]), vec![7; 63]);
        }),
        (R::VekExtensionMalformed, "hwID of 65 bytes", |c| {
            c.leaf.set(&amd(&[4]), vec![7; 65]);
        }),
        (R::VekExtensionMalformed, "hwID of 8 bytes, as Turin's", |c| {
            c.leaf.set(&amd(&[4]), vec![7; 8]);
        }),
        (R::VekExtensionMalformed, "an OCTET STRING of 63 bytes", |c| {
            c.leaf.set(&amd(&[4]), tlv(0x04, &[7; 63]));
        }),
        (R::VekExtensionDuplicate, "the same level twice", |c| {
            c.leaf.extensions.push((amd(&[3, 3]), false, integer(27)));
        }),
        (R::VekExtensionDuplicate, "two levels, one of them low", |c| {
            c.leaf.extensions.insert(0, (amd(&[3, 3]), false, integer(1)));
        }),
        (R::VekExtensionUnexpected, "fmcSPL on Genoa", |c| {
            c.leaf.extensions.push((amd(&[3, 9]), false, integer(1)));
        }),
        (R::VekExtensionUnexpected, "a provider in a VCEK", |c| {
            c.leaf.extensions.push((amd(&[5]), false, tlv(0x16, b"CN=x")));
        }),
        (R::VekExtensionUnexpected, "a leaf that is an authority", |c| {
            let authority = sequence(&[tlv(0x01, &[0xff])]);
            c.leaf.extensions.push((vec![0x55, 0x1d, 0x13], false, authority));
        }),
        (R::VekExtensionUnexpected, "an unknown critical extension", |c| {
            c.leaf
                .extensions
                .push((vec![0x55, 0x1d, 0x1e], true, sequence(&[])));
        }),
        (R::VekProduct, "Milan under Genoa's authority", |c| {
            c.leaf.set(&amd(&[2]), tlv(0x16, b"Milan-B0"));
        }),
        (R::VekProduct, "a name that only begins like it", |c| {
            c.leaf.set(&amd(&[2]), tlv(0x16, b"Genoa2"));
        }),
        (R::VekProduct, "Turin's structure version", |c| {
            c.leaf.set(&amd(&[1]), integer(1));
        }),
        (R::VekSignature, "a spoilt signature of the leaf", |c| {
            c.leaf.spoil_signature = true;
        }),
        (R::VekSignature, "a leaf signed by the root", |c| {
            c.leaf.signer = RsaKey::Ark;
        }),
        (R::TcbMismatch, "a leaf for a lower level", |c| {
            c.leaf.set(&amd(&[3, 3]), integer(26));
        }),
        (R::TcbMismatch, "a leaf for a higher level", |c| {
            c.leaf.set(&amd(&[3, 8]), integer(85));
        }),
        (R::ChipIdZero, "no chip", |c| c.report.put(0x1a0, &[0; 64])),
        (R::ChipIdZero, "no chip, and a certificate that says so", |c| {
            c.report.put(0x1a0, &[0; 64]);
            c.leaf.set(&amd(&[4]), vec![0; 64]);
        }),
        (R::HwidMismatch, "another first byte", |c| {
            c.report.bytes[0x1a0] ^= 1;
        }),
        (R::HwidMismatch, "another last byte", |c| {
            c.report.bytes[0x1df] ^= 1;
        }),
        (R::ReportSignature, "signed by a stranger", |c| {
            c.report.signer = VekKey::Stranger;
        }),
        (R::VersionNotAllowed, "version 4", |c| c.report.bytes[0] = 4),
        (R::BelowFloor, "REPORTED_TCB", |c| {
            c.leaf.set(&amd(&[3, 3]), integer(26));
            c.report.bytes[0x186] = 26;
        }),
        (R::BelowFloor, "COMMITTED_TCB", |c| c.report.bytes[0x1e6] = 26),
        (R::BelowFloor, "LAUNCH_TCB", |c| c.report.bytes[0x1f7] = 83),
        (R::BelowFloor, "CURRENT_TCB", |c| c.report.bytes[0x038] = 9),
        (R::GuestPolicyReserved, "bit 17 clear", |c| {
            c.report.put(0x008, &0x1_0000_u64.to_le_bytes());
        }),
        (R::GuestPolicyReserved, "bit 63 set", |c| {
            c.report.bytes[0x00f] = 0x80;
        }),
        (R::Debug, "the debug bit", |c| c.report.bytes[0x00a] |= 1 << 3),
        (R::Migration, "the migration bit", |c| {
            c.report.bytes[0x00a] |= 1 << 2;
        }),
        (R::Cxl, "the CXL bit", |c| c.report.bytes[0x00a] |= 1 << 5),
        (R::PlatformUnknownBits, "bit 8", |c| c.report.bytes[0x041] = 1),
        (R::AliasCheck, "bit 5 clear", |c| c.report.bytes[0x040] = 0x05),
        (R::VmplNotAllowed, "VMPL 1", |c| c.report.bytes[0x030] = 1),
        (R::VmplNotAllowed, "asked for by the host", |c| {
            c.report.put(0x030, &[0xff; 4]);
        }),
        (R::IdBlockNotAllowed, "an ID key", |c| c.report.bytes[0x0e0] = 1),
        (R::IdBlockNotAllowed, "an author key", |c| {
            c.report.bytes[0x110] = 1;
            c.report.bytes[0x048] = 1;
        }),
        (R::LaunchNotAllowed, "another measurement", |c| {
            c.report.bytes[0x090] ^= 1;
        }),
        (R::ReportData, "REPORT_DATA of something else", |c| {
            c.report.report_data = Some([9; 64]);
        }),
        (R::Statement, "a byte after the statement", |c| {
            let mut bytes = c.statement.encode().as_bytes().to_vec();
            bytes.push(0);
            c.statement_bytes = Some(bytes);
        }),
        (R::Binding, "another root", |c| c.statement.root = other_root()),
        (R::Binding, "another leaf's index", |c| c.proof.index = 4),
        (R::Binding, "a path cut short", |c| {
            c.proof.path.pop();
        }),
        (R::StatementDebug, "a debug build", |c| c.statement.debug = true),
        (R::GpuNotExpected, "GPU evidence", |c| {
            c.statement.gpu_digest = Some([1; 32]);
        }),
        (R::ModelNotAllowed, "another model", |c| {
            c.statement.model = bastide_attestation::ManifestDigest::new([8; 32]);
        }),
    ]
};
