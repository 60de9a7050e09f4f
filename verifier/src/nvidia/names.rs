//! Common names in a device's chain, by family: what each of the five must be
//! called. Who may be called so is for signatures to say.
//!
//! | # | Hopper | Blackwell | NVSwitch (LS10) |
//! |---|---|---|---|
//! | 0 | `GH100 A01 GSP FMC LF` | `GB100 A01 GSP FMC LF` | `LS_10 A01 FSP FMC LF` |
//! | 1 | `GH100 A01 GSP BROM` | `GB100 A01 GSP BROM` | `LS_10 A01 FSP BROM` |
//! | 2 | `NVIDIA GH100 Provisioner ICA 1` | `NVIDIA GB100 Provisioner ICA 00000` | `NVIDIA LS_10 Provisioner ICA 1` |
//! | 3 | `NVIDIA GH100 Identity` | `NVIDIA GB100 Identity` | `NVIDIA GH100 Identity` |
//! | 4 | `NVIDIA Device Identity CA` | the same | the same |
//!
//! Steppings and numbers of provisioners vary, as do Blackwell's chips (GB1xx).

use bastide_attestation::nvidia::Family;

use crate::certificate::{common_name, printable};

use super::anchors::ROOT_NAME;
use super::chain::CHAIN_LENGTH;
use super::fault::DeviceFault;

/// Checks five subjects, leaf first, and says which family they name.
pub(super) fn family_of(subjects: [&[u8]; CHAIN_LENGTH]) -> Result<Family, DeviceFault> {
    let [leaf, brom, provisioner, identity, root] = subjects;
    let fault = |index, subject, expected: &str| DeviceFault::NameTemplate {
        index,
        expected: expected.to_owned(),
        got: printable(subject).to_string(),
    };
    require(root, |name| name == ROOT_NAME).ok_or_else(|| fault(4, root, ROOT_NAME))?;
    let (family, chip, stem) = common_name(leaf)
        .and_then(read_leaf)
        .ok_or_else(|| fault(0, leaf, "a leaf of GH100, GB1xx or LS_10"))?;

    let expected = format!("{stem} BROM");
    require(brom, |name| name == expected).ok_or_else(|| fault(1, brom, &expected))?;

    let expected = format!("NVIDIA {chip} Provisioner ICA ");
    require(provisioner, |name| {
        name.strip_prefix(&expected).is_some_and(is_number)
    })
    .ok_or_else(|| fault(2, provisioner, &format!("{expected}and a number")))?;

    // Switches are under the authority of the GPUs that they connect.
    let authority = match family {
        Family::Hopper | Family::Ls10 => "GH100",
        Family::Blackwell => chip,
    };
    let expected = format!("NVIDIA {authority} Identity");
    require(identity, |name| name == expected).ok_or_else(|| fault(3, identity, &expected))?;
    Ok(family)
}

fn require(subject: &[u8], holds: impl FnOnce(&str) -> bool) -> Option<()> {
    holds(common_name(subject)?).then_some(())
}

/// Family, chip, and the name without what makes it a leaf's.
fn read_leaf(name: &str) -> Option<(Family, &str, &str)> {
    let stem = name.strip_suffix(" FMC LF")?;
    let mut words = stem.split(' ');
    let (chip, stepping, engine) = (words.next()?, words.next()?, words.next()?);
    let family = match (chip.as_bytes(), engine) {
        (b"GH100", "GSP") => Family::Hopper,
        ([b'G', b'B', b'1', b'0'..=b'9', b'0'..=b'9'], "GSP") => Family::Blackwell,
        (b"LS_10", "FSP") => Family::Ls10,
        _ => return None,
    };
    let stepped = matches!(stepping.as_bytes(), [b'A'..=b'Z', b'0'..=b'9', b'0'..=b'9']);
    (stepped && words.next().is_none()).then_some((family, chip, stem))
}

fn is_number(text: &str) -> bool {
    (1..=8).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn reading_never_panics(name in "(GH100|GB1..|LS_10|.{0,8}) .{0,4} (GSP|FSP|.{0,4})( FMC LF)?", bytes: Vec<u8>) {
            if let Some((family, chip, stem)) = read_leaf(&name) {
                prop_assert!(stem.starts_with(chip));
                prop_assert_eq!(family == Family::Blackwell, chip.starts_with("GB"));
            }
            prop_assert!(family_of([&bytes; CHAIN_LENGTH]).is_err());
        }
    }
}
