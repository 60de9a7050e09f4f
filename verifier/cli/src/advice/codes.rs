//! Codes of this command, which no verifier decides: what each means, what is most
//! likely behind it, and what to do. Those of connections, of documents, of what is
//! fetched, of links and of kept records lie beside it, by a code's first word. A
//! code that this program can print and that is in none of them fails a test.

use super::Known;
use crate::exit::{INTERNAL, MALFORMED, UNAVAILABLE, USAGE};

pub(super) const fn known(
    code: &'static str,
    exit: u8,
    means: &'static str,
    likely: &'static str,
    remedy: &'static str,
) -> Known {
    Known {
        code,
        exit,
        means,
        likely,
        remedy,
    }
}

/// Every one of them.
pub(super) const OURS: &[Known] = &[
    known(
        "explain.unknown",
        USAGE,
        "there is no such code",
        "it is mistyped, or of a newer version of this program",
        "`bastide explain --all` lists every code",
    ),
    known(
        "input.unreadable",
        USAGE,
        "a file that was named can't be read",
        "it is not there, or not yours to read",
        "check its name and its permissions",
    ),
    known(
        "input.too_large",
        MALFORMED,
        "a file or prompt is larger than it may be",
        "another file was named",
        "check what was named",
    ),
    known(
        "input.empty",
        MALFORMED,
        "there is nothing in the input",
        "the file was not written to its end",
        "check what was named",
    ),
    known(
        "input.no_evidence",
        USAGE,
        "there is no evidence where it was looked for",
        "the folder holds neither envelopes nor reports with their certificates",
        "`bastide policy test --help` says what evidence looks like",
    ),
    known(
        "input.too_many",
        USAGE,
        "there is more evidence than can be judged at once",
        "a folder too high up was named",
        "name fewer folders",
    ),
    known(
        "input.pem",
        MALFORMED,
        "the file isn't PEM of the kind that was asked for",
        "another file was named, or a block is damaged",
        "fetch it again from where it came",
    ),
    known(
        "input.unknown",
        MALFORMED,
        "the file is of no kind that is known here",
        "another file was named",
        "`bastide inspect --help` lists the kinds",
    ),
    known(
        "output.exists",
        USAGE,
        "a file that would be written exists already",
        "an earlier run wrote it",
        "name another file, or remove this one yourself",
    ),
    known(
        "output.unwritable",
        USAGE,
        "a file can't be written",
        "the folder is not there, or not yours to write in",
        "check its name and its permissions",
    ),
    known(
        "output.closed",
        UNAVAILABLE,
        "whoever read the output went away",
        "the output was piped into a program that ended",
        "read the output to its end: the receipt comes last",
    ),
    known(
        "measure.window",
        USAGE,
        "the window of the entries is empty",
        "--not-after is before --not-before",
        "exchange them, or correct one",
    ),
    known(
        "measure.too_many",
        USAGE,
        "more shapes were asked for than are computed at once",
        "vCPU counts, types and features multiply",
        "ask for fewer at a time",
    ),
    known(
        "usage",
        USAGE,
        "the command line is not one that is known",
        "an option is missing or mistyped",
        "`--help` after any command shows its options",
    ),
    known(
        "internal",
        INTERNAL,
        "this program or its machine failed",
        "a fault of this program",
        "report it, with what was done",
    ),
];

/// Codes that share a beginning and an explanation: those of launch digests.
pub(super) const FAMILIES: &[Known] = &[
    known(
        "measure.ovmf",
        MALFORMED,
        "the OVMF image can't be measured; the message says which part isn't what its format says",
        "another file was named, or the image was built without SEV-SNP",
        "give the OVMF.fd that the guest is launched with, whole",
    ),
    known(
        "measure.kernel",
        USAGE,
        "kernel, initrd or command line can't be measured with this OVMF image",
        "the image has no place for their hashes",
        "use an image built for direct boot (OvmfPkg/AmdSev)",
    ),
    known(
        "measure.id_block",
        USAGE,
        "no ID block can be made of what was given",
        "the key is no P-384 key, or the guest policy is none",
        "give an EC key on P-384 in PEM, and the policy that the guest is launched with",
    ),
    known(
        "measure.vcpu",
        USAGE,
        "the vCPU type, signature or features are none that can be measured",
        "a name is mistyped",
        "`bastide measure --help` lists the types",
    ),
    known(
        "measure.vmm",
        USAGE,
        "how this VMM sets up a guest isn't known, or not verified",
        "its launch digests were never compared with a real one's",
        "ask the provider for the measurement and its provenance",
    ),
];
