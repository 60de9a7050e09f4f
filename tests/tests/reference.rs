//! The reference pages that are made from code are what the code makes.
//! `BASTIDE_BLESS=1 cargo test -p bastide-tests --test reference` writes them.

use std::fmt::Write as _;
use std::fs;

use bastide_attestation::Decision;
use bastide_tests::workspace_root;
use bastide_verifier::Rejection;

fn rejections() -> String {
    let mut page = "# Exit codes and rejection codes

Every command ends with one of these, and every refusal names one rejection code. Codes are only ever added.

| exit | meaning |
|---|---|
| 0 | accepted: every enforced check passed |
| 1 | internal error; from `bastide-enclave` and `bastide-shim` also a file or a port that is not to be had |
| 2 | usage; from `bastide` also a file or a port of the command line that is not to be had |
| 10 | rejected: the verifier decided no |
| 20 | unsupported: evidence of a kind or version that isn't known |
| 30 | malformed: the evidence isn't what its format says |
| 40 | undecided: something needed was not to be had, for example an endorsement or the node itself |

## Before there is evidence to judge

| code | exit | meaning |
|---|---|---|
| `session.tcp`, `session.timeout`, `session.closed`, `session.unavailable` | 40 | no session came about, or it ended early; the node may be down or busy |
| `session.tls`, `session.not_tls13`, `session.resumed`, `session.not_bindable` | 10 | no TLS, or a session that evidence can't be bound to |
| `session.key_exchange`, `session.certificate` | 10 | keys or certificate are not what the policy's rules for sessions ask for |
| `session.pipeline`, `sealed.pipeline` | 10 | a head of a pipeline, and nobody judges its stages |
| `session.lane_k_not_allowed`, `session.lane_k_signature` | 10 | a session signature where only a fresh report counts, or by another key |
| `session.not_attested` | 10 | the node has no attest endpoint, or answered something else |
| `evidence.malformed` | 30 | the envelope isn't what its format says |
| `simulated.not_allowed` | 10 | simulated hardware without `--allow-simulated` |

Receipts: `receipt.malformed` (30), `receipt.missing`, `receipt.signature`, `receipt.key`, `receipt.statement`, `receipt.model`, `receipt.nonce`, `receipt.request`, `receipt.response` (10). Answers cut on their way: `stream.*`. Files: `input.*`; policies: `policy.*` with the line. The proxy itself: `proxy.*`. A node's own refusals: `api.*`. Between connection and answer: `session.lease_over`, `session.busy`, `session.request`; `output.closed` is whoever reads the output going away. Launch digests: `measure.ovmf.*` (30); `measure.kernel.*`, `measure.vcpu.*`, `measure.vmm.*`, `measure.id_block.*`, `measure.window`, `measure.too_many` (2).

Signed results: `result.malformed` (30), `result.signature`, `result.key`, `result.verdict`, `result.evidence`, `result.nonce` (10). Signatures of policies: `policy.not_signed` (10), `policy.signatures_malformed` (30), `policy.signers` (2). Credentials: `credential.malformed` (30), `credential.issuer`, `credential.signature`, `credential.time`, `credential.other`, `credential.no_guest`, `credential.no_link_key` (10), `credential.claims` (2). Pipelines: `pipeline.malformed`, `pipeline.file`, `pipeline.model_files` (30), `pipeline.signature`, `pipeline.owner`, `pipeline.other`, `pipeline.policy`, `pipeline.plan_differs`, `pipeline.plan_policy`, `pipeline.none`, `pipeline.model`, `pipeline.stages`, `pipeline.distinct`, `pipeline.head`, `pipeline.nodes_differ`, and of one stage `pipeline.stage_evidence`, `pipeline.stage_refused`, `pipeline.stage_model`, `pipeline.stage_policy` (10), `pipeline.plan`, `pipeline.weights`, `pipeline.nodes`, `pipeline.split` (2), `pipeline.unavailable`, `pipeline.capacity` (40). Their receipts: `receipt.no_plan` (2), `receipt.plan`, `receipt.plan_owner`, `receipt.plan_model`, `receipt.stages`, `receipt.draft`, `receipt.speculation`, `receipt.rows`, `receipt.emitted`, `receipt.replans`, `receipt.distinct`, and of one stage `receipt.part`, `receipt.part_plan`, `receipt.part_stage`, `receipt.part_layers`, `receipt.part_weights`, `receipt.part_key`, `receipt.joins`, `receipt.head_key`, `receipt.stage_model`, `receipt.stage_evidence` (10). Links between enclaves, in their logs: `link.*`, above all `link.context`, `link.peer_not_admitted` and `link.confirm`, with the verdict's own code where evidence was refused. `bastide explain CODE` says more of each of these.

## Appraisal

This page is made from the verifier's code.

| code | exit | meaning | what to do |
|---|---|---|---|
"
    .to_owned();
    for rejection in Rejection::ALL {
        writeln!(
            page,
            "| `{}` | {} | {} | {} |",
            rejection.code(),
            rejection.decision().exit_code(),
            rejection.explanation(),
            rejection.remedy()
        )
        .expect("a string can be written to");
    }
    page
}

#[test]
fn the_page_of_rejections_is_what_the_verifier_says() {
    assert_eq!(Decision::Rejected.exit_code(), 10);
    let path = workspace_root().join("docs/reference/rejections.md");
    if std::env::var_os("BASTIDE_BLESS").is_some() {
        fs::write(&path, rejections()).expect("the page can be written");
    }
    let page = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        page == rejections(),
        "docs/reference/rejections.md is out of date: run with BASTIDE_BLESS=1"
    );
}
