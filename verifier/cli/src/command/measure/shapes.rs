//! Which launches are asked for, and the digest of each.

use std::collections::BTreeSet;
use std::str::FromStr;

use bastide_attestation::LaunchMeasurement;
use bastide_measure::{GuestFeatures, Launch, MAX_VCPUS, VcpuSignature, VcpuType};

use crate::fault::Fault;

/// Most digests of one run.
const MAX_SHAPES: usize = 16 * 1024;

/// Numbers of vCPUs.
#[derive(Debug, Clone)]
pub(super) struct Counts(BTreeSet<u32>);

impl FromStr for Counts {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let count = |text: &str| {
            let count = text.trim().parse().ok();
            count.filter(|count| (1..=MAX_VCPUS).contains(count))
        };
        let mut counts = BTreeSet::new();
        for part in text.split(',') {
            let range = match part.split_once('-') {
                Some((first, last)) => count(first).zip(count(last)),
                None => count(part).map(|one| (one, one)),
            };
            match range {
                Some((first, last)) if first <= last => counts.extend(first..=last),
                _ => {
                    return Err(format!(
                        "expected numbers from 1 to {MAX_VCPUS} and ranges of them, as in 1,2,4,8-16"
                    ));
                }
            }
        }
        Ok(Self(counts))
    }
}

/// Parses a number, hexadecimal behind `0x`.
///
/// # Errors
/// A sentence for clap.
pub(super) fn word(text: &str) -> Result<u64, String> {
    let number = match text.strip_prefix("0x") {
        // `from_str_radix` would take a sign.
        Some(digits) if digits.bytes().all(|digit| digit.is_ascii_hexdigit()) => {
            u64::from_str_radix(digits, 16).ok()
        }
        Some(_) => None,
        None => text.parse().ok(),
    };
    number.ok_or_else(|| "expected a number of 64 bits, as in 33 or 0x21".to_owned())
}

/// Parses a CPUID signature.
///
/// # Errors
/// A sentence for clap.
pub(super) fn signature(text: &str) -> Result<VcpuSignature, String> {
    let number = word(text)?;
    u32::try_from(number)
        .map(VcpuSignature::new)
        .map_err(|_| "expected a number of 32 bits, as in 0xa10f10".to_owned())
}

/// Parses a word of guest features.
///
/// # Errors
/// A sentence for clap.
pub(super) fn features(text: &str) -> Result<GuestFeatures, String> {
    GuestFeatures::new(word(text)?).map_err(|error| error.to_string())
}

/// A vCPU type, by name or by signature alone.
#[derive(Debug, Clone)]
pub(super) struct Processor {
    /// QEMU's name, if it was given.
    pub(super) name: Option<&'static str>,
    pub(super) signature: VcpuSignature,
}

impl Processor {
    pub(super) fn named(known: VcpuType) -> Self {
        Self {
            name: Some(known.name()),
            signature: known.signature(),
        }
    }

    pub(super) fn signed(signature: VcpuSignature) -> Self {
        Self {
            name: None,
            signature,
        }
    }

    /// As it stands in the name of a shape.
    pub(super) fn label(&self) -> String {
        self.name
            .map_or_else(|| format!("sig{}", self.signature), str::to_owned)
    }
}

/// One launch and its digest.
#[derive(Debug, Clone)]
pub(super) struct Shape {
    pub(super) vcpus: u32,
    pub(super) processor: Processor,
    pub(super) features: GuestFeatures,
    pub(super) measurement: LaunchMeasurement,
}

impl Shape {
    /// As in `32vcpu-EPYC-v4-gf0x1`.
    pub(super) fn name(&self) -> String {
        format!(
            "{}vcpu-{}-gf{}",
            self.vcpus,
            self.processor.label(),
            self.features
        )
    }
}

/// Every combination, each processor and feature word in one pass over the vCPUs.
///
/// # Errors
/// [`Fault`] of usage if there are too many.
pub(super) fn measure(
    launch: &Launch,
    processors: &[Processor],
    features: &[GuestFeatures],
    counts: &Counts,
) -> Result<Vec<Shape>, Fault> {
    let number = processors
        .len()
        .saturating_mul(features.len())
        .saturating_mul(counts.0.len());
    if number > MAX_SHAPES {
        return Err(Fault::usage(
            "measure.too_many",
            format!("{number} digests were asked for, expected at most {MAX_SHAPES}"),
        )
        .with_remedy("list the vCPU counts that you launch, in place of whole ranges"));
    }
    let mut shapes = Vec::with_capacity(number);
    for processor in processors {
        for features in features {
            let wanted = launch
                .digests(processor.signature, *features)
                .take_while(|(vcpus, _)| counts.0.last().is_some_and(|last| vcpus <= last))
                .filter(|(vcpus, _)| counts.0.contains(vcpus));
            shapes.extend(wanted.map(|(vcpus, measurement)| Shape {
                vcpus,
                processor: processor.clone(),
                features: *features,
                measurement,
            }));
        }
    }
    Ok(shapes)
}

#[cfg(test)]
mod tests {
    use super::{Counts, features, signature, word};

    #[test]
    fn counts_are_numbers_and_ranges_of_what_a_guest_can_have() {
        let counts = |text: &str| {
            text.parse::<Counts>()
                .map(|counts| counts.0.into_iter().collect())
        };
        assert_eq!(counts("4, 1,8-10,9"), Ok(vec![1, 4, 8, 9, 10]));
        assert_eq!(counts("4096"), Ok(vec![4096]));
        for text in [
            "",
            "0",
            "4097",
            "1,",
            "8-4",
            "1-2-3",
            "-1",
            "1-",
            "x",
            "1..4",
            "4294967297",
        ] {
            assert!(counts(text).is_err(), "{text}");
        }
    }

    #[test]
    fn words_are_decimal_or_hexadecimal_and_of_their_width() {
        assert_eq!((word("33"), word("0x21")), (Ok(33), Ok(33)));
        assert_eq!(word("0xffffffffffffffff"), Ok(u64::MAX));
        for text in ["", "0x", "0x+1", "-1", "21h", "0x1ffffffffffffffff"] {
            assert!(word(text).is_err(), "{text}");
        }
        assert!(signature("0x100000000").is_err());
        assert!(features("0x20").is_err() && features("0x21").is_ok());
    }
}
