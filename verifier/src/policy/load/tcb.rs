//! Floors of TCB versions: a dated profile by name, floors of the policy's own,
//! or a profile with some floors raised above it.

use std::collections::BTreeMap;

use bastide_attestation::snp::{Generation, Product, TcbVersion};
use toml::Spanned;

use crate::ledger::CheckId;
use crate::policy::schema::{Floor, Floors, Snp};
use crate::policy::source::{Ignored, Outcome, Source};
use crate::policy::{PolicyError, PolicyFault, TcbFloors};
use crate::tcb_profile::{PROFILES, TcbProfile};

/// Reads `tcb_profile` and `tcb_floor`.
pub(super) fn read(
    source: Source<'_>,
    snp: &Snp,
    products: &[Product],
    ignored: Ignored<'_>,
) -> Outcome<Option<TcbFloors>> {
    let check = super::ignore_name(CheckId::TcbReported);
    let key = "snp.tcb_profile` or `snp.tcb_floor";
    let (profile, own) = match (&snp.tcb_profile, &snp.tcb_floor) {
        (None, None) => {
            ignored.decision::<()>(&source, check, key, None)?;
            return Ok(None);
        }
        (Some(profile), own) => {
            ignored.decision(&source, check, key, Some(profile))?;
            (Some(self::profile(source, profile)?), own)
        }
        (None, Some(own)) => {
            ignored.decision(&source, check, key, Some(own))?;
            (None, &snp.tcb_floor)
        }
    };
    let mut floors = BTreeMap::new();
    if let Some(profile) = profile {
        floors.extend(products.iter().map(|product| (*product, profile.floor(*product))));
    }
    if let Some(own) = own {
        raise(source, own, products, profile, &mut floors)?;
    }
    Ok(Some(TcbFloors { profile, floors }))
}

fn profile(source: Source<'_>, name: &Spanned<String>) -> Outcome<&'static TcbProfile> {
    let names = PROFILES.each_ref().map(|profile| profile.name);
    source.one_of(name, &names)?;
    TcbProfile::by_name(name.get_ref()).ok_or_else(|| source.unexpected(name, &names))
}

/// Puts the policy's own floors over those of the profile, which they may only raise.
fn raise(
    source: Source<'_>,
    own: &Spanned<Floors>,
    products: &[Product],
    profile: Option<&TcbProfile>,
    floors: &mut BTreeMap<Product, TcbVersion>,
) -> Outcome<()> {
    let given = own.get_ref();
    for (product, floor) in [
        (Product::Milan, &given.milan),
        (Product::Genoa, &given.genoa),
        (Product::Bergamo, &given.bergamo),
        (Product::Turin, &given.turin),
    ] {
        match (floor, products.contains(&product)) {
            (Some(floor), true) => {
                let level = self::floor(source, floor, product)?;
                let lowest = profile.map(|profile| profile.floor(product));
                if let (Some(lowest), Some(profile)) = (lowest, profile)
                    && !level.meets(&lowest)
                {
                    let message = format!(
                        "this floor is below that of `tcb_profile` \"{}\" ({lowest}); raise it, or name an older profile",
                        profile.name
                    );
                    return Err(source.fault(PolicyFault::Contradiction, floor, message));
                }
                floors.insert(product, level);
            }
            (Some(floor), false) => {
                let message = format!("a floor for {product}, which `products` does not allow");
                return Err(source.fault(PolicyFault::Contradiction, floor, message));
            }
            (None, true) if profile.is_none() => {
                let message = format!(
                    "`products` allows {product}, but no floor for it is given, and no `tcb_profile`"
                );
                return Err(source.fault(PolicyFault::Missing, own, message));
            }
            (None, _) => {}
        }
    }
    Ok(())
}

fn floor(source: Source<'_>, floor: &Spanned<Floor>, product: Product) -> Result<TcbVersion, PolicyError> {
    let Floor {
        fmc,
        boot_loader,
        tee,
        snp,
        microcode,
    } = *floor.get_ref();
    match (product.generation(), fmc) {
        (Generation::Turin, None) => {
            let message = "Turin has an `fmc` level: its floor must name one";
            return Err(source.fault(PolicyFault::Missing, floor, message));
        }
        (Generation::Milan | Generation::Genoa, Some(_)) => {
            let message = format!("{product} has no `fmc` level: such a floor is never met");
            return Err(source.fault(PolicyFault::Contradiction, floor, message));
        }
        _ => {}
    }
    Ok(TcbVersion {
        fmc,
        boot_loader,
        tee,
        snp,
        microcode,
    })
}
