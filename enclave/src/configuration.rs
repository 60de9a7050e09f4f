//! The digest of the configuration, which goes into every statement: whatever
//! the operator can set that changes what an enclave permits. Ports, paths of
//! files and names for people are not in it.

use std::time::Duration;

use bastide_attestation::codec::MapBuilder;
use bastide_attestation::{PolicyDigest, sha256};

use crate::server::Limits;

const LABEL: &[u8] = b"bastide-enclave-configuration-v1\0";

/// SHA-256 over a label and the deterministic CBOR of the configuration:
/// 1 attester, 2 listener's kind, 3 to 15 the limits in the order of
/// [`Limits`]' fields, bytes, counts or milliseconds; 16 the source of GPU evidence,
/// and 17 the digest of the policy that judges it, null where there is no such source;
/// 18 how long a session key signs, milliseconds; 19 the limits of admission, in the order of
/// their fields; 20 digest of the plan and 21 the stage, where it is part of a pipeline.
#[must_use]
pub fn configuration_digest(
    limits: &Limits,
    attester: &str,
    listener: &str,
    gpus: Option<(&str, PolicyDigest)>,
    place: Option<([u8; 32], u16)>,
) -> PolicyDigest {
    let Limits {
        body_bytes,
        header_bytes,
        connections,
        idle,
        handshake,
        attest,
        lease,
        request,
        generations,
        queue,
        tokens,
        drain,
        report_pace,
        session_key,
        admission,
    } = limits;
    let map = MapBuilder::new()
        .text(1, attester)
        .text(2, listener)
        .uint(3, count(*body_bytes))
        .uint(4, count(*header_bytes))
        .uint(5, count(*connections))
        .uint(6, milliseconds(*idle))
        .uint(7, milliseconds(*handshake))
        .uint(8, milliseconds(*attest))
        .uint(9, milliseconds(*lease))
        .uint(10, milliseconds(*request))
        .uint(11, count(*generations))
        .uint(12, count(*queue))
        .uint(13, u64::from(*tokens))
        .uint(14, milliseconds(*drain))
        .uint(15, milliseconds(*report_pace))
        .text(16, gpus.map_or("none", |(source, _)| source))
        .bytes_or_null(17, gpus.as_ref().map(|(_, policy)| policy.as_bytes().as_slice()))
        .uint(18, milliseconds(*session_key))
        .uints(19, &admission.numbers());
    let map = match place {
        // The plan has the policies and rules that this enclave holds its peers to.
        Some((plan, stage)) => map.bytes(20, &plan).uint(21, u64::from(stage)),
        None => map,
    };
    PolicyDigest::new(sha256(&[LABEL, &map.encode()]))
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::configuration_digest;
    use crate::admission::ClientKey;
    use crate::server::Limits;
    use bastide_attestation::PolicyDigest;
    use std::time::Duration;

    #[test]
    fn every_setting_changes_the_digest() {
        let base = Limits::default();
        let second = Duration::from_secs(1);
        let gpus = |source, policy| Some((source, PolicyDigest::new([policy; 32])));
        let mut digests = vec![
            configuration_digest(&base, "simulator", "tcp", None, None),
            configuration_digest(&base, "sev-guest", "tcp", None, None),
            configuration_digest(&base, "simulator", "vsock", None, None),
            configuration_digest(&base, "simulator", "tcp", gpus("nvml", 1), None),
            configuration_digest(&base, "simulator", "tcp", gpus("nvml", 2), None),
            configuration_digest(&base, "simulator", "tcp", gpus("simulated", 1), None),
            configuration_digest(&base, "simulator", "tcp", None, Some(([1; 32], 0))),
            configuration_digest(&base, "simulator", "tcp", None, Some(([1; 32], 1))),
            configuration_digest(&base, "simulator", "tcp", None, Some(([2; 32], 0))),
        ];
        let changes: [fn(&mut Limits, Duration); 25] = [
            |limits, _| limits.body_bytes += 1,
            |limits, _| limits.header_bytes += 1,
            |limits, _| limits.connections += 1,
            |limits, by| limits.idle += by,
            |limits, by| limits.handshake += by,
            |limits, by| limits.attest += by,
            |limits, by| limits.lease += by,
            |limits, by| limits.request += by,
            |limits, _| limits.generations += 1,
            |limits, _| limits.queue += 1,
            |limits, _| limits.tokens += 1,
            |limits, by| limits.drain += by,
            |limits, by| limits.report_pace += by,
            |limits, by| limits.session_key += by,
            |limits, _| limits.admission.client_key = ClientKey::Connection,
            |limits, _| limits.admission.handshakes += 1,
            |limits, _| limits.admission.client_handshakes += 1,
            |limits, _| limits.admission.client_connections += 1,
            |limits, _| limits.admission.client_arrivals.burst += 1,
            |limits, _| limits.admission.attests.per_minute += 1,
            |limits, _| limits.admission.client_attests.burst += 1,
            |limits, _| limits.admission.connection_attests.per_minute += 1,
            |limits, _| limits.admission.clients += 1,
            |limits, by| limits.admission.head += by,
            |limits, by| limits.admission.body += by,
        ];
        for change in changes {
            let mut limits = base.clone();
            change(&mut limits, second);
            digests.push(configuration_digest(&limits, "simulator", "tcp", None, None));
        }
        digests.sort();
        digests.dedup();
        assert_eq!(digests.len(), 34);
    }
}
