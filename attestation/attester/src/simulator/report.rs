//! Lays out and signs a version 5 ATTESTATION_REPORT \[SNP ABI 56860\].

use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::EcdsaKeyPair;
use bastide_attestation::snp::{Cpuid, GuestPolicy, REPORT_BYTES, SIGNED_BYTES, TcbVersion};
use bastide_attestation::{ChipId, LaunchMeasurement, ReportData, ReportId};

use super::chip::Generation;

const VERSION: u32 = 5;
const ECDSA_P384_SHA384: u32 = 1;
/// Bytes of R or S in a fixed-length signature.
const SCALAR: usize = 48;

/// Everything in a report but REPORT_DATA and the signature.
pub(super) struct ReportTemplate {
    pub(super) generation: Generation,
    pub(super) policy: GuestPolicy,
    pub(super) vmpl: u32,
    pub(super) tcb: TcbVersion,
    pub(super) measurement: LaunchMeasurement,
    /// All zero without an ID block.
    pub(super) id_key_digest: [u8; 48],
    pub(super) report_id: ReportId,
    pub(super) chip_id: ChipId,
}

impl ReportTemplate {
    /// A signed report over `report_data`.
    pub(super) fn sign(
        &self,
        report_data: &ReportData,
        key: &EcdsaKeyPair,
    ) -> Result<[u8; REPORT_BYTES], Unspecified> {
        let mut report = self.lay_out(report_data);
        let signed = report.0.first_chunk::<SIGNED_BYTES>().ok_or(Unspecified)?;
        let signature = key.sign(&SystemRandom::new(), signed)?;
        let (r, s) = signature
            .as_ref()
            .split_first_chunk::<SCALAR>()
            .ok_or(Unspecified)?;
        let (mut r, mut s) = (*r, *s.first_chunk::<SCALAR>().ok_or(Unspecified)?);
        r.reverse();
        s.reverse();
        report.put::<0x2a0, SCALAR>(r);
        report.put::<0x2e8, SCALAR>(s);
        Ok(report.0)
    }

    fn lay_out(&self, report_data: &ReportData) -> Draft {
        let Cpuid {
            family,
            model,
            stepping,
        } = self.generation.cpuid();
        let tcb = self.tcb.encode();
        let firmware = self.generation.firmware();
        let mitigations = self.generation.mitigations().to_le_bytes();
        let mut report = Draft([0; REPORT_BYTES]);
        report.put::<0x000, 4>(VERSION.to_le_bytes());
        report.put::<0x008, 8>(self.policy.bits().to_le_bytes());
        report.put::<0x030, 4>(self.vmpl.to_le_bytes());
        report.put::<0x034, 4>(ECDSA_P384_SHA384.to_le_bytes());
        report.put::<0x038, 8>(tcb);
        report.put::<0x040, 8>(self.generation.platform_info().to_le_bytes());
        report.put::<0x050, 64>(*report_data.as_bytes());
        report.put::<0x090, 48>(*self.measurement.as_bytes());
        report.put::<0x0e0, 48>(self.id_key_digest);
        report.put::<0x140, 32>(*self.report_id.as_bytes());
        // REPORT_ID_MA: no migration agent.
        report.put::<0x160, 32>([0xff; 32]);
        report.put::<0x180, 8>(tcb);
        report.put::<0x188, 3>([family, model, stepping]);
        report.put::<0x1a0, 64>(*self.chip_id.as_bytes());
        report.put::<0x1e0, 8>(tcb);
        report.put::<0x1e8, 3>(firmware);
        report.put::<0x1ec, 3>(firmware);
        report.put::<0x1f0, 8>(tcb);
        report.put::<0x1f8, 8>(mitigations);
        report.put::<0x200, 8>(mitigations);
        report
    }
}

struct Draft([u8; REPORT_BYTES]);

impl Draft {
    fn put<const OFFSET: usize, const N: usize>(&mut self, bytes: [u8; N]) {
        const { assert!(OFFSET + N <= REPORT_BYTES) };
        self.0
            .iter_mut()
            .skip(OFFSET)
            .zip(bytes)
            .for_each(|(to, from)| *to = from);
    }
}
