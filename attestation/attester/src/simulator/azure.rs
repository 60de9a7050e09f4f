//! A simulated Azure confidential VM: the paravisor asked for one SNP report
//! at boot, over its runtime data, and the vTPM answers for the guest with
//! quotes by a key that the runtime data names. That key is public too.
//!
//! Formats and values are those of real Azure VMs as far as a verifier looks;
//! no PCR holds what any software measures to.

mod quote;

use core::fmt;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rsa::KeyPair as RsaKeyPair;
use aws_lc_rs::signature::KeyPair as _;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bastide_attestation::azure::PCR_COUNT;
use bastide_attestation::snp::GuestPolicy;
use bastide_attestation::{
    Attestation, Attester, AttesterError, Endorsements, PlatformEvidence, ReportData, StatementBytes,
    TpmQuote, sha256, sha384,
};
use der::asn1::UintRef;
use der::{Decode as _, Sequence};

use super::{Simulator, SimulatorOptions, unavailable};
use quote::QuoteTemplate;

const KEY: &[u8] = include_bytes!("keys/azure-ak.pk8.der");
/// ABI 0.31 at least, SMT allowed, and the bit that must be one: as Azure launches.
const POLICY: u64 = 0x3_001f;
/// Bytes of the NV index that holds an HCL report.
const NV_INDEX_BYTES: usize = 2600;
const HCL_VERSION: u32 = 2;
const PCR_LABEL: &[u8] = b"bastide-simulated-pcr-v1\0";
const ID_KEY_LABEL: &[u8] = b"bastide-simulated-azure-id-key-v1";

/// A simulated Azure VM from boot to shutdown.
pub struct AzureSimulator {
    hcl_report: Vec<u8>,
    endorsements: Endorsements,
    key: RsaKeyPair,
    template: QuoteTemplate,
    latency: Duration,
    /// The vTPM answers one command at a time.
    channel: Mutex<()>,
}

impl fmt::Debug for AzureSimulator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AzureSimulator(..)")
    }
}

impl AzureSimulator {
    /// SHA-256 PCRs that every simulated vTPM has: 0 to 14 hashes of a label
    /// and their index, 15, 16 and 23 zero, 17 to 22 all ones as on a TPM
    /// without a dynamic launch.
    #[must_use]
    pub fn pcrs() -> [[u8; 32]; PCR_COUNT] {
        let mut pcrs = [[0; 32]; PCR_COUNT];
        for (index, value) in (0_u8..).zip(&mut pcrs) {
            *value = match index {
                ..=14 => sha256(&[PCR_LABEL, &[index]]),
                17..=22 => [0xff; 32],
                _ => [0; 32],
            };
        }
        pcrs
    }

    /// ID_KEY_DIGEST in every simulated Azure VM's report.
    #[must_use]
    pub fn id_key_digest() -> [u8; 48] {
        sha384(&[ID_KEY_LABEL])
    }

    /// Boots a simulated Azure VM on a simulated processor.
    ///
    /// # Errors
    /// As [`Simulator::new`].
    pub fn new(options: SimulatorOptions) -> Result<Self, AttesterError> {
        let mut simulator = Simulator::new(options)?;
        let policy = GuestPolicy::new(POLICY | simulator.template.policy.bits());
        simulator.template.policy = policy;
        simulator.template.id_key_digest = Self::id_key_digest();
        Self::boot(simulator)
            .map_err(|Unspecified| unavailable("the simulator could not make its HCL report"))
    }

    fn boot(simulator: Simulator) -> Result<Self, Unspecified> {
        let key = RsaKeyPair::from_pkcs8(KEY).map_err(|_| Unspecified)?;
        let runtime = runtime_data(key.public_key().as_ref())?;
        // The paravisor's own choice: this is not a REPORT_DATA of a guest's.
        let mut bytes = [0; ReportData::LEN];
        bytes
            .iter_mut()
            .zip(sha256(&[runtime.as_bytes()]))
            .for_each(|(to, from)| *to = from);
        let report = simulator.template.sign(&ReportData::new(bytes), &simulator.key)?;
        Ok(Self {
            hcl_report: hcl_report(&report, runtime.as_bytes())?,
            endorsements: simulator.endorsements,
            template: QuoteTemplate::new(key.public_key().as_ref(), &Self::pcrs()),
            key,
            latency: simulator.latency,
            channel: Mutex::new(()),
        })
    }
}

impl Attester for AzureSimulator {
    fn attest(&self, statement: &StatementBytes) -> Result<Attestation, AttesterError> {
        let _turn = self.channel.lock().unwrap_or_else(PoisonError::into_inner);
        thread::sleep(self.latency);
        let (message, signature) =
            self.template
                .sign(&statement.quote_nonce(), &self.key)
                .map_err(|Unspecified| AttesterError::Transient {
                    reason: "the simulated vTPM could not sign".to_owned(),
                })?;
        Ok(Attestation {
            platform: PlatformEvidence::AzureVtpm {
                hcl_report: self.hcl_report.clone(),
                quote: TpmQuote {
                    message,
                    signature,
                    pcrs: Self::pcrs().to_vec(),
                },
            },
            endorsements: self.endorsements.clone(),
        })
    }

    fn name(&self) -> &'static str {
        "simulator"
    }
}

/// DER RSAPublicKey \[RFC 8017 A.1.1\].
#[derive(Sequence)]
struct RsaPublicKey<'a> {
    modulus: UintRef<'a>,
    exponent: UintRef<'a>,
}

/// The paravisor's JSON, member by member as on Azure. Its encryption key is
/// never used; it is the same one here.
fn runtime_data(key: &[u8]) -> Result<String, Unspecified> {
    let key = RsaPublicKey::from_der(key).map_err(|_| Unspecified)?;
    let number = |number: UintRef<'_>| BASE64_URL_SAFE_NO_PAD.encode(number.as_bytes());
    let (n, e) = (number(key.modulus), number(key.exponent));
    let jwk = |kid, ops| format!(r#"{{"kid":"{kid}","key_ops":["{ops}"],"kty":"RSA","e":"{e}","n":"{n}"}}"#);
    Ok(format!(
        r#"{{"keys":[{},{}],"vm-configuration":{{"console-enabled":true,"secure-boot":true,"tpm-enabled":true,"vmUniqueId":"00000000-0000-0000-0000-000000000000"}},"user-data":"{}"}}"#,
        jwk("HCLAkPub", "sign"),
        jwk("HCLEkPub", "encrypt"),
        "00".repeat(64),
    ))
}

/// Header, SNP report, runtime data and zeros to the NV index's size.
fn hcl_report(report: &[u8], runtime: &[u8]) -> Result<Vec<u8>, Unspecified> {
    let length = u32::try_from(runtime.len()).map_err(|_| Unspecified)?;
    let data_size = length.checked_add(20).ok_or(Unspecified)?;
    let report_size = data_size.checked_add(0x4c0).ok_or(Unspecified)?;
    let mut bytes = b"HCLA".to_vec();
    // Version, size, request for a report, status, and three reserved words.
    for number in [HCL_VERSION, report_size, 2, 0, 0, 0, 0] {
        bytes.extend(number.to_le_bytes());
    }
    bytes.extend_from_slice(report);
    // Size, version, SNP, SHA-256, length.
    for number in [data_size, 1, 2, 1, length] {
        bytes.extend(number.to_le_bytes());
    }
    bytes.extend_from_slice(runtime);
    bytes.resize(NV_INDEX_BYTES.max(bytes.len()), 0);
    Ok(bytes)
}
