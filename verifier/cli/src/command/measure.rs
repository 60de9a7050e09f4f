//! `bastide measure`: launch digests from what a guest is launched with, as
//! pins that a policy can hold, and ID blocks over them. It opens no connection
//! and needs no SEV hardware.

use std::path::PathBuf;

use bastide_measure::{
    DEFAULT_GUEST_POLICY, Firmware, GuestFeatures, KernelHashes, MAX_OVMF_BYTES, VcpuSignature, VcpuType, Vmm,
};
use clap::{ArgGroup, Args};

use crate::console::Console;
use crate::escape::line;
use crate::fault::Fault;
use crate::file::{self, Existing};
use crate::{exit, progress};

mod hash;
mod id_block;
mod pins;
mod shapes;
mod view;

use pins::Moment;
use shapes::{Counts, Processor, Shape};

/// Compute launch digests from OVMF, kernel, initrd and command line
#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("vcpu").required(true).multiple(true).args(["vcpu_type", "vcpu_sig", "vcpu_family"]),
    after_help = format!("\
Digests are those of guests that QEMU starts with KVM. A kernel needs OVMF built from
OvmfPkg/AmdSev/AmdSevX64.dsc, whose metadata has an SNP_KERNEL_HASHES section.

Examples:
  bastide measure --ovmf OVMF.fd --vcpus 1,2,4,8-16 --vcpu-type EPYC-v4
  bastide measure --ovmf OVMF.amdsev.fd --kernel vmlinuz --initrd initrd.img --append 'root=/dev/dm-0 ro' \\
      --vcpus 32 --vcpu-type EPYC-v4,EPYC-Genoa --guest-features 0x1,0x21 \\
      --release v0.3.1 --not-before 2026-11-25 --not-after 2027-11-25 --reason 'reviewed by ops' -o pins.toml
  bastide measure --ovmf OVMF.fd --vcpus 4 --vcpu-sig 0xa10f10 --id-key id.pem --author-key author.pem

{}", exit::HELP)
)]
pub(crate) struct Arguments {
    /// OVMF image, whole (OVMF.fd, not its variables)
    #[arg(long, value_name = "FILE")]
    ovmf: PathBuf,
    /// Kernel, if QEMU starts it directly (`-kernel` with `kernel-hashes=on`)
    #[arg(long, value_name = "FILE")]
    kernel: Option<PathBuf>,
    /// Its initrd
    #[arg(long, value_name = "FILE", requires = "kernel")]
    initrd: Option<PathBuf>,
    /// Its command line, exactly as QEMU is given it
    #[arg(long, value_name = "TEXT", requires = "kernel", allow_hyphen_values = true)]
    append: Option<String>,
    /// Numbers of vCPUs: single ones and ranges, as in 1,2,4,8-16
    #[arg(long, value_name = "LIST")]
    vcpus: Counts,
    /// vCPU types by QEMU's names, as in EPYC-v4,EPYC-Genoa
    #[arg(long, value_name = "TYPE", value_delimiter = ',')]
    vcpu_type: Vec<VcpuType>,
    /// CPUID signatures, for types that have no name here
    #[arg(long, value_name = "NUMBER", value_delimiter = ',', value_parser = shapes::signature)]
    vcpu_sig: Vec<VcpuSignature>,
    /// Family of a CPUID signature that is given by its parts
    #[arg(
        long,
        value_name = "NUMBER",
        requires = "vcpu_model",
        requires = "vcpu_stepping"
    )]
    vcpu_family: Option<u32>,
    /// Its model
    #[arg(long, value_name = "NUMBER", requires = "vcpu_family")]
    vcpu_model: Option<u32>,
    /// Its stepping
    #[arg(long, value_name = "NUMBER", requires = "vcpu_family")]
    vcpu_stepping: Option<u32>,
    /// SEV_FEATURES words; 0x21 where KVM has DebugSwap on
    #[arg(long, value_name = "NUMBER", value_delimiter = ',', default_value = "0x1", value_parser = shapes::features)]
    guest_features: Vec<GuestFeatures>,
    /// What launches the guest
    #[arg(long, value_name = "NAME", default_value = "qemu")]
    vmm: String,
    #[command(flatten)]
    pins: PinArguments,
    #[command(flatten)]
    id_block: IdBlockArguments,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Pins")]
struct PinArguments {
    /// Write policy entries to this file; an existing file is never overwritten
    #[arg(
        short = 'o',
        long = "out",
        value_name = "FILE",
        requires = "not_before",
        requires = "not_after",
        requires = "reason"
    )]
    file: Option<PathBuf>,
    /// From when on they hold: a date, or a time that ends in Z
    #[arg(long, value_name = "TIME", requires = "file")]
    not_before: Option<Moment>,
    /// Until when, inclusive
    #[arg(long, value_name = "TIME", requires = "file")]
    not_after: Option<Moment>,
    /// Why these are trusted
    #[arg(long, value_name = "TEXT", requires = "file", value_parser = pins::text)]
    reason: Option<String>,
    /// Which release they are of
    #[arg(long, value_name = "TEXT", requires = "file", value_parser = pins::text)]
    release: Option<String>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "ID blocks")]
struct IdBlockArguments {
    /// P-384 private key (PEM) that signs an ID block for each digest
    #[arg(long, value_name = "FILE")]
    id_key: Option<PathBuf>,
    /// P-384 private key (PEM) that vouches for the ID key
    #[arg(long, value_name = "FILE", requires = "id_key")]
    author_key: Option<PathBuf>,
    /// Folder for id-block.b64 and id-auth.b64; existing files are never overwritten
    #[arg(long, value_name = "DIR", requires = "id_key", default_value = ".")]
    id_out: PathBuf,
    /// Guest policy that the launch must have; 0x30000 if not given
    #[arg(long, value_name = "NUMBER", requires = "id_key", value_parser = shapes::word,
        default_value_t = DEFAULT_GUEST_POLICY, hide_default_value = true)]
    guest_policy: u64,
    /// Security version of the guest
    #[arg(long, value_name = "NUMBER", requires = "id_key", default_value_t = 0)]
    guest_svn: u32,
    /// Family, 16 bytes in hex
    #[arg(long, value_name = "HEX", requires = "id_key", value_parser = id_block::identity)]
    family_id: Option<[u8; 16]>,
    /// Image, 16 bytes in hex
    #[arg(long, value_name = "HEX", requires = "id_key", value_parser = id_block::identity)]
    image_id: Option<[u8; 16]>,
}

/// What was read, by SHA-256.
#[derive(Debug)]
struct Inputs {
    ovmf: Vec<u8>,
    ovmf_sha256: [u8; 32],
    kernel: Option<KernelHashes>,
}

/// Runs it.
///
/// # Errors
/// [`Fault`] of malformed input if the OVMF image can't be measured, of usage
/// for everything else that is wrong with the arguments or the files they name.
pub(crate) fn run(arguments: Arguments, console: &Console) -> Result<u8, Fault> {
    let _: Vmm = arguments
        .vmm
        .parse()
        .map_err(|error: bastide_measure::VmmError| Fault::usage(error.code(), error.to_string()))?;
    let processors = processors(&arguments)?;
    let window = pins::window(&arguments.pins)?;
    // Keys first: a wrong one is said before anything is hashed.
    let keys = id_block::Keys::read(&arguments.id_block)?;
    let (ovmf, kernel, initrd) = (arguments.ovmf, arguments.kernel, arguments.initrd);
    let append = arguments.append.unwrap_or_default();
    let inputs = super::block_on(async {
        let work = tokio::task::spawn_blocking(move || read(&ovmf, kernel.zip(Some(initrd)), &append));
        progress::shown(console, "reading and hashing", work)
            .await
            .map_err(|error| Fault::internal(format!("hashing ended early: {error}")))?
    })?;
    let firmware =
        Firmware::parse(&inputs.ovmf).map_err(|error| Fault::malformed(error.code(), error.to_string()))?;
    let launch = firmware
        .launch(inputs.kernel.as_ref())
        .map_err(|error| Fault::usage(error.code(), error.to_string()))?;
    let shapes = shapes::measure(&launch, &processors, &arguments.guest_features, &arguments.vcpus)?;
    let blocks = keys
        .as_ref()
        .map(|keys| keys.sign(&arguments.id_block, &shapes))
        .transpose()?;
    if let (Some(path), Some(window)) = (&arguments.pins.file, &window) {
        let text = pins::entries(&inputs, &shapes, keys.as_ref(), window, &arguments.pins);
        file::write(path, text.as_bytes(), Existing::Keep)?;
    }
    if let Some(blocks) = &blocks {
        blocks.write(&arguments.id_block.id_out)?;
    }
    if console.json() {
        console.object(&view::object(&inputs, &firmware, &shapes, blocks.as_ref()))?;
    } else {
        console.data(&view::table(&inputs, &firmware, &shapes, blocks.as_ref()))?;
    }
    if let Some(path) = &arguments.pins.file {
        console.note(&line(&format!(
            "wrote {}; its entries belong into a policy's [snp] section",
            path.display()
        )));
    }
    Ok(exit::ACCEPTED)
}

fn processors(arguments: &Arguments) -> Result<Vec<Processor>, Fault> {
    let named = arguments.vcpu_type.iter().copied().map(Processor::named);
    let signed = arguments.vcpu_sig.iter().copied().map(Processor::signed);
    let mut processors: Vec<Processor> = named.chain(signed).collect();
    let parts = (
        arguments.vcpu_family,
        arguments.vcpu_model,
        arguments.vcpu_stepping,
    );
    if let (Some(family), Some(model), Some(stepping)) = parts {
        let signature = VcpuSignature::of(family, model, stepping)
            .map_err(|error| Fault::usage(error.code(), error.to_string()))?;
        processors.push(Processor::signed(signature));
    }
    Ok(processors)
}

fn read(
    ovmf: &std::path::Path,
    kernel: Option<(PathBuf, Option<PathBuf>)>,
    append: &str,
) -> Result<Inputs, Fault> {
    let ovmf = file::read(ovmf, MAX_OVMF_BYTES).map_err(|fault| match fault.code {
        // The image's own code for it, so that it is one whatever reads the file.
        "input.too_large" => Fault {
            code: "measure.ovmf.too_large",
            ..fault
        },
        _ => fault,
    })?;
    let kernel = kernel.map(|(kernel, initrd)| {
        let kernel = hash::sha256_of(&kernel)?;
        let initrd = initrd.map(|initrd| hash::sha256_of(&initrd)).transpose()?;
        KernelHashes::new(kernel, initrd, append.as_bytes())
            .map_err(|error| Fault::usage(error.code(), error.to_string()))
    });
    Ok(Inputs {
        ovmf_sha256: bastide_attestation::sha256(&[&ovmf]),
        ovmf,
        kernel: kernel.transpose()?,
    })
}
