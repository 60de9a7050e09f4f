//! `/dev/sev-guest` with a driver that the test plays.

use std::sync::Mutex;

use super::*;

/// What the driver answers to an ioctl.
type Script = Result<Box<[u8; RESPONSE_BYTES]>, Failure>;

struct Driver {
    extended: Script,
    plain: Script,
    seen: Mutex<Vec<(&'static str, Request)>>,
}

impl Driver {
    fn new(extended: Script, plain: Script) -> Self {
        Self {
            extended,
            plain,
            seen: Mutex::default(),
        }
    }
}

impl GuestRequests for Driver {
    fn report(&self, request: &Request) -> Script {
        self.seen.lock().unwrap().push(("plain", *request));
        self.plain.clone()
    }

    fn extended_report(&self, request: &Request, table: &mut [u8; TABLE_BYTES]) -> Script {
        self.seen.lock().unwrap().push(("extended", *request));
        table[..5].copy_from_slice(b"table");
        self.extended.clone()
    }
}

fn response(status: u32, size: u32) -> Box<[u8; RESPONSE_BYTES]> {
    let mut bytes = Box::new([0; RESPONSE_BYTES]);
    bytes[..4].copy_from_slice(&status.to_le_bytes());
    bytes[4..8].copy_from_slice(&size.to_le_bytes());
    bytes[0x20..0x20 + REPORT_BYTES].fill(7);
    bytes
}

fn failure(errno: Errno, exit_info: u64) -> Script {
    Err(Failure { errno, exit_info })
}

fn data() -> ReportData {
    ReportData::new([5; 64])
}

#[test]
fn an_extended_report_gives_report_and_table() {
    let source = SevGuest::new(
        Driver::new(Ok(response(0, 1184)), failure(Errno::NOTTY, 0)),
        Some(2),
    );
    let answer = source.request(&data()).unwrap();
    assert_eq!(answer.report, [7; REPORT_BYTES]);
    assert!(answer.table.starts_with(b"table"));
    let expected = Request {
        report_data: data(),
        vmpl: 2,
    };
    assert_eq!(*source.device.seen.lock().unwrap(), [("extended", expected)]);
}

#[test]
fn a_table_that_does_not_fit_is_done_without() {
    let driver = Driver::new(failure(Errno::IO, 1 << 32), Ok(response(0, 1184)));
    let source = SevGuest::new(driver, None);
    let answer = source.request(&data()).unwrap();
    assert_eq!(answer.report, [7; REPORT_BYTES]);
    assert!(answer.table.iter().all(|byte| *byte == 0));
    let seen = source.device.seen.lock().unwrap();
    assert_eq!(
        seen.iter().map(|(name, _)| *name).collect::<Vec<_>>(),
        ["extended", "plain"]
    );
    assert!(seen.iter().all(|(_, request)| request.vmpl == 0));
}

#[test]
fn errors_of_the_driver_are_sorted_and_not_retried() {
    for (errno, exit_info, expected) in [
        (Errno::BUSY, 0xff, "transient"),
        (Errno::INTR, 0xff, "transient"),
        (Errno::TIMEDOUT, 2 << 32, "unattestable"),
        (Errno::IO, 0xff, "unattestable"),
        (Errno::BADMSG, 0, "unattestable"),
        (Errno::NOTTY, 0xff, "unattestable"),
        (Errno::INVAL, 0xff, "unusable"),
    ] {
        let source = SevGuest::new(
            Driver::new(failure(errno, exit_info), Ok(response(0, 1184))),
            None,
        );
        let got = match source.request(&data()).unwrap_err() {
            AttesterError::Transient { .. } => "transient",
            AttesterError::Unattestable { .. } => "unattestable",
            AttesterError::Unusable { .. } => "unusable",
            _ => "other",
        };
        assert_eq!(got, expected, "{errno:?}");
        assert_eq!(source.device.seen.lock().unwrap().len(), 1);
    }
}

#[test]
fn refusals_and_odd_sizes_of_firmware_are_unusable() {
    for (status, size, expected) in [
        (0x16, 0, "status 0x16"),
        (0x27, 1184, "status 0x27"),
        (0, 1183, "got 1183"),
        (0, 4000, "got 4000"),
        (0, u32::MAX, "expected a report of 1184 bytes"),
    ] {
        let driver = Driver::new(Ok(response(status, size)), failure(Errno::NOTTY, 0));
        let error = SevGuest::new(driver, None).request(&data()).unwrap_err();
        assert!(matches!(error, AttesterError::Unusable { .. }));
        assert!(error.to_string().contains(expected), "{error}");
    }
}
