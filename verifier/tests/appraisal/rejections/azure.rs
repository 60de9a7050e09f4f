//! Azure evidence that is wrong in one way, and the code it is refused with.
//! Data alone; the tests are in the module above.

use bastide_attestation::{Verdict, binding};
use bastide_verifier::{Rejection, Verifier};

use crate::support::azure::{AzureCase, jwk};
use crate::support::keys::RsaKey;
use crate::support::pki::Kind;
use crate::support::{Case, NOW, policies};

type Change = fn(&mut AzureCase);

/// Evidence of a session, changed, under the tests' policy for Azure.
const EVIDENCE: &[(Rejection, &str, Change)] = {
    use Rejection as R;
    &[
        (R::HclMalformed, "another file", |c| {
            c.numbers.push((0, 0x7f45_4c46));
        }),
        (R::HclMalformed, "no runtime data", |c| c.numbers.push((0x4d0, 0))),
        (R::HclMalformed, "runtime data beyond the end", |c| {
            c.numbers.push((0x4d0, u32::MAX));
        }),
        (R::HclMalformed, "a byte less of runtime data", |c| {
            let length = u32::try_from(c.runtime.len()).expect("short");
            c.numbers.push((0x4d0, length - 1));
        }),
        (R::HclMalformed, "a byte after the runtime data", |c| {
            c.tail.push(1);
        }),
        (R::HclMalformed, "a failed request", |c| c.numbers.push((0x10, 1))),
        (R::HclMalformed, "9 KiB", |c| c.tail = vec![0; 9 * 1024]),
        (R::HclVersion, "version 3", |c| c.numbers.push((4, 3))),
        (R::HclReportType, "TDX", |c| c.numbers.push((0x4c8, 4))),
        (R::HclReportType, "no type", |c| c.numbers.push((0x4c8, 0))),
        (R::HclHashType, "hash 0", |c| c.numbers.push((0x4cc, 0))),
        (R::HclHashType, "SHA-384", |c| c.numbers.push((0x4cc, 2))),
        (R::HclHashType, "SHA-512", |c| c.numbers.push((0x4cc, 3))),
        (R::HclHashType, "hash 99", |c| c.numbers.push((0x4cc, 99))),
        (R::ReportSignature, "an altered report inside", |c| {
            c.case.report.signer = crate::support::keys::VekKey::Stranger;
        }),
        (R::RuntimeDataMismatch, "altered runtime data", |c| {
            c.swapped_runtime = Some(c.runtime.replace("\"secure-boot\":true", "\"secure-boot\":false"));
        }),
        (R::RuntimeDataMismatch, "a key of somebody else's", |c| {
            let other = jwk("HCLAkPub", "sign", RsaKey::StrangerAk);
            c.swapped_runtime = Some(c.runtime.replace(&jwk("HCLAkPub", "sign", RsaKey::Ak), &other));
            c.quote.signer = RsaKey::StrangerAk;
        }),
        (R::RuntimeDataMismatch, "a bare guest's REPORT_DATA", |c| {
            let data = binding::report_data(c.case.statement.encode().as_bytes());
            c.case.report.report_data = Some(*data.as_bytes());
        }),
        (R::RuntimeDataMismatch, "more than zeros after the hash", |c| {
            let mut data = [0; 64];
            data[..32].copy_from_slice(&bastide_attestation::sha256(&[c.runtime.as_bytes()]));
            data[63] = 1;
            c.case.report.report_data = Some(data);
        }),
        (R::RuntimeDataMalformed, "a member twice", |c| {
            c.runtime = c.runtime.replace("\"user-data\"", "\"keys\":[],\"user-data\"");
        }),
        (R::RuntimeDataMalformed, "a member of the key twice", |c| {
            c.runtime = c
                .runtime
                .replacen("\"e\":\"AQAB\"", "\"e\":\"AQAB\",\"e\":\"AQAB\"", 1);
        }),
        (R::RuntimeDataMalformed, "two attestation keys", |c| {
            c.runtime = c.runtime.replace("HCLEkPub", "HCLAkPub");
        }),
        (R::RuntimeDataMalformed, "no attestation key", |c| {
            c.runtime = c.runtime.replace("HCLAkPub", "HCLOther");
        }),
        (R::RuntimeDataMalformed, "exponent 3", |c| {
            c.runtime = c.runtime.replace("AQAB", "Aw");
        }),
        (R::RuntimeDataMalformed, "a key for encryption", |c| {
            c.runtime = c.runtime.replace("[\"sign\"]", "[\"encrypt\"]");
        }),
        (R::RuntimeDataMalformed, "no JSON", |c| {
            c.runtime = "HCLAkPub".into();
        }),
        (R::QuoteMalformed, "a byte after the quote", |c| {
            c.quote.trailing = vec![0];
        }),
        (R::QuoteMalformed, "no PCR selected", |c| {
            c.quote.selection[7..].fill(0);
        }),
        (R::QuoteMalformed, "two banks", |c| {
            c.quote.selection = [&[0, 0, 0, 2][..], &[0, 0x0b, 3, 0xff, 0xff, 0xff].repeat(2)].concat();
        }),
        (R::QuoteMalformed, "a value too few", |c| {
            c.quote.pcrs.pop();
        }),
        (R::QuoteKind, "not made by a TPM", |c| c.quote.head[0] = 0),
        (R::QuoteKind, "a certification", |c| c.quote.head[5] = 0x17),
        (R::QuoteKind, "a time", |c| c.quote.head[5] = 0x19),
        (R::QuoteAlgorithm, "RSASSA-PSS", |c| c.quote.algorithm[1] = 0x16),
        (R::QuoteAlgorithm, "SHA-1 in the signature", |c| {
            c.quote.algorithm[3] = 4;
        }),
        (R::QuoteAlgorithm, "the SHA-1 bank", |c| c.quote.selection[5] = 4),
        (R::QuoteSignature, "another vTPM's quote", |c| {
            c.quote.signer = RsaKey::StrangerAk;
        }),
        (R::QuoteSignature, "a longer key's signature", |c| {
            c.quote.signer = RsaKey::StrangerAsk;
        }),
        (R::PcrDigest, "two values exchanged", |c| {
            c.quote.digest = Some(bastide_attestation::sha256(&[c.quote.pcrs.as_flattened()]));
            c.quote.pcrs.swap(4, 7);
        }),
        (R::PcrDigest, "a value altered to the pinned one", |c| {
            c.quote.pcrs[4] = [0xbb; 32];
            c.quote.digest = Some(bastide_attestation::sha256(&[c.quote.pcrs.as_flattened()]));
            c.quote.pcrs[4] = [4; 32];
        }),
        (R::QuoteNonce, "a challenge of somebody else's", |c| {
            c.quote.nonce = Some(b"challenge".to_vec());
        }),
        (R::QuoteNonce, "no nonce", |c| c.quote.nonce = Some(vec![])),
        (R::QuoteNonce, "another statement's nonce", |c| {
            let mut other = c.case.statement.clone();
            other.epoch += 1;
            c.quote.nonce = Some(other.encode().quote_nonce().as_bytes().to_vec());
        }),
        (R::QuoteNonce, "REPORT_DATA as the nonce", |c| {
            c.quote.nonce = Some(c.case.statement.encode().report_data().as_bytes().to_vec());
        }),
        (R::QuoteNonce, "a nonce cut short", |c| {
            c.quote.nonce = Some(c.case.statement.encode().quote_nonce().as_bytes()[..31].to_vec());
        }),
        (R::Binding, "another leaf's index", |c| c.case.proof.index = 4),
        (R::PcrNotAllowed, "another value of a pinned PCR", |c| {
            c.quote.pcrs[4] = [0xbb; 32];
        }),
        (R::PcrNotAllowed, "a pinned PCR not quoted", |c| {
            c.quote.selection[7] = 0x10;
            c.quote.selection[8..].fill(0);
            c.quote.pcrs = vec![[4; 32]];
        }),
        (R::PcrNotAllowed, "only PCRs that nobody pins", |c| {
            c.quote.selection[7..].copy_from_slice(&[0, 0, 1]);
            c.quote.digest = Some(bastide_attestation::sha256(&[&[16; 32]]));
        }),
    ]
};

/// Every case, judged.
pub(super) fn cases() -> Vec<(Rejection, &'static str, Verdict)> {
    use Rejection as R;
    let policy = policies::azure(&[]);
    let mut cases: Vec<_> = EVIDENCE
        .iter()
        .map(|(rejection, what, change)| {
            let made = AzureCase::new(Kind::Genoa).with(*change).make();
            (*rejection, *what, made.live_verdict(&policy))
        })
        .collect();
    let good = AzureCase::new(Kind::Genoa).make();
    let mut alone = good.recorded();
    alone.quote = None;
    let recorded = Verifier::new(policy.clone()).appraise_recorded_azure(&alone, NOW);
    cases.extend([
        (R::QuoteMissing, "no quote where PCRs are pinned", recorded),
        (
            R::AzureNotAllowed,
            "a policy for bare guests",
            good.live_verdict(&policies::with(&[])),
        ),
        (
            R::AzureRequired,
            "a bare guest under a policy for Azure",
            Case::new(Kind::Genoa).make().live_verdict(&policy),
        ),
        (
            R::PinNotCurrent,
            "a PCR's pin that ended",
            good.live_verdict(&policies::azure(&[(
                "not_after = 2026-03-31",
                "not_after = 2026-02-27",
            )])),
        ),
        (
            R::PcrNotAllowed,
            "one PCR's pin ended, the other has another value",
            AzureCase::new(Kind::Genoa)
                .with(|case| case.quote.pcrs[7] = [0xbb; 32])
                .make()
                .live_verdict(&policies::azure(&[("2026-03-31", "2026-02-27")])),
        ),
    ]);
    cases
}
