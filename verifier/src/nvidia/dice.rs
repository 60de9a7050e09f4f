//! The firmware that made a device's attestation key, as the leaf's DICE
//! extension names it \[TCG DICE Attestation Architecture 1.1 §6.1\]: Hopper and
//! NVSwitches have a CompositeDeviceID, Blackwell has a DiceTcbInfo.

use bastide_attestation::nvidia::{Family, Fwid};

use crate::certificate::Certificate;
use crate::der::{Elements, Fault, Tag, bit_string, sequence};

use super::fault::DeviceFault;

/// 2.23.133.5.4.1: here a CompositeDeviceID, of an older draft.
const COMPOSITE_DEVICE_ID: &[u8] = &[0x67, 0x81, 0x05, 0x05, 0x04, 0x01];
/// 2.23.133.5.4.1.1
const DICE_TCB_INFO: &[u8] = &[0x67, 0x81, 0x05, 0x05, 0x04, 0x01, 0x01];
/// 2.16.840.1.101.3.4.2.2
const SHA384: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02];

/// OperationalFlags, the first as the highest of 32 bits.
const NOT_SECURE: u32 = 0x4000_0000;
const RECOVERY: u32 = 0x2000_0000;
const DEBUG: u32 = 0x1000_0000;

/// The firmware's digest in a leaf of this family.
pub(crate) fn firmware_id(leaf: &Certificate<'_>, family: Family) -> Result<Fwid, DeviceFault> {
    let composite = leaf.extension(COMPOSITE_DEVICE_ID);
    let tcb_info = leaf.extension(DICE_TCB_INFO);
    let (extension, other) = match family {
        Family::Hopper | Family::Ls10 => (composite, tcb_info),
        Family::Blackwell => (tcb_info, composite),
    };
    if other.is_some() {
        return Err(DeviceFault::Dice {
            expected: "the family's extension alone",
        });
    }
    let value = extension.ok_or(DeviceFault::FwidMissing { place: "leaf" })?.value;
    let malformed = |fault: Fault| DeviceFault::Dice { expected: fault.0 };
    match family {
        Family::Hopper | Family::Ls10 => composite_device_id(value).map_err(malformed),
        Family::Blackwell => {
            let (fwid, flags) = tcb_info_fields(value).map_err(malformed)?;
            if flags & DEBUG != 0 {
                return Err(DeviceFault::DebugTcb);
            }
            if flags & (NOT_SECURE | RECOVERY) != 0 {
                return Err(DeviceFault::InsecureTcb { flags });
            }
            Ok(fwid)
        }
    }
}

/// SEQUENCE { version INTEGER (1), deviceID SubjectPublicKeyInfo, fwid FWID }
fn composite_device_id(value: &[u8]) -> Result<Fwid, Fault> {
    const WHAT: &str = "CompositeDeviceID of version 1";
    let mut fields = sequence(value, WHAT)?;
    if fields.expect(Tag::INTEGER, WHAT)?.content != [1] {
        return Err(Fault(WHAT));
    }
    fields.expect(Tag::SEQUENCE, "its deviceID")?;
    let fwid = read_fwid(&mut fields)?;
    fields.finish("nothing after its FWID")?;
    Ok(fwid)
}

/// SEQUENCE { \[0\] vendor, \[1\] model, \[2\] version, \[3\] svn, \[4\] layer, \[5\] index,
/// \[6\] fwids, \[7\] flags, \[8\] vendorInfo, \[9\] type }, all IMPLICIT and OPTIONAL:
/// the first of the fwids, and the flags, which must both be there.
fn tcb_info_fields(value: &[u8]) -> Result<(Fwid, u32), Fault> {
    const WHAT: &str = "DiceTcbInfo";
    let mut fields = sequence(value, WHAT)?;
    for tag in [
        Tag::implicit::<0>(),
        Tag::implicit::<1>(),
        Tag::implicit::<2>(),
        Tag::implicit::<3>(),
        Tag::implicit::<4>(),
        Tag::implicit::<5>(),
    ] {
        fields.optional(tag, WHAT)?;
    }
    let list = fields.expect(Tag::context::<6>(), "fwids")?;
    let fwid = read_fwid(&mut Elements::new(list.content))?;
    let flags = fields.expect(Tag::implicit::<7>(), "32 flags")?;
    let flags = bit_string(flags.content, "32 flags")?
        .try_into()
        .map_err(|_| Fault("32 flags"))?;
    fields.optional(Tag::implicit::<8>(), WHAT)?;
    fields.optional(Tag::implicit::<9>(), WHAT)?;
    fields.finish("nothing after DiceTcbInfo's type")?;
    Ok((fwid, u32::from_be_bytes(flags)))
}

/// FWID ::= SEQUENCE { hashAlg OBJECT IDENTIFIER, digest OCTET STRING }
fn read_fwid(fields: &mut Elements<'_>) -> Result<Fwid, Fault> {
    const WHAT: &str = "an FWID of SHA-384";
    let mut parts = Elements::new(fields.expect(Tag::SEQUENCE, WHAT)?.content);
    if parts.expect(Tag::OID, WHAT)?.content != SHA384 {
        return Err(Fault(WHAT));
    }
    let digest = parts.expect(Tag::OCTET_STRING, WHAT)?;
    parts.finish(WHAT)?;
    Fwid::try_from(digest.content).map_err(|_| Fault(WHAT))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The extension of the published B200's leaf, with its second FWID left out.
    const TCB_INFO: &str = "307280064e5649444941810d47423130302041303120475350820230318301018401008501\
                            00a63f303d060960864801650304020204301111111111111111111111111111111111111111\
                            1111111111111111111111111111111111111111111111111111111187050080000001880\
                            1c0890100";

    #[test]
    fn a_tcb_info_is_read_field_by_field() {
        let value = hex::decode(TCB_INFO).unwrap();
        let (fwid, flags) = tcb_info_fields(&value).unwrap();
        assert_eq!((fwid, flags), (Fwid::new([0x11; 48]), 0x8000_0001));
        for length in 0..value.len() {
            assert!(tcb_info_fields(&value[..length]).is_err(), "{length}");
        }
    }

    proptest! {
        #[test]
        fn reading_never_panics(bytes: Vec<u8>) {
            let _ = (composite_device_id(&bytes), tcb_info_fields(&bytes));
        }

        #[test]
        fn one_changed_byte_never_panics(offset in 0_usize..120, byte: u8) {
            let mut value = hex::decode(TCB_INFO).unwrap();
            let offset = offset % value.len();
            value[offset] = byte;
            let _ = (composite_device_id(&value), tcb_info_fields(&value));
        }
    }
}
