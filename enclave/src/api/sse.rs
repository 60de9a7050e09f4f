//! Server-sent events: the frames of a streamed answer, as exact bytes, since
//! a receipt commits to them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bastide_attestation::Salt;
use bytes::Bytes;
use zeroize::Zeroizing;

/// The last event that a receipt covers.
pub(crate) const DONE: &[u8] = b"data: [DONE]\n\n";

/// One `data` event, zeroed when its last owner drops it. `json` has no line
/// break: serde_json escapes them.
pub(crate) fn event(json: &[u8]) -> Bytes {
    debug_assert!(!json.contains(&b'\n'), "an event is one line");
    Bytes::from_owner(Zeroizing::new([b"data: ", json, b"\n\n"].concat()))
}

/// The very last event: the receipt over everything before it.
pub(crate) fn receipt_event(receipt: &[u8], salt: &Salt) -> Bytes {
    let receipt = URL_SAFE_NO_PAD.encode(receipt);
    Bytes::from(format!(
        "event: bastide.receipt\ndata: {{\"receipt\":\"{receipt}\",\"salt\":\"{salt}\"}}\n\n"
    ))
}

#[cfg(test)]
mod tests {
    use super::{event, receipt_event};
    use bastide_attestation::Salt;

    #[test]
    fn frames_are_exact() {
        assert_eq!(&event(b"{\"a\":\"\\n\"}")[..], b"data: {\"a\":\"\\n\"}\n\n");
        assert_eq!(
            receipt_event(&[0xff, 0xfe], &Salt::new([0xab; 32])),
            format!(
                "event: bastide.receipt\ndata: {{\"receipt\":\"__4\",\"salt\":\"{}\"}}\n\n",
                "ab".repeat(32)
            )
        );
    }
}
