//! Why the enclave doesn't start, with what to do about it and the exit code.

use std::io;
use std::path::PathBuf;

use bastide_attestation::AttesterError;
use bastide_attested_tls::{IdentityError, LaneError, NoKey};
use bastide_endorsements::StoreError;
use bastide_engine::LoadError;

use crate::gpus::GpuFault;
use crate::identity::NoRandomness;
use crate::pipeline::PlaceError;

const UNENDORSED: &str = "get this chip's VCEK or VLEK, its chain and CRL from the host or from AMD's key server, and give \
                          their files with `--vek`, `--chain` and `--crl`; or a directory of `bastide endorsements sync` \
                          with `--endorsements`; or let the enclave ask with `--kds`";

/// Why the enclave doesn't start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The simulator was asked for in a build that has none.
    #[error("this build can't simulate: it was built without the `simulator` feature")]
    NoSimulator,
    /// Flags that contradict each other.
    #[error("{what}")]
    Usage {
        /// Which, and why.
        what: &'static str,
    },
    /// The process could not give up core dumps and being traced.
    #[error("the process can't be hardened")]
    Hardening(#[source] io::Error),
    /// The log filter could not be installed.
    #[error("another log subscriber is installed already")]
    Telemetry,
    /// The asynchronous runtime could not be started.
    #[error("the runtime can't be started")]
    Runtime(#[source] io::Error),
    /// No random numbers.
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
    /// No key pair for sealed mode could be made.
    #[error(transparent)]
    SealedKey(#[from] NoKey),
    /// The model is refused.
    #[error("the model in `{}` is refused", .dir.display())]
    Model {
        /// The directory.
        dir: PathBuf,
        /// Why.
        #[source]
        source: Box<LoadError>,
    },
    /// There is nothing to attest with.
    #[error("no evidence can be produced here")]
    Attester(#[source] AttesterError),
    /// The directory of endorsements can't be used.
    #[error("the directory of endorsements can't be used")]
    Endorsements(#[source] StoreError),
    /// The GPUs could not be attested; real ones are closed.
    #[error("the GPUs can't be attested")]
    Gpus(#[source] GpuFault),
    /// The policy for GPUs can't be used.
    #[error("the policy for GPUs, {policy}, can't be used: {reason}")]
    GpuPolicy {
        /// The file, or that it is the shipped one.
        policy: String,
        /// Why.
        reason: String,
    },
    /// This enclave can't be the stage that it was started as.
    #[error("this can't be a stage of that pipeline")]
    Place(#[from] PlaceError),
    /// The TLS identity could not be made.
    #[error("the TLS identity can't be made")]
    Identity(#[from] IdentityError),
    /// A file of the TLS identity could not be read.
    #[error("`{}` can't be read", .file.display())]
    TlsFile {
        /// The file.
        file: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Certificate and key of the command line are no identity.
    #[error("`{}` and `{}` can't be served with", .certificate.display(), .key.display())]
    TlsIdentity {
        /// The file of the certificate.
        certificate: PathBuf,
        /// That of the key.
        key: PathBuf,
        /// Why.
        #[source]
        source: IdentityError,
    },
    /// The attestation lane could not be started.
    #[error("the attestation lane can't be started")]
    Lane(#[source] LaneError),
    /// The enclave could not attest itself.
    #[error("the enclave can't attest itself")]
    SelfAttestation(#[source] LaneError),
    /// A thread could not be started.
    #[error("the generation threads can't be started")]
    Threads(#[source] io::Error),
    /// An address can't be listened on.
    #[error("can't listen on `{address}`")]
    Listen {
        /// The address.
        address: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The ready line could not be written.
    #[error("the ready line can't be written to {to}")]
    Ready {
        /// `stdout` or the file.
        to: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl StartError {
    /// The stable dotted code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoSimulator => "start.no_simulator",
            Self::Usage { .. } => "start.usage",
            Self::Hardening(_) => "start.hardening",
            Self::Telemetry => "start.telemetry",
            Self::Runtime(_) => "start.runtime",
            Self::Randomness(_) | Self::SealedKey(_) => "start.randomness",
            Self::Model { source, .. } => source.code(),
            Self::Attester(AttesterError::Unendorsed { .. }) => "start.unendorsed",
            Self::Attester(_) => "start.attester",
            Self::Endorsements(_) => "start.endorsements",
            Self::Gpus(fault) => fault.code(),
            Self::GpuPolicy { .. } => "start.gpu_policy",
            Self::Place(fault) => fault.code(),
            Self::Identity(_) => "start.identity",
            Self::TlsFile { .. } => "start.tls_file",
            Self::TlsIdentity { .. } => "start.tls_identity",
            Self::Lane(error) | Self::SelfAttestation(error) => error.code(),
            Self::Threads(_) => "start.threads",
            Self::Listen { .. } => "start.listen",
            Self::Ready { .. } => "start.ready",
        }
    }

    /// The process exit code: 2 for wrong usage, else 1.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::NoSimulator | Self::Usage { .. } | Self::Place(PlaceError::Flags(_)) => 2,
            _ => 1,
        }
    }

    /// What to do, where that can be said.
    #[must_use]
    pub const fn remedy(&self) -> Option<&'static str> {
        match self {
            Self::NoSimulator => Some(
                "run it in an SEV-SNP guest with `--attester auto`, or build one for trying out with \
                 `cargo build -p bastide-enclave --features simulator`",
            ),
            Self::Attester(AttesterError::Unendorsed { .. }) => Some(UNENDORSED),
            Self::Attester(_) => Some(
                "start it inside an SEV-SNP guest whose kernel offers configfs-tsm or /dev/sev-guest, as a user who \
                 may open it; to try it without hardware, use a build with the `simulator` feature",
            ),
            Self::Endorsements(_) => {
                Some("make it with `bastide endorsements sync` or `import`, and let this user read it")
            }
            Self::Gpus(_) => Some(
                "see that GPUs are in confidential computing mode without developer tools, that the driver's libraries \
                 are in this image, that `--rim-dir` has the manifests and answers for their firmware, and that \
                 `--gpu-policy` is for this machine; without GPUs say `--gpus none`",
            ),
            Self::Place(PlaceError::Other { .. }) => Some(
                "see which plan is meant: `bastide pipeline show` prints it, and `bastide-enclave manifest --ranges` what \
                 is in a model's directory; stages of one plan have the same model and the same engine",
            ),
            Self::Place(PlaceError::Plan(_) | PlaceError::NoSuchStage { .. }) => {
                Some("`bastide pipeline show` says what a file is, and which stages it has")
            }
            Self::GpuPolicy { .. } => Some("`bastide policy lint` says what is wrong with a policy"),
            Self::Model { .. } => {
                Some("copy the model directory again, whole, and compare it with its manifest.json")
            }
            Self::TlsFile { .. } => Some("let this user read it, and give PEM of at most 256 KiB"),
            Self::TlsIdentity { .. } => Some(
                "give the node's certificate first and then those that lead to a root with `--tls-certificate`, the key that \
                 it was issued for with `--tls-key`; or neither: then policies with `certificate = \"web_pki\"` refuse this node",
            ),
            Self::Listen { .. } => Some("choose a free address of this machine, or port 0 for any free port"),
            Self::SelfAttestation(LaneError::Attester(AttesterError::Unendorsed { .. })) => Some(UNENDORSED),
            Self::SelfAttestation(_) => {
                Some("see whether the security processor answers on this host; a restart of the VM may help")
            }
            _ => None,
        }
    }

    /// Everything an operator needs, in a few lines.
    #[must_use]
    pub fn report(&self) -> String {
        let mut text = format!("bastide-enclave: {}: {self}", self.code());
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            source = cause.source();
        }
        if let Some(remedy) = self.remedy() {
            text.push_str("\n  do: ");
            text.push_str(remedy);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::StartError;
    use bastide_attestation::AttesterError;

    #[test]
    fn a_report_has_code_cause_and_remedy() {
        let error = StartError::Attester(AttesterError::Unavailable {
            reason: "no device".to_owned(),
        });
        let report = error.report();
        assert!(
            report.starts_with("bastide-enclave: start.attester: no evidence"),
            "{report}"
        );
        assert!(
            report.contains("no device") && report.contains("\n  do: "),
            "{report}"
        );
        assert_eq!(error.exit_code(), 1);
        assert_eq!(StartError::NoSimulator.exit_code(), 2);
    }
}
