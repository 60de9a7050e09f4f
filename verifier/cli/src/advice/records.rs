//! Codes of what is kept: the ledger's, and those of receipts in a row.

use super::Known;
use super::codes::known;
use crate::exit::{MALFORMED, REJECTED, UNAVAILABLE, USAGE};

/// Every one of them.
pub(super) const RECORDS: &[Known] = &[
    known(
        "receipt.sequence",
        REJECTED,
        "the receipts are not in their order, or two of one boot have the same number",
        "they were named in another order; if not, the enclave signed two histories",
        "name them in the order of their numbers; if they are, rely on none of them",
    ),
    known(
        "receipt.previous",
        REJECTED,
        "the receipt does not follow on the one before it",
        "one of the two was left out or replaced, or the enclave signed two histories",
        "rely on neither, and ask the node's operator",
    ),
    known(
        "receipt.no_evidence",
        USAGE,
        "there is no evidence for the receipt",
        "the evidence of its epoch was not named, was pruned, or is not accepted",
        "name the envelope that was kept with it: --evidence FILE",
    ),
    known(
        "ledger.none",
        USAGE,
        "there is no ledger",
        "nothing was kept yet on this machine, or it is elsewhere",
        "`verify`, `chat` and `proxy` begin one; name another with --ledger FILE",
    ),
    known(
        "ledger.no_folder",
        USAGE,
        "no folder for a ledger is known",
        "neither XDG_DATA_HOME nor HOME is set",
        "name a ledger with --ledger FILE, or give --no-ledger",
    ),
    known(
        "ledger.no_entry",
        USAGE,
        "the ledger has no such entry",
        "the number or digest is mistyped, or the entry was pruned",
        "`bastide ledger list` lists what there is",
    ),
    known(
        "ledger.ambiguous",
        USAGE,
        "several entries are named",
        "the digest was cut too short",
        "give more digits of the digest",
    ),
    known(
        "ledger.locked",
        UNAVAILABLE,
        "another process has the ledger open",
        "a command reads a large ledger, or one is stopped while it holds it",
        "wait for it, or name another ledger with --ledger FILE",
    ),
    known(
        "ledger.behind",
        UNAVAILABLE,
        "events could not be written to the ledger in time, and are left out",
        "the disk is slow, or another process has the ledger open",
        "nothing depends on it but the ledger; if it stays so, name one on another disk",
    ),
    known(
        "ledger.corrupt",
        MALFORMED,
        "the ledger's file is damaged",
        "the disk failed, or something else wrote into it or cut it short",
        "move it away and keep it; a new one is begun without it",
    ),
    known(
        "ledger.schema",
        USAGE,
        "the ledger was written by another version",
        "a newer version of this program wrote it",
        "use the program that wrote it, or name another ledger with --ledger FILE",
    ),
    known(
        "ledger.unusable",
        USAGE,
        "the ledger can't be opened or written",
        "its folder can't be written to, the disk is full, or it is no file",
        "check permissions and room, or name another with --ledger FILE",
    ),
];
