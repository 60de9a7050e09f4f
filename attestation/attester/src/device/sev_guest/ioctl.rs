//! The ioctls of `/dev/sev-guest` themselves (Linux, uapi/linux/sev-guest.h).
//! The only unsafe code of this crate besides `nvml/library/loaded.rs`: three
//! structures and two calls.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;

use bastide_attestation::AttesterError;
use rustix::ioctl::{Opcode, Updater, opcode};

use super::{Failure, GuestRequests, RESPONSE_BYTES, Request, TABLE_BYTES};
use crate::device::errno;

const MESSAGE_VERSION: u64 = 1;
/// What the driver itself puts there before it calls firmware.
const NO_FIRMWARE_CALL: u64 = 0xff;

const GET_REPORT: Opcode = opcode::read_write::<GuestRequest>(b'S', 0);
const GET_EXTENDED_REPORT: Opcode = opcode::read_write::<GuestRequest>(b'S', 2);

/// `struct snp_report_req`.
#[repr(C)]
struct ReportRequest {
    user_data: [u8; 64],
    vmpl: u32,
    reserved: [u8; 28],
}

/// `struct snp_ext_report_req`, its padding spelt out.
#[repr(C)]
struct ExtendedReportRequest {
    data: ReportRequest,
    certs_address: u64,
    certs_len: u32,
    padding: u32,
}

/// `struct snp_guest_request_ioctl`; `msg_version` is its low bytes, the rest padding.
#[repr(C)]
struct GuestRequest {
    message_version: u64,
    request: u64,
    response: u64,
    exit_info: u64,
}

const _: () = {
    assert!(size_of::<ReportRequest>() == 96);
    assert!(size_of::<ExtendedReportRequest>() == 112);
    assert!(size_of::<GuestRequest>() == 32);
    assert!(GET_REPORT == 0xC020_5300);
    assert!(GET_EXTENDED_REPORT == 0xC020_5302);
};

/// An open SNP guest device.
#[derive(Debug)]
pub(in crate::device) struct GuestDevice(File);

impl GuestDevice {
    /// Opens the character device.
    pub(in crate::device) fn open(path: &Path) -> Result<Self, AttesterError> {
        let opening = |error: std::io::Error| errno::sort_opening(path, &error);
        let file = OpenOptions::new().read(true).open(path).map_err(opening)?;
        if !file.metadata().map_err(opening)?.file_type().is_char_device() {
            return Err(AttesterError::Unavailable {
                reason: format!("`{}` is not a device", path.display()),
            });
        }
        Ok(Self(file))
    }
}

impl ReportRequest {
    fn new(request: &Request) -> Self {
        Self {
            user_data: *request.report_data.as_bytes(),
            vmpl: u32::from(request.vmpl),
            reserved: [0; 28],
        }
    }
}

/// Address as the driver takes it.
fn address<T: ?Sized>(pointer: *mut T) -> u64 {
    u64::try_from(pointer.cast::<u8>().expose_provenance()).unwrap_or_default()
}

impl GuestRequests for GuestDevice {
    #[expect(
        unsafe_code,
        reason = "the driver's only interface besides configfs-tsm is an ioctl"
    )]
    fn report(&self, request: &Request) -> Result<Box<[u8; RESPONSE_BYTES]>, Failure> {
        let mut data = ReportRequest::new(request);
        let mut response = Box::new([0; RESPONSE_BYTES]);
        let mut call = GuestRequest {
            message_version: MESSAGE_VERSION,
            request: address(&raw mut data),
            response: address(&raw mut *response),
            exit_info: NO_FIRMWARE_CALL,
        };
        // SAFETY: the opcode is SNP_GET_REPORT, whose argument is `GuestRequest`
        // (size and number asserted above). It points to `data`, laid out as the
        // driver reads it, and to `response`, of the 4,000 bytes that the driver
        // writes; both live until after the call and nothing else uses them. On
        // another device the number is unknown, and nothing is accessed.
        let outcome =
            unsafe { rustix::ioctl::ioctl(&self.0, Updater::<GET_REPORT, GuestRequest>::new(&mut call)) };
        outcome.map(|()| response).map_err(|errno| Failure {
            errno,
            exit_info: call.exit_info,
        })
    }

    #[expect(
        unsafe_code,
        reason = "the driver's only interface besides configfs-tsm is an ioctl"
    )]
    fn extended_report(
        &self,
        request: &Request,
        table: &mut [u8; TABLE_BYTES],
    ) -> Result<Box<[u8; RESPONSE_BYTES]>, Failure> {
        const { assert!(TABLE_BYTES == 0x4000) };
        let mut data = ExtendedReportRequest {
            data: ReportRequest::new(request),
            certs_address: address(&raw mut *table),
            certs_len: 0x4000,
            padding: 0,
        };
        let mut response = Box::new([0; RESPONSE_BYTES]);
        let mut call = GuestRequest {
            message_version: MESSAGE_VERSION,
            request: address(&raw mut data),
            response: address(&raw mut *response),
            exit_info: NO_FIRMWARE_CALL,
        };
        // SAFETY: as above, for SNP_GET_EXT_REPORT. `data` points to `table`
        // besides, of exactly the `certs_len` bytes that the driver writes at
        // most; it is borrowed mutably until after the call.
        let outcome = unsafe {
            rustix::ioctl::ioctl(
                &self.0,
                Updater::<GET_EXTENDED_REPORT, GuestRequest>::new(&mut call),
            )
        };
        outcome.map(|()| response).map_err(|errno| Failure {
            errno,
            exit_info: call.exit_info,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bastide_attestation::ReportData;
    use rustix::io::Errno;

    #[test]
    fn what_is_no_device_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = GuestDevice::open(file.path()).unwrap_err();
        assert!(error.to_string().contains("is not a device"), "{error}");
        let missing = file.path().join("missing");
        assert!(matches!(
            GuestDevice::open(&missing),
            Err(AttesterError::Unavailable { .. })
        ));
    }

    /// The calls themselves, on a device that knows no such ioctl.
    #[test]
    fn another_device_says_enotty() {
        let device = GuestDevice::open(Path::new("/dev/null")).unwrap();
        let request = Request {
            report_data: ReportData::new([7; 64]),
            vmpl: 0,
        };
        let expected = Failure {
            errno: Errno::NOTTY,
            exit_info: NO_FIRMWARE_CALL,
        };
        assert_eq!(device.report(&request).unwrap_err(), expected);
        let mut table = [0; TABLE_BYTES];
        assert_eq!(
            device.extended_report(&request, &mut table).unwrap_err(),
            expected
        );
    }
}
