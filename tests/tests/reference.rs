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
| 1 | internal error, or an error of this machine (a file, a port) |
| 2 | usage |
| 10 | rejected: the verifier decided no |
| 20 | unsupported: evidence of a kind or version that isn't known |
| 30 | malformed: the evidence isn't what its format says |
| 40 | undecided: something needed was not to be had, for example an endorsement or the node itself |

A session that fails before there is evidence to judge has a code beginning with `session.`: `session.tcp`, `session.tls`, `session.timeout`, `session.closed`, `session.not_attested` and others; `evidence.malformed` is an envelope that can't be read. `simulated.not_allowed` is `bastide` refusing simulated hardware without `--allow-simulated`.

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
