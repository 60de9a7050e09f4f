//! Whether an endorsement key's certificate is the one for a report: made for
//! its REPORTED_TCB and, if it is a chip's, its CHIP_ID \[AMD 57230\]. Chooses
//! between candidates and catches a stale file early; it proves nothing, since
//! only a verifier checks signatures.

use bastide_attestation::snp::{Generation, Product, SigningKey, SnpReport, TcbVersion};

/// Content of AMD's OID 1.3.6.1.4.1.3704.1.
const AMD: [u8; 8] = [0x2b, 0x06, 0x01, 0x04, 0x01, 0x9c, 0x78, 0x01];
const OBJECT_IDENTIFIER: u8 = 0x06;
const OCTET_STRING: u8 = 0x04;
const INTEGER: u8 = 0x02;

/// What a matching certificate is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wanted {
    generation: Generation,
    tcb: TcbVersion,
    key: SigningKey,
    chip: [u8; 64],
}

impl Wanted {
    /// From a report; `None` if it doesn't say which product it is of
    /// (version 2), or names one that isn't known here.
    pub(super) fn by(report: &SnpReport, key: SigningKey) -> Option<Self> {
        let generation = Product::of(report.cpuid()?)?.generation();
        Some(Self {
            generation,
            tcb: report.reported_tcb(generation)?,
            key,
            chip: *report.chip_id().as_bytes(),
        })
    }

    /// Whether a DER certificate has exactly these extensions. An extension
    /// has one encoding, so that its bytes can be looked for as they are.
    pub(super) fn is_met_by(&self, certificate: &[u8]) -> bool {
        let levels_match = self.levels().all(|(arc, level)| {
            let level: &[u8] = if level < 0x80 { &[level] } else { &[0, level] };
            contains(certificate, &extension(&[3, arc], &tlv(INTEGER, level)))
        });
        levels_match && (self.key == SigningKey::Vlek || self.names_chip(certificate))
    }

    fn levels(&self) -> impl Iterator<Item = (u8, u8)> {
        let TcbVersion {
            fmc,
            boot_loader,
            tee,
            snp,
            microcode,
        } = self.tcb;
        [(1, boot_loader), (2, tee), (3, snp), (8, microcode)]
            .into_iter()
            .chain(fmc.map(|fmc| (9, fmc)))
    }

    fn hwid(&self) -> &[u8] {
        self.chip.get(..self.generation.hwid_len()).unwrap_or_default()
    }

    /// hwID is raw bytes, or in historic certificates an OCTET STRING of them.
    fn names_chip(&self, certificate: &[u8]) -> bool {
        let hwid = self.hwid();
        contains(certificate, &extension(&[4], hwid))
            || contains(certificate, &extension(&[4], &tlv(OCTET_STRING, hwid)))
    }

    /// Where AMD hands out the VCEK; `None` for a VLEK, which only its provider has.
    pub(super) fn kds_address(&self) -> Option<String> {
        if self.key == SigningKey::Vlek {
            return None;
        }
        let TcbVersion {
            fmc,
            boot_loader,
            tee,
            snp,
            microcode,
        } = self.tcb;
        let hwid: String = self.hwid().iter().map(|byte| format!("{byte:02x}")).collect();
        let fmc = fmc.map_or_else(String::new, |fmc| format!("fmcSPL={fmc:02}&"));
        Some(format!(
            "https://kdsintf.amd.com/vcek/v1/{}/{hwid}?{fmc}blSPL={boot_loader:02}&teeSPL={tee:02}&snpSPL={snp:02}&ucodeSPL={microcode:02}",
            self.generation.name()
        ))
    }
}

/// OID and value of an extension of AMD's.
fn extension(arc: &[u8], value: &[u8]) -> Vec<u8> {
    let oid = [AMD.as_slice(), arc].concat();
    [tlv(OBJECT_IDENTIFIER, &oid), tlv(OCTET_STRING, value)].concat()
}

/// DER of a short value; none here has 128 bytes or more.
fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.iter().fold(0_u8, |count, _| count.saturating_add(1));
    [&[tag, length], content].concat()
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}
