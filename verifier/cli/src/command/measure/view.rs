//! What is printed: a table for people, or `bastide.measure/v1`. Digests are
//! whole in both, since they are what this command is for.

use std::fmt::Write as _;

use bastide_measure::{Firmware, SectionKind};
use serde_json::{Value, json};

use super::id_block::Blocks;
use super::{Inputs, Shape};

const SCHEMA: &str = "bastide.measure/v1";

/// For people.
pub(super) fn table(
    inputs: &Inputs,
    firmware: &Firmware<'_>,
    shapes: &[Shape],
    blocks: Option<&Blocks>,
) -> String {
    let mut text = String::new();
    let hashes = if takes_kernels(firmware) {
        "with"
    } else {
        "without"
    };
    let _ = writeln!(
        text,
        "OVMF          sha256 {}   {} bytes, {hashes} SNP_KERNEL_HASHES",
        hex::encode(inputs.ovmf_sha256),
        inputs.ovmf.len()
    );
    if let Some(kernel) = &inputs.kernel {
        let _ = writeln!(text, "kernel        sha256 {}", hex::encode(kernel.kernel()));
        let _ = writeln!(text, "initrd        sha256 {}", hex::encode(kernel.initrd()));
        let _ = writeln!(text, "command line  sha256 {}", hex::encode(kernel.cmdline()));
    }
    let labels: Vec<String> = shapes.iter().map(|shape| shape.processor.label()).collect();
    let width = labels.iter().map(String::len).max().unwrap_or(0).max(4);
    let _ = writeln!(text, "\nvcpus  {:<width$}  features  launch digest", "type");
    for (shape, label) in shapes.iter().zip(labels) {
        let _ = writeln!(
            text,
            "{:>5}  {label:<width$}  {:<8}  {}",
            shape.vcpus,
            shape.features.to_string(),
            shape.measurement
        );
    }
    if let Some(blocks) = blocks {
        let _ = writeln!(text, "\nID key digest      {}", hex::encode(blocks.id_key_digest));
        if let Some(digest) = blocks.author_key_digest {
            let _ = writeln!(text, "author key digest  {}", hex::encode(digest));
        }
        for block in &blocks.blocks {
            let _ = writeln!(text, "{}  {}", block.shape, block.files.join("  "));
        }
    }
    text
}

/// For programs.
pub(super) fn object(
    inputs: &Inputs,
    firmware: &Firmware<'_>,
    shapes: &[Shape],
    blocks: Option<&Blocks>,
) -> Value {
    let sections = firmware.sections().iter().map(|section| {
        json!({
            "gpa": format!("{:#x}", section.gpa),
            "bytes": section.size,
            "kind": section.kind.name(),
        })
    });
    let digests = shapes.iter().map(|shape| {
        json!({
            "measurement": shape.measurement.to_string(),
            "shape": shape.name(),
            "vcpus": shape.vcpus,
            "vcpu_type": shape.processor.name,
            "vcpu_signature": shape.processor.signature.to_string(),
            "guest_features": shape.features.to_string(),
        })
    });
    json!({
        "schema": SCHEMA,
        "vmm": "qemu",
        "ovmf": {
            "sha256": hex::encode(inputs.ovmf_sha256),
            "bytes": inputs.ovmf.len(),
            "digest": firmware.digest().to_string(),
            "kernel_hashes": takes_kernels(firmware),
            "sections": sections.collect::<Vec<_>>(),
        },
        "kernel": inputs.kernel.as_ref().map(|kernel| json!({
            "kernel_sha256": hex::encode(kernel.kernel()),
            "initrd_sha256": hex::encode(kernel.initrd()),
            "cmdline_sha256": hex::encode(kernel.cmdline()),
        })),
        "digests": digests.collect::<Vec<_>>(),
        "id_block": blocks.map(|blocks| json!({
            "id_key_digest": hex::encode(blocks.id_key_digest),
            "author_key_digest": blocks.author_key_digest.map(hex::encode),
            "files": blocks.blocks.iter().map(|block| json!({
                "shape": block.shape,
                "id_block": block.files[0],
                "id_auth": block.files[1],
            })).collect::<Vec<_>>(),
        })),
    })
}

fn takes_kernels(firmware: &Firmware<'_>) -> bool {
    let mut sections = firmware.sections().iter();
    sections.any(|section| section.kind == SectionKind::KernelHashes)
}
