//! Work to be counted by callgrind: `instructions again|bare TIMES`. The
//! difference between two numbers of TIMES is what one time costs.

use bastide_peers::{Evidence, OURS};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let work = arguments.next();
    let times: u32 = arguments
        .next()
        .and_then(|text| text.parse().ok())
        .expect("expected how many times");
    let evidence = Evidence::load();
    let (_, crypto) = OURS[0];
    let verifier = evidence.verifier(crypto);
    assert!(evidence.appraise(&verifier));
    for _ in 0..times {
        assert!(match work.as_deref() {
            Some("again") => evidence.appraise(&verifier),
            Some("bare") => evidence.bare_p384(crypto),
            _ => panic!("expected `again` or `bare`"),
        });
    }
}
