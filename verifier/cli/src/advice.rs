//! What a code means and what to do about it: the verifier's own words for its
//! rejections, and ours for what can happen before and after an appraisal.

use bastide_verifier::Rejection;

/// A code in words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Advice {
    /// What it means, or what is most likely behind it.
    pub(crate) likely: &'static str,
    /// What to do.
    pub(crate) remedy: &'static str,
}

/// Codes of this command and of the connection, which no verifier decides.
const OURS: &[(&str, Advice)] = &[
    (
        "simulated.not_allowed",
        Advice {
            likely: "the policy lists simulation roots and the evidence is from one; anyone can make such evidence",
            remedy: "for development say --allow-simulated; else use a policy without simulation roots",
        },
    ),
    (
        "session.tcp",
        Advice {
            likely: "the node is down, its address is wrong, or a firewall is in between",
            remedy: "check host and port with whoever runs the node",
        },
    ),
    (
        "session.tls",
        Advice {
            likely: "this is no TLS 1.3 endpoint, or something in between ends the connection",
            remedy: "check the port; an attested node speaks TLS 1.3 and nothing older",
        },
    ),
    (
        "session.not_tls13",
        Advice {
            likely: "a load balancer or proxy ends TLS in front of the enclave",
            remedy: "ask the operator to pass TLS through to the enclave",
        },
    ),
    (
        "session.resumed",
        Advice {
            likely: "the other end isn't an attested node: those never resume",
            remedy: "do not use this node",
        },
    ),
    (
        "session.not_bindable",
        Advice {
            likely: "the TLS session gives nothing that evidence could be bound to",
            remedy: "do not use this node",
        },
    ),
    (
        "session.not_attested",
        Advice {
            likely: "this is an ordinary server, or a proxy that ends TLS in front of the enclave",
            remedy: "ask the operator for the attested address",
        },
    ),
    (
        "session.unavailable",
        Advice {
            likely: "too many sessions wait for a report, or the enclave can no longer attest",
            remedy: "try again in a moment, or name another node",
        },
    ),
    (
        "session.closed",
        Advice {
            likely: "the node or something in between closed the connection",
            remedy: "try again; if it stays so, ask the operator for the enclave's log",
        },
    ),
    (
        "session.timeout",
        Advice {
            likely: "the node is overloaded, or a firewall swallows its packets",
            remedy: "try again, or name another node",
        },
    ),
    (
        "evidence.malformed",
        Advice {
            likely: "the file is no evidence envelope, or the node speaks another version of the protocol",
            remedy: "update whichever of the two is older, the node or this verifier",
        },
    ),
    (
        "receipt.key",
        Advice {
            likely: "another key signed the receipt than the enclave of this evidence attested",
            remedy: "use the evidence that was kept with the receipt; if it is that, do not rely on the receipt",
        },
    ),
    (
        "receipt.statement",
        Advice {
            likely: "the receipt was made under another epoch than this evidence is of",
            remedy: "use the evidence that was kept with the receipt",
        },
    ),
    (
        "receipt.model",
        Advice {
            likely: "the receipt names another model than the enclave attested",
            remedy: "do not rely on the answer",
        },
    ),
    (
        "receipt.nonce",
        Advice {
            likely: "the receipt was made for another connection",
            remedy: "do not rely on the answer",
        },
    ),
    (
        "receipt.request",
        Advice {
            likely: "the request or the salt is not the one that the receipt commits to",
            remedy: "use the exact bytes that were sent, and the salt that came with the receipt",
        },
    ),
    (
        "receipt.response",
        Advice {
            likely: "the answer or the salt is not the one that the receipt commits to",
            remedy: "use the exact bytes that were received; for streams up to and including `data: [DONE]`",
        },
    ),
];

/// Advice for a code, if the code is known.
pub(crate) fn of(code: &str) -> Option<Advice> {
    if let Some((_, advice)) = OURS.iter().find(|(ours, _)| *ours == code) {
        return Some(*advice);
    }
    Rejection::ALL
        .iter()
        .find(|rejection| rejection.code() == code)
        .map(|rejection| Advice {
            likely: rejection.explanation(),
            remedy: rejection.remedy(),
        })
}

#[cfg(test)]
mod tests {
    use super::of;

    #[test]
    fn rejections_and_connection_codes_have_advice() {
        for code in ["snp.root.unknown", "session.tcp", "simulated.not_allowed"] {
            assert!(of(code).is_some(), "{code}");
        }
        assert!(of("no.such.code").is_none());
    }
}
