//! The simulated root's revocation list, in the form of AMD's: empty.

use aws_lc_rs::error::Unspecified;
use bastide_attestation::UnixTime;
use der::asn1::ObjectIdentifier;

use super::asn1::{amd_name, explicit, extension, integer, pss_sha384, sequence, time};
use super::certificate::{authority_key_id, signed};
use super::chip::Generation;
use super::roots::Authority;

const CRL_NUMBER: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.20");
const VERSION_2: u32 = 1;
const DAY: u64 = 86_400;
/// AMD's lists are due after a year.
const PERIOD: u64 = 365 * DAY;

/// A list that revokes nothing, from the day before `now`, for a year.
pub(super) fn empty_list(
    ark: &Authority,
    generation: Generation,
    now: UnixTime,
) -> Result<Vec<u8>, Unspecified> {
    let this_update = now.as_secs().saturating_sub(DAY);
    let next_update = this_update.saturating_add(PERIOD);
    let extensions = [
        authority_key_id(&ark.spki()?),
        extension(CRL_NUMBER, false, &integer(1)),
    ]
    .concat();
    let tbs = sequence(&[
        &integer(VERSION_2),
        &pss_sha384(false),
        &amd_name(&format!("ARK-{}", generation.name())),
        &time(UnixTime::from_secs(this_update)),
        &time(UnixTime::from_secs(next_update)),
        &explicit(0, &sequence(&[&extensions])),
    ]);
    signed(&tbs, &pss_sha384(false), &ark.key)
}
