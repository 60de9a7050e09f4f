//! Evidence of an Azure VM made by the tests: an HCL report around a report of
//! the tests' own, and a quote, each byte open to change before it is signed.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bastide_attestation::{
    Appraiser, Endorsements, Evidence, PlatformEvidence, TpmQuote, Untrusted, Verdict, binding, sha256,
};
use bastide_verifier::{Policy, RecordedAzure, RecordedQuote, Verifier};

use super::keys::RsaKey;
use super::pki::Kind;
use super::{Case, NOW, expectation};

/// A quote before it is signed.
#[derive(Clone)]
pub(crate) struct QuoteSpec {
    /// Magic and type.
    pub(crate) head: [u8; 6],
    /// extraData; `None` for the nonce of the statement.
    pub(crate) nonce: Option<Vec<u8>>,
    /// TPML_PCR_SELECTION.
    pub(crate) selection: Vec<u8>,
    /// Values that are sent.
    pub(crate) pcrs: Vec<[u8; 32]>,
    /// Digest in the quote; `None` for that of `pcrs`.
    pub(crate) digest: Option<[u8; 32]>,
    /// Bytes after the quote's end, signed.
    pub(crate) trailing: Vec<u8>,
    pub(crate) signer: RsaKey,
    /// Algorithm and hash of the TPMT_SIGNATURE.
    pub(crate) algorithm: [u8; 4],
}

/// Everything that Azure evidence is made of, before it is signed.
#[derive(Clone)]
pub(crate) struct AzureCase {
    /// Report, certificates, statement, proof.
    pub(crate) case: Case,
    /// The paravisor's JSON.
    pub(crate) runtime: String,
    /// JSON in the HCL report in place of the one that was hashed.
    pub(crate) swapped_runtime: Option<String>,
    /// 32-bit numbers of the HCL report that are changed, by offset.
    pub(crate) numbers: Vec<(usize, u32)>,
    /// Bytes at the HCL report's end.
    pub(crate) tail: Vec<u8>,
    pub(crate) quote: QuoteSpec,
}

/// Azure evidence, signed.
#[derive(Clone)]
pub(crate) struct AzureMade {
    pub(crate) hcl_report: Vec<u8>,
    pub(crate) quote: TpmQuote,
    pub(crate) made: super::Made,
}

/// A JWK of one of the tests' RSA-2048 keys.
pub(crate) fn jwk(kid: &str, operation: &str, key: RsaKey) -> String {
    let public = key.public();
    // SEQUENCE, INTEGER of 257 bytes; then an INTEGER of 3.
    let n = BASE64_URL_SAFE_NO_PAD.encode(&public[9..265]);
    format!(r#"{{"kid":"{kid}","key_ops":["{operation}"],"kty":"RSA","e":"AQAB","n":"{n}"}}"#)
}

impl AzureCase {
    /// Good evidence of a processor in Azure.
    pub(crate) fn new(kind: Kind) -> Self {
        let runtime = format!(
            r#"{{"keys":[{},{}],"vm-configuration":{{"secure-boot":true,"vmUniqueId":"x"}},"user-data":"00"}}"#,
            jwk("HCLAkPub", "sign", RsaKey::Ak),
            jwk("HCLEkPub", "encrypt", RsaKey::StrangerAk),
        );
        Self {
            case: Case::new(kind),
            runtime,
            swapped_runtime: None,
            numbers: Vec::new(),
            tail: vec![0; 64],
            quote: QuoteSpec {
                head: [0xff, 0x54, 0x43, 0x47, 0x80, 0x18],
                nonce: None,
                selection: vec![0, 0, 0, 1, 0, 0x0b, 3, 0xff, 0xff, 0xff],
                pcrs: (0..24).map(|index| [index; 32]).collect(),
                digest: None,
                trailing: Vec::new(),
                signer: RsaKey::Ak,
                algorithm: [0, 0x14, 0, 0x0b],
            },
        }
    }

    /// The same, changed.
    pub(crate) fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// Signs everything. REPORT_DATA is the runtime data's unless it was set.
    pub(crate) fn make(&self) -> AzureMade {
        let mut case = self.case.clone();
        case.report.report_data.get_or_insert_with(|| {
            let mut data = [0; 64];
            data[..32].copy_from_slice(&sha256(&[self.runtime.as_bytes()]));
            data
        });
        let made = case.make();
        AzureMade {
            hcl_report: self.hcl_report(&made.report),
            quote: self.quote.sign(&made.statement),
            made,
        }
    }

    fn hcl_report(&self, report: &[u8]) -> Vec<u8> {
        let runtime = self.swapped_runtime.as_ref().unwrap_or(&self.runtime);
        let length = u32::try_from(runtime.len()).expect("short");
        let mut bytes = b"HCLA".to_vec();
        for number in [1, 0x4d4 + length, 2, 0, 0, 0, 0] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend_from_slice(report);
        for number in [20 + length, 1, 2, 1, length] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend_from_slice(runtime.as_bytes());
        bytes.extend_from_slice(&self.tail);
        for (offset, number) in &self.numbers {
            bytes[*offset..offset + 4].copy_from_slice(&number.to_le_bytes());
        }
        bytes
    }
}

impl QuoteSpec {
    fn sign(&self, statement: &[u8]) -> TpmQuote {
        let nonce = self
            .nonce
            .clone()
            .unwrap_or_else(|| binding::quote_nonce(statement).as_bytes().to_vec());
        let digest = self.digest.unwrap_or_else(|| sha256(&[self.pcrs.as_flattened()]));
        let mut message = self.head.to_vec();
        message.extend([0, 34, 0, 0x0b]);
        message.extend([0x17; 32]);
        message.extend(u16::try_from(nonce.len()).expect("short").to_be_bytes());
        message.extend(nonce);
        message.extend(1234_u64.to_be_bytes());
        message.extend(5_u32.to_be_bytes());
        message.extend(6_u32.to_be_bytes());
        message.push(1);
        message.extend(0x2020_0312_0012_0003_u64.to_be_bytes());
        message.extend_from_slice(&self.selection);
        message.extend([0, 32]);
        message.extend(digest);
        message.extend_from_slice(&self.trailing);
        let bare = self.signer.sign_pkcs1_sha256(&message);
        let mut signature = self.algorithm.to_vec();
        signature.extend(u16::try_from(bare.len()).expect("short").to_be_bytes());
        signature.extend(bare);
        TpmQuote {
            message,
            signature,
            pcrs: self.pcrs.clone(),
        }
    }
}

impl AzureMade {
    /// As recorded evidence, the nonce not given.
    pub(crate) fn recorded(&self) -> RecordedAzure<'_> {
        RecordedAzure {
            hcl_report: &self.hcl_report,
            quote: Some(RecordedQuote {
                message: &self.quote.message,
                signature: &self.quote.signature,
                pcrs: &self.quote.pcrs,
                nonce: None,
            }),
            vek: &self.made.vek,
            chain: &self.made.chain,
            crl: self.made.crl.as_deref(),
        }
    }

    /// As evidence of a session.
    pub(crate) fn evidence(&self) -> Untrusted<Evidence> {
        Untrusted::new(Evidence {
            statement: self.made.statement.clone(),
            proof: self.made.proof.clone(),
            platform: PlatformEvidence::AzureVtpm {
                hcl_report: self.hcl_report.clone(),
                quote: self.quote.clone(),
            },
            endorsements: Endorsements {
                vek: self.made.vek.clone(),
                chain: self.made.chain.clone(),
                crl: self.made.crl.clone(),
            },
            gpu: None,
        })
    }

    /// The verdict of `policy` on it as evidence of the test's session, at [`NOW`].
    pub(crate) fn live_verdict(&self, policy: &Policy) -> Verdict {
        let verifier = Verifier::new(policy.clone());
        match verifier.appraise(&self.evidence(), &expectation(), NOW) {
            Ok(result) => result.verdict.into_verdict(),
            Err(verdict) => *verdict,
        }
    }
}
