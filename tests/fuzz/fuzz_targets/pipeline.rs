//! A pipeline's plan, a stage's part, and the exchange for every stage's
//! evidence: never a panic, what decodes encodes to the same bytes, and a plan
//! that verifies is one whose layers are all there.
#![no_main]

use bastide_attestation::pipeline::{PipelineAnswer, PipelineRequest, SignedPart, SignedPlan};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(plan) = SignedPlan::verify(bytes) {
        assert_eq!(plan.as_bytes(), bytes);
        let layers: u16 = plan.plan().stages().iter().map(|stage| stage.layers.count()).sum();
        assert_eq!(layers, plan.plan().layers());
    }
    if let Ok(part) = SignedPart::verify(bytes) {
        assert_eq!(part.as_bytes(), bytes);
    }
    if let Ok(request) = PipelineRequest::decode(bytes) {
        assert_eq!(request.encode(), bytes);
    }
    if let Ok(answer) = PipelineAnswer::decode(bytes) {
        assert_eq!(answer.encode(), bytes);
    }
});
