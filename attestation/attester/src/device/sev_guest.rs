//! Reports through ioctls of `/dev/sev-guest` (Linux 5.19 and later,
//! Documentation/virt/coco/sev-guest.rst).
//!
//! Not through the crate `sev` (8.0), for two reasons: its calls drop the
//! error number, which alone tells a busy host from a lost key; and its
//! extended report walks the host's certificate table through raw pointers
//! without bounds, which a hostile host can point anywhere.

pub(super) mod ioctl;

use bastide_attestation::snp::REPORT_BYTES;
use bastide_attestation::{AttesterError, ReportData};
use rustix::io::Errno;

use super::errno;
use super::{Answer, ReportSource};

/// Bytes of a firmware response.
const RESPONSE_BYTES: usize = 4000;
/// Largest certificate table that the driver takes (SEV_FW_BLOB_MAX_SIZE).
const TABLE_BYTES: usize = 0x4000;
/// Upper half of `exitinfo2`: the host's table does not fit \[GHCB 56421\].
const VMM_INVALID_LENGTH: u32 = 1;
/// Where the report begins in a response, after status, size and reserved bytes.
const HEADER_BYTES: usize = 0x20;

/// One request for a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) report_data: ReportData,
    pub(super) vmpl: u8,
}

/// An ioctl that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) errno: Errno,
    /// `exitinfo2`: the hypervisor's error in the upper half, firmware's in the lower.
    pub(super) exit_info: u64,
}

impl Failure {
    fn vmm_error(&self) -> u32 {
        u32::try_from(self.exit_info >> 32).unwrap_or_default()
    }
}

/// The two ioctls, so that tests can play the driver.
pub(super) trait GuestRequests: Send + Sync {
    /// SNP_GET_REPORT: the response.
    fn report(&self, request: &Request) -> Result<Box<[u8; RESPONSE_BYTES]>, Failure>;
    /// SNP_GET_EXT_REPORT: the response; the host's table is written to `table`.
    fn extended_report(
        &self,
        request: &Request,
        table: &mut [u8; TABLE_BYTES],
    ) -> Result<Box<[u8; RESPONSE_BYTES]>, Failure>;
}

/// `/dev/sev-guest` as a source of reports.
pub(super) struct SevGuest<D> {
    device: D,
    vmpl: u8,
}

impl<D: GuestRequests> SevGuest<D> {
    /// Reports of this VMPL, or of VMPL 0.
    pub(super) fn new(device: D, vmpl: Option<u8>) -> Self {
        Self {
            device,
            vmpl: vmpl.unwrap_or_default(),
        }
    }
}

impl<D: GuestRequests> ReportSource for SevGuest<D> {
    fn request(&self, report_data: &ReportData) -> Result<Answer, AttesterError> {
        let request = Request {
            report_data: *report_data,
            vmpl: self.vmpl,
        };
        let mut table = Box::new([0; TABLE_BYTES]);
        let response = match self.device.extended_report(&request, &mut table) {
            // The host's table is larger than the driver can take. The driver
            // has kept its counter in step, so a plain report can be had.
            Err(failure) if failure.vmm_error() == VMM_INVALID_LENGTH => {
                *table = [0; TABLE_BYTES];
                self.device.report(&request)
            }
            response => response,
        };
        let response = response.map_err(|failure| {
            let operation = format!("sev-guest, exitinfo2 0x{:x}", failure.exit_info);
            errno::sort(&operation, failure.errno)
        })?;
        Ok(Answer {
            report: report_of(&response)?,
            table: table.to_vec(),
        })
    }

    fn name(&self) -> &'static str {
        "sev-guest"
    }
}

/// The report in a response \[SNP ABI 56860, MSG_REPORT_RSP\].
fn report_of(response: &[u8; RESPONSE_BYTES]) -> Result<Vec<u8>, AttesterError> {
    let unusable = |reason: String| AttesterError::Unusable { reason };
    let field = |at: usize| {
        let bytes = response.get(at..).and_then(|rest| rest.first_chunk::<4>());
        bytes.map_or(u32::MAX, |bytes| u32::from_le_bytes(*bytes))
    };
    let (status, size) = (field(0), field(4));
    if status != 0 {
        return Err(unusable(format!("firmware answered with status 0x{status:x}")));
    }
    let got = usize::try_from(size).unwrap_or(usize::MAX);
    if got != REPORT_BYTES {
        return Err(unusable(format!(
            "expected a report of {REPORT_BYTES} bytes, got {got}"
        )));
    }
    response
        .get(HEADER_BYTES..HEADER_BYTES + REPORT_BYTES)
        .map(<[u8]>::to_vec)
        .ok_or_else(|| unusable("the response is cut short".to_owned()))
}

#[cfg(test)]
mod tests;
