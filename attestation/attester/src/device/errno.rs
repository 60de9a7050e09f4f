//! What an error number of the SNP guest driver means for the next attempt
//! (Linux, drivers/virt/coco/sev-guest and arch/x86/coco/sev).
//!
//! The channel to the security processor is encrypted with a counter. When an
//! answer is lost, the driver throws the key (VMPCK) away rather than use a
//! counter twice: from then on the guest can't attest until it boots again.

use bastide_attestation::AttesterError;
use rustix::io::Errno;

/// Sorts an error of asking for a report.
pub(super) fn sort(operation: &str, errno: Errno) -> AttesterError {
    let reason = |meaning: &str| format!("{operation}: {meaning} ({errno})");
    match errno {
        Errno::AGAIN | Errno::BUSY | Errno::INTR | Errno::NOMEM => AttesterError::Transient {
            reason: reason("busy, another attempt may succeed"),
        },
        Errno::TIMEDOUT => AttesterError::Unattestable {
            reason: reason(
                "the host kept the request back for over a minute, and the driver dropped its key",
            ),
        },
        // ENOTTY is what the driver says once its key is gone.
        Errno::NOTTY | Errno::IO | Errno::BADMSG | Errno::NODEV => AttesterError::Unattestable {
            reason: reason("the driver has lost its key (VMPCK); boot the guest again"),
        },
        Errno::INVAL => AttesterError::Unusable {
            reason: reason("the request was refused; its VMPL must not be below the guest's own"),
        },
        _ => AttesterError::Unusable {
            reason: reason("an error that the driver does not document"),
        },
    }
}

/// Sorts an error of finding or opening the interface.
pub(super) fn sort_opening(path: &std::path::Path, error: &std::io::Error) -> AttesterError {
    let path = path.display();
    let reason = match error.kind() {
        std::io::ErrorKind::NotFound => format!("`{path}` does not exist"),
        std::io::ErrorKind::PermissionDenied => {
            format!("`{path}` may not be opened by this user; run as root or give it access")
        }
        _ => format!("`{path}` cannot be opened ({error})"),
    };
    AttesterError::Unavailable { reason }
}

/// The error number in an error of the standard library.
pub(super) fn number(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_say_whether_another_attempt_makes_sense() {
        for (errno, expected) in [
            (Errno::BUSY, "transient"),
            (Errno::INTR, "transient"),
            (Errno::AGAIN, "transient"),
            (Errno::NOMEM, "transient"),
            (Errno::TIMEDOUT, "unattestable"),
            (Errno::NOTTY, "unattestable"),
            (Errno::IO, "unattestable"),
            (Errno::BADMSG, "unattestable"),
            (Errno::NODEV, "unattestable"),
            (Errno::INVAL, "unusable"),
            (Errno::FAULT, "unusable"),
        ] {
            let got = match sort("test", errno) {
                AttesterError::Transient { .. } => "transient",
                AttesterError::Unattestable { .. } => "unattestable",
                AttesterError::Unusable { .. } => "unusable",
                _ => "other",
            };
            assert_eq!(got, expected, "{errno:?}");
        }
    }
}
