//! An SNP report, every byte open to change before it is signed.

use super::keys::VekKey;
use super::pki::Kind;

/// A report to be signed.
#[derive(Clone)]
pub(crate) struct ReportSpec {
    /// The 1,184 bytes; REPORT_DATA and signature are filled in when signing.
    pub(crate) bytes: Vec<u8>,
    pub(crate) report_data: Option<[u8; 64]>,
    pub(crate) signer: VekKey,
    /// Bytes after the report's end.
    pub(crate) trailing: usize,
}

/// Offsets of the four TCB versions.
pub(crate) const TCB_OFFSETS: [usize; 4] = [0x038, 0x180, 0x1e0, 0x1f0];
/// What the tests' policies list.
pub(crate) const MEASUREMENT: [u8; 48] = [0xb1; 48];

impl ReportSpec {
    /// A report that the tests' policies accept.
    pub(crate) fn new(kind: Kind) -> Self {
        let mut spec = Self {
            bytes: vec![0; 1184],
            report_data: None,
            signer: VekKey::Vek,
            trailing: 0,
        };
        let (cpuid, tcb): ([u8; 3], [u8; 8]) = match kind {
            Kind::Genoa => ([0x19, 0x11, 1], [10, 0, 0, 0, 0, 0, 27, 84]),
            Kind::Bergamo => ([0x19, 0xa0, 2], [10, 0, 0, 0, 0, 0, 27, 28]),
            Kind::Turin => ([0x1a, 0x02, 1], [1, 1, 1, 4, 0, 0, 0, 81]),
        };
        spec.put(0x000, &5_u32.to_le_bytes());
        spec.put(0x008, &0x3_0000_u64.to_le_bytes());
        spec.put(0x034, &1_u32.to_le_bytes());
        spec.put(0x040, &0x25_u64.to_le_bytes());
        spec.put(0x090, &MEASUREMENT);
        spec.put(0x140, &[0x42; 32]);
        spec.put(0x160, &[0xff; 32]);
        spec.put(0x188, &cpuid);
        spec.put(0x1a0, &kind.hwid());
        for offset in TCB_OFFSETS {
            spec.put(offset, &tcb);
        }
        spec.put(0x1e8, &[49, 55, 1]);
        spec.put(0x1ec, &[49, 55, 1]);
        spec
    }

    /// Writes bytes at an offset.
    pub(crate) fn put(&mut self, offset: usize, bytes: &[u8]) {
        self.bytes[offset..offset + bytes.len()].copy_from_slice(bytes);
    }

    /// The report, signed.
    pub(crate) fn sign(&self) -> Vec<u8> {
        let mut report = self.bytes.clone();
        if let Some(data) = &self.report_data {
            report[0x050..0x090].copy_from_slice(data);
        }
        if report.len() == 1184 {
            let signature = self.signer.sign(&report[..0x2a0]);
            for (at, number) in [0x2a0, 0x2e8].into_iter().zip(signature.chunks(48)) {
                for (to, from) in report[at..at + 48].iter_mut().zip(number.iter().rev()) {
                    *to = *from;
                }
            }
        }
        report.resize(report.len() + self.trailing, 0);
        report
    }
}
