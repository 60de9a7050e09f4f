//! Policies for real, simulated and made-up GPUs, as text with changes.

use bastide_attestation::binding;
use bastide_attester::simulator::nvidia::roots::Authority;
use bastide_verifier::Policy;

use super::gpu_pki::Made;
use super::policies;

/// A policy for one real H100 as it was recorded in 2025, as text.
pub(crate) const ONE_HOPPER: &str = r#"
[gpu]
count = 1
families = ["hopper"]
modes = ["spt"]
rim_expiry = "strict"
revocation = "hard"
revocation_max_age_hours = 2160
drivers = [{ minimum = "550.54.15", reason = "t" }, { minimum = "570.124.06", reason = "t" }, { minimum = "580.1", reason = "t" }]
vbioses = [{ minimum = "96.00.00.00.00", reason = "t" }]
"#;

/// A policy for real processors and for GPUs as `gpu` says, with changes to the whole.
pub(crate) fn real(gpu: &str, changes: &[(&str, &str)]) -> Policy {
    let mut text = String::from(
        r#"schema = "bastide.policy/v1"
name = "real-gpus"
description = "accepts the recorded GPUs"
allow_simulated = false
ignore = ["snp.id_block", "snp.launch_measurement", "snp.chip_id", "snp.host_data", "model.manifest", "gpu.device"]
[roots]
amd = ["genoa"]
nvidia = true
[session]
key_exchange = "any"
certificate = "any"
[snp]
products = ["genoa"]
report_versions = [3]
vmpl = [0]
key = "vcek"
crl = "soft"
tcb_profile = "amd-2025-02"
"#,
    );
    text.push_str(policies::BITS);
    text.push_str(gpu);
    for (from, to) in changes {
        assert!(text.contains(from), "`{from}` is not in the policy");
        text = text.replace(from, to);
    }
    policies::parse(&text)
}

/// A policy for the tests' own processors with one simulated or made-up GPU, as text.
pub(crate) fn text() -> String {
    let made = binding::spki_digest(&Made::root_spki());
    let (device, rim) = (
        Authority::DeviceRoot.spki_digest(),
        Authority::RimRoot.spki_digest(),
    );
    let unused = "77".repeat(32);
    let text = policies::text().replace("ignore = [", "ignore = [\"gpu.device\", ");
    format!(
        r#"{text}
[[roots.gpu_extra]]
name = "gpu-simulation"
device_spki = "{device}"
rim_spki = "{rim}"
simulated = true

[[roots.gpu_extra]]
name = "made-up"
device_spki = "{made}"
rim_spki = "{unused}"
simulated = true

[gpu]
count = 1
families = ["hopper"]
modes = ["spt"]
rim_expiry = "strict"
revocation = "hard"
revocation_max_age_hours = 24
drivers = [{{ minimum = "580.159.03", reason = "t" }}]
vbioses = [{{ minimum = "96.00.9F.00.01", reason = "t" }}]
"#
    )
}

/// That policy with changes; what is changed must be there.
pub(crate) fn with(changes: &[(&str, &str)]) -> Policy {
    let mut text = text();
    for (from, to) in changes {
        assert!(text.contains(from), "`{from}` is not in the policy");
        text = text.replace(from, to);
    }
    policies::parse(&text)
}

/// Eight GPUs that exchange data in the clear.
pub(crate) const EIGHT: [(&str, &str); 2] = [("count = 1", "count = 8"), ("[\"spt\"]", "[\"ppcie\"]")];
