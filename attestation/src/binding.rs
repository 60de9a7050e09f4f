//! How evidence is bound to a TLS session: every label, hash and REPORT_DATA
//! of the protocol, and nothing else makes one (`docs/spec/attested-tls.md`).
//!
//! Labels are constants of this file, never fields on the wire.

use zeroize::Zeroizing;

use crate::digest::{
    Binder, BootId, ContextDigest, GpuNonce, LeafHash, Nonce, PlanDigest, QuoteNonce, ReportData, Salt,
    SpkiDigest, StatementDigest,
};
use crate::hash::{hmac_sha256, hmac_sha256_verify, sha256, sha512};

/// Exporter label of the side that accepted the connection (RFC 8446 §7.5).
pub const EXPORTER_LABEL_SERVER: &[u8] = b"EXPORTER-bastide-attest-server-v1";
/// Exporter label of the side that opened the connection.
pub const EXPORTER_LABEL_CLIENT: &[u8] = b"EXPORTER-bastide-attest-client-v1";

const BINDER_LABEL: &[u8] = b"bastide-binder-v1\0";
const LEAF_LABEL: &[u8] = b"bastide-leaf-v1\0";
const REPORT_DATA_LABEL: &[u8] = b"bastide-report-data-v1\0";
const QUOTE_NONCE_LABEL: &[u8] = b"bastide-quote-nonce-v1\0";
const GPU_NONCE_LABEL: &[u8] = b"bastide-gpu-nonce-v1\0";
const SESSION_LABEL: &[u8] = b"bastide-session-v1\0";
const SEALED_LABEL: &[u8] = b"bastide-hpke-v1\0";
const STAGE_LABEL: &[u8] = b"bastide-stage-v1\0";
const LOG_ENTRY_LABEL: &[u8] = b"bastide-log-entry-v1\0";
const LOG_HEAD_LABEL: &[u8] = b"bastide-log-head-v1\0";
const CONFIRM_LABEL: &[u8] = b"bastide-confirm-v1\0";
const LEAF_PREFIX: &[u8] = &[0x00];

/// Which end of the connection produces the evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The end that accepted the connection.
    Server,
    /// The end that opened it (mutual links).
    Client,
}

impl Role {
    /// The byte in a binder and in a link's HELLO.
    pub(crate) const fn byte(self) -> u8 {
        match self {
            Self::Server => 0,
            Self::Client => 1,
        }
    }

    /// The other end.
    #[must_use]
    pub const fn peer(self) -> Self {
        match self {
            Self::Server => Self::Client,
            Self::Client => Self::Server,
        }
    }

    /// The kind of leaf that TLS evidence of this end is.
    #[must_use]
    pub const fn leaf_type(self) -> LeafType {
        match self {
            Self::Server => LeafType::ServerTls,
            Self::Client => LeafType::ClientTls,
        }
    }

    /// The exporter label for evidence of this end.
    #[must_use]
    pub const fn exporter_label(self) -> &'static [u8] {
        match self {
            Self::Server => EXPORTER_LABEL_SERVER,
            Self::Client => EXPORTER_LABEL_CLIENT,
        }
    }
}

/// What a leaf of the session tree stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeafType {
    /// Evidence of the server on a TLS session.
    ServerTls,
    /// Evidence of the client on a TLS session.
    ClientTls,
    /// A sealed-mode key configuration.
    SealedKey,
    /// A receipt key.
    ReceiptKey,
    /// The head of an epoch log.
    LogHead,
    /// A stage of a pipeline, for a client of its head.
    Stage,
}

impl LeafType {
    const fn byte(self) -> u8 {
        match self {
            Self::ServerTls => 0,
            Self::ClientTls => 1,
            Self::SealedKey => 2,
            Self::ReceiptKey => 3,
            Self::LogHead => 4,
            Self::Stage => 5,
        }
    }
}

/// An exporter value was all zero: TLS is broken, nothing may be bound to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the TLS exporter gave an all-zero value")]
pub struct ZeroExporter;

/// The 32-byte TLS exporter value of one session and role. Zeroed when dropped.
#[derive(Clone)]
pub struct ExporterSecret(Zeroizing<[u8; 32]>);

impl ExporterSecret {
    /// Takes what the TLS exporter gave.
    ///
    /// # Errors
    /// [`ZeroExporter`] if every byte is zero.
    pub fn new(bytes: Zeroizing<[u8; 32]>) -> Result<Self, ZeroExporter> {
        if bytes.iter().all(|byte| *byte == 0) {
            return Err(ZeroExporter);
        }
        Ok(Self(bytes))
    }
}

impl core::fmt::Debug for ExporterSecret {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("ExporterSecret(..)")
    }
}

/// Who stands at the two ends, as far as a binder is concerned.
#[derive(Debug, Clone, Copy)]
pub struct Ends {
    /// Which end the evidence is of.
    pub role: Role,
    /// SHA-256 of the attesting end's SubjectPublicKeyInfo.
    pub spki_attester: SpkiDigest,
    /// The same of the other end, if it showed a certificate.
    pub spki_peer: Option<SpkiDigest>,
    /// Digest of the link context, on enclave links.
    pub context: Option<ContextDigest>,
}

/// Ties evidence to this session, this challenge and these two ends.
#[must_use]
pub fn binder(exporter: &ExporterSecret, nonce: &Nonce, ends: &Ends) -> Binder {
    let absent = [0; 32];
    let peer = ends.spki_peer.as_ref().map_or(&absent, SpkiDigest::as_bytes);
    let context = ends.context.as_ref().map_or(&absent, ContextDigest::as_bytes);
    Binder::new(hmac_sha256(
        &exporter.0,
        &[
            BINDER_LABEL,
            &[ends.role.byte()],
            nonce.as_bytes(),
            ends.spki_attester.as_bytes(),
            peer,
            context,
        ],
    ))
}

/// The leaf of the session tree for one binder.
#[must_use]
pub fn leaf(kind: LeafType, salt: &Salt, binder: &Binder) -> LeafHash {
    LeafHash::new(sha256(&[
        LEAF_PREFIX,
        LEAF_LABEL,
        &[kind.byte()],
        salt.as_bytes(),
        binder.as_bytes(),
    ]))
}

/// REPORT_DATA for an epoch statement's exact bytes. The only maker of
/// REPORT_DATA in the product.
#[must_use]
pub fn report_data(statement: &[u8]) -> ReportData {
    // Statements have at most 1,024 bytes; a longer input saturates and
    // therefore can't collide with a shorter one's length prefix.
    let length = u32::try_from(statement.len()).unwrap_or(u32::MAX).to_be_bytes();
    ReportData::new(sha512(&[REPORT_DATA_LABEL, &length, statement]))
}

/// The nonce that a vTPM's quote over an epoch statement's exact bytes must
/// carry, where the guest doesn't choose REPORT_DATA. Shorter than REPORT_DATA,
/// since a TPM takes no more than an algorithm and a digest.
#[must_use]
pub fn quote_nonce(statement: &[u8]) -> QuoteNonce {
    QuoteNonce::new(sha256(&[QUOTE_NONCE_LABEL, report_data(statement).as_bytes()]))
}

/// SHA-256 of an epoch statement's exact bytes.
#[must_use]
pub fn statement_digest(statement: &[u8]) -> StatementDigest {
    StatementDigest::new(sha256(&[statement]))
}

/// The nonce a GPU's report is asked for.
#[must_use]
pub fn gpu_nonce(boot_id: &BootId, gpu_epoch: u64, seed: &[u8; 32]) -> GpuNonce {
    GpuNonce::new(sha256(&[
        GPU_NONCE_LABEL,
        boot_id.as_bytes(),
        &gpu_epoch.to_be_bytes(),
        seed,
    ]))
}

/// What the session key signs in lane K: `"bastide-session-v1\0" ‖ binder ‖ SHA-256(S)`,
/// where S is a statement that names the key and that the client has appraised.
#[must_use]
pub fn session_message(binder: &Binder, statement: &StatementDigest) -> Vec<u8> {
    [SESSION_LABEL, binder.as_bytes(), statement.as_bytes()].concat()
}

/// What evidence of a sealed-mode key is bound to, in place of a TLS session:
/// `SHA-256("bastide-hpke-v1\0" ‖ key configuration ‖ nonce)`, leaf type 2.
#[must_use]
pub fn sealed_binder(key_config: &[u8], nonce: &Nonce) -> Binder {
    Binder::new(sha256(&[SEALED_LABEL, key_config, nonce.as_bytes()]))
}

/// What evidence of a pipeline's stage is bound to, for a client that asks its
/// head: `SHA-256("bastide-stage-v1\0" ‖ nonce ‖ plan digest ‖ context)`, leaf
/// type 5, with the context of the stage's own number.
#[must_use]
pub fn stage_binder(nonce: &Nonce, plan: &PlanDigest, context: &ContextDigest) -> Binder {
    Binder::new(sha256(&[
        STAGE_LABEL,
        nonce.as_bytes(),
        plan.as_bytes(),
        context.as_bytes(),
    ]))
}

/// The digest of an epoch log with one entry more: `SHA-256("bastide-log-entry-v1\0"
/// ‖ digest before ‖ SHA-256(S) ‖ report's digest, or nothing where none came)`. Of a
/// log without entries it is zeros.
#[must_use]
pub fn log_entry_digest(
    before: &[u8; 32],
    statement: &StatementDigest,
    report: Option<&[u8; 32]>,
) -> [u8; 32] {
    let report = report.map_or(&[][..], <[u8; 32]>::as_slice);
    sha256(&[LOG_ENTRY_LABEL, before, statement.as_bytes(), report])
}

/// What evidence of an epoch log's head is bound to, in place of a TLS session:
/// `SHA-256("bastide-log-head-v1\0" ‖ u64be(entries) ‖ digest of the log ‖ nonce)`,
/// leaf type 4. `head` is the first two.
#[must_use]
pub fn log_head_binder(head: &[u8; 40], nonce: &Nonce) -> Binder {
    Binder::new(sha256(&[LOG_HEAD_LABEL, head, nonce.as_bytes()]))
}

/// A link's CONFIRM: `HMAC-SHA-256(EKS_own, "bastide-confirm-v1\0" ‖ transcript)`
/// with SHA-256 of all frames both ways as the transcript, the initiator's first.
#[must_use]
pub fn link_confirm(own: &ExporterSecret, transcript: &[u8; 32]) -> [u8; 32] {
    hmac_sha256(&own.0, &[CONFIRM_LABEL, transcript])
}

/// Whether `got` is the CONFIRM of the end whose exporter is `peer`, over this
/// transcript. Compared in constant time.
#[must_use]
pub fn link_confirm_holds(peer: &ExporterSecret, transcript: &[u8; 32], got: &[u8]) -> bool {
    hmac_sha256_verify(&peer.0, &[CONFIRM_LABEL, transcript], got)
}

/// SHA-256 of a DER SubjectPublicKeyInfo.
#[must_use]
pub fn spki_digest(spki_der: &[u8]) -> SpkiDigest {
    SpkiDigest::new(sha256(&[spki_der]))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::merkle::node;

    pub(crate) fn known_exporter() -> ExporterSecret {
        ExporterSecret::new(Zeroizing::new(core::array::from_fn(|i| u8::try_from(i).unwrap()))).unwrap()
    }

    fn known_ends() -> Ends {
        Ends {
            role: Role::Server,
            spki_attester: SpkiDigest::new([0x22; 32]),
            spki_peer: None,
            context: None,
        }
    }

    /// The known answers of the protocol document, computed there by other code.
    #[test]
    fn known_answers_of_the_protocol() {
        let binder = binder(&known_exporter(), &Nonce::new([0x11; 32]), &known_ends());
        assert_eq!(
            binder.to_string(),
            "0d76b14f3354c7deb5b6655e1de7276149fb3b96576d686e205d072113531bdd"
        );
        let leaf = leaf(LeafType::ServerTls, &Salt::new([0x33; 32]), &binder);
        assert_eq!(
            leaf.to_string(),
            "39becb36674446f72bd748a64012d30e3732d96774ccad6602f6db8b22e72375"
        );
        let root = node(leaf.as_bytes(), &[0x44; 32]);
        assert_eq!(
            hex::encode(root),
            "d3b408f89f5f177be77fd04e67a703f4475482363df0623df063db635fd74349"
        );
        let mut statement = vec![0xa1, 0x06, 0x58, 0x20];
        statement.extend_from_slice(&root);
        assert_eq!(
            report_data(&statement).to_string(),
            "94d7050bfd01b51d77bf778dd9e64f0ebee0350f451680371723f1d03af94ec0\
             a787687580b9bcdffcd5b37d29fcd7d7787d4817c8dabc5454c229d133a7fa1c"
        );
        assert_eq!(
            quote_nonce(&statement).to_string(),
            "ac2eb98b71d47b3e79149337558dea9780df2ca2be7dcc01be8514e5a3e1bfda"
        );
        assert_eq!(
            gpu_nonce(&BootId::new([0x55; 16]), 7, &root).to_string(),
            "8eb9ecefc5c663bd7ebf56ed65f0710c9611c6bdec3e964b9e11dd6350717e07"
        );
    }

    /// Of a link's client at stage 3, computed by other code: role and leaf type
    /// 1, peer key 24×32, the context of `link/context.rs`.
    #[test]
    fn known_answers_of_a_links_binder_and_leaf() {
        let ends = Ends {
            role: Role::Client,
            spki_peer: Some(SpkiDigest::new([0x24; 32])),
            context: Some(
                "7a9e3953aa2cf34ab2e603cbe1df4121e7348f4ba8ecb26a37a3357f955c9ff8"
                    .parse()
                    .unwrap(),
            ),
            ..known_ends()
        };
        let binder = binder(&known_exporter(), &Nonce::new([0x11; 32]), &ends);
        assert_eq!(
            binder.to_string(),
            "d9d0451088a28e4210a0a7d375633c5b20f267d9221051a8faecd7b3ccbcd943"
        );
        let leaf = leaf(ends.role.leaf_type(), &Salt::new([0x33; 32]), &binder);
        assert_eq!(
            leaf.to_string(),
            "d7bf972a0a3d89df4fcb7a3c512c62ba0ce0f8519302b483132b148891cb1acb"
        );
    }

    /// Computed by other code: `hmac.new(eks, b"bastide-confirm-v1\0" + b"\x88"*32, "sha256")`.
    #[test]
    fn known_answer_of_a_links_confirm_and_nothing_else_holds() {
        let (own, transcript) = (known_exporter(), [0x88; 32]);
        let confirm = link_confirm(&own, &transcript);
        assert_eq!(
            hex::encode(confirm),
            "a326165b5649052b23d41512782df8cefaf2f118143151c31eb89cb04499f2a7"
        );
        assert!(link_confirm_holds(&own, &transcript, &confirm));
        let other = ExporterSecret::new(Zeroizing::new([9; 32])).unwrap();
        assert!(!link_confirm_holds(&other, &transcript, &confirm));
        assert!(!link_confirm_holds(&own, &[0x89; 32], &confirm));
        for wrong in [&confirm[..31], &[], &[0; 32]] {
            assert!(!link_confirm_holds(&own, &transcript, wrong));
        }
    }

    /// Computed by other code:
    /// `sha256(b"bastide-stage-v1\0" + b"\x11"*32 + b"\x99"*32 + context)` with the
    /// context of stage 3 in `link/context.rs`.
    #[test]
    fn known_answer_of_a_stages_binder_and_every_input_changes_it() {
        let context: ContextDigest = "7a9e3953aa2cf34ab2e603cbe1df4121e7348f4ba8ecb26a37a3357f955c9ff8"
            .parse()
            .unwrap();
        let (nonce, plan) = (Nonce::new([0x11; 32]), PlanDigest::new([0x99; 32]));
        let base = stage_binder(&nonce, &plan, &context);
        assert_eq!(
            base.to_string(),
            "4b85b3d588d0b9f93578b793bc9bd0fa2c80eaa8a9d94a681868536f1d04fd84"
        );
        for other in [
            stage_binder(&Nonce::new([0x12; 32]), &plan, &context),
            stage_binder(&nonce, &PlanDigest::new([0x98; 32]), &context),
            stage_binder(&nonce, &plan, &ContextDigest::new([0x98; 32])),
        ] {
            assert_ne!(other, base);
        }
        // Nor does evidence of a session, a sealed key or a log serve for a stage.
        let salt = Salt::new([0x33; 32]);
        assert_ne!(
            leaf(LeafType::Stage, &salt, &base),
            leaf(LeafType::SealedKey, &salt, &base)
        );
    }

    #[test]
    fn an_all_zero_exporter_is_refused() {
        assert_eq!(
            ExporterSecret::new(Zeroizing::new([0; 32])).unwrap_err(),
            ZeroExporter
        );
    }

    #[test]
    fn every_input_changes_the_binder() {
        let nonce = Nonce::new([0x11; 32]);
        let base = binder(&known_exporter(), &nonce, &known_ends());
        let other_exporter = ExporterSecret::new(Zeroizing::new([9; 32])).unwrap();
        let mut seen = vec![
            base,
            binder(&other_exporter, &nonce, &known_ends()),
            binder(&known_exporter(), &Nonce::new([0x12; 32]), &known_ends()),
        ];
        let variants = [
            Ends {
                role: Role::Client,
                ..known_ends()
            },
            Ends {
                spki_attester: SpkiDigest::new([0x23; 32]),
                ..known_ends()
            },
            Ends {
                spki_peer: Some(SpkiDigest::new([0x24; 32])),
                ..known_ends()
            },
            Ends {
                context: Some(ContextDigest::new([0x24; 32])),
                ..known_ends()
            },
        ];
        seen.extend(
            variants
                .iter()
                .map(|ends| binder(&known_exporter(), &nonce, ends)),
        );
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 7);
    }
}
