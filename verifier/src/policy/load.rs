//! From a policy file to a [`Policy`]: limits, values, decisions that are
//! missing, contradictory or made twice. Fails on the first fault.

use core::fmt::Display;
use core::ops::Range;
use core::str::FromStr;
use std::collections::BTreeMap;

use bastide_attestation::snp::{Generation, Product, SigningKey, TcbVersion};
use bastide_attestation::{LaunchMeasurement, ManifestDigest, PolicyDigest, SpkiDigest, sha256};
use toml::Spanned;

use super::error::nearest;
use super::schema::{Document, ExtraRoot, Floor, Floors, Model, Roots, SCHEMA, Snp};
use super::{CrlMode, IdBlock, KeyKinds, Policy, PolicyError, PolicyFault, SnpRules};
use crate::anchors::{Anchor, Pin, SIMULATION_KEYS};

/// Most bytes of a policy.
const MAX_POLICY_BYTES: usize = 256 * 1024;
/// Most entries of a list.
const MAX_LIST: usize = 1024;
/// Most characters of a name.
const MAX_NAME: usize = 64;
/// Most characters of a description.
const MAX_DESCRIPTION: usize = 2048;

/// Decisions that `ignore` may name.
const IGNORABLE: [&str; 4] = [TCB_FLOOR, VMPL, LAUNCH_MEASUREMENT, MODEL_MANIFEST];
const TCB_FLOOR: &str = "snp.tcb_floor";
const VMPL: &str = "snp.vmpl";
const LAUNCH_MEASUREMENT: &str = "snp.launch_measurement";
const MODEL_MANIFEST: &str = "model.manifest";

/// The file's text, so that a fault can name its line.
struct Source<'t>(&'t str);

type Outcome<T> = Result<T, PolicyError>;

/// Reads a policy.
pub(super) fn load(bytes: &[u8]) -> Outcome<Policy> {
    if bytes.len() > MAX_POLICY_BYTES {
        let message = format!(
            "at most {MAX_POLICY_BYTES} bytes were expected, got {}",
            bytes.len()
        );
        return Err(PolicyError::whole(PolicyFault::TooLarge, message));
    }
    let text = core::str::from_utf8(bytes)
        .map_err(|_| PolicyError::whole(PolicyFault::NotText, "UTF-8 text was expected"))?;
    let document: Document = toml::from_str(text).map_err(|error| PolicyError::syntax(text, &error))?;
    let source = Source(text);

    if document.schema.get_ref() != SCHEMA {
        return Err(source.unexpected(&document.schema, &[SCHEMA]));
    }
    source.require_name(&document.name)?;
    source.require_text(&document.description)?;
    let ignored = source.set(&document.ignore, |entry| source.one_of(entry, &IGNORABLE))?;
    let ignored: Vec<String> = ignored.into_iter().map(str::to_owned).collect();

    let snp = source.snp(&document.snp, &ignored)?;
    let anchors = source.anchors(&document.roots, &snp, document.allow_simulated)?;
    let manifests = source.manifests(document.model.as_ref(), &ignored)?;
    Ok(Policy {
        name: document.name.into_inner(),
        description: document.description.into_inner(),
        digest: PolicyDigest::new(sha256(&[bytes])),
        ignored,
        anchors,
        snp,
        manifests,
        allow_simulated: document.allow_simulated,
    })
}

impl Source<'_> {
    fn fault<T>(&self, fault: PolicyFault, at: &Spanned<T>, message: impl Into<String>) -> PolicyError {
        self.fault_at(fault, at.span(), message)
    }

    fn fault_at(&self, fault: PolicyFault, span: Range<usize>, message: impl Into<String>) -> PolicyError {
        PolicyError::at(fault, self.0, Some(span), message)
    }

    fn unexpected(&self, value: &Spanned<String>, allowed: &[&str]) -> PolicyError {
        let quoted: Vec<_> = allowed.iter().map(|name| format!("`{name}`")).collect();
        let hint = nearest(value.get_ref(), allowed)
            .map_or_else(String::new, |name| format!("; did you mean `{name}`?"));
        self.fault(
            PolicyFault::Value,
            value,
            format!(
                "expected {}, got `{}`{hint}",
                quoted.join(", "),
                value.get_ref().escape_debug()
            ),
        )
    }

    fn one_of<'n>(&self, value: &Spanned<String>, allowed: &[&'n str]) -> Outcome<&'n str> {
        allowed
            .iter()
            .find(|name| **name == value.get_ref().as_str())
            .copied()
            .ok_or_else(|| self.unexpected(value, allowed))
    }

    /// A list without repetitions, each entry read by `read`.
    fn set<T, U: PartialEq>(
        &self,
        entries: &[Spanned<T>],
        read: impl Fn(&Spanned<T>) -> Outcome<U>,
    ) -> Outcome<Vec<U>> {
        let mut out: Vec<U> = Vec::with_capacity(entries.len().min(MAX_LIST));
        for entry in entries {
            if out.len() == MAX_LIST {
                let message = format!("at most {MAX_LIST} entries were expected");
                return Err(self.fault(PolicyFault::TooLarge, entry, message));
            }
            let value = read(entry)?;
            if out.contains(&value) {
                let message = "this entry is in the list already";
                return Err(self.fault(PolicyFault::Duplicate, entry, message));
            }
            out.push(value);
        }
        Ok(out)
    }

    /// A set with at least one entry: an empty one would refuse everything.
    fn filled_set<T, U: PartialEq>(
        &self,
        entries: &Spanned<Vec<Spanned<T>>>,
        read: impl Fn(&Spanned<T>) -> Outcome<U>,
    ) -> Outcome<Vec<U>> {
        if entries.get_ref().is_empty() {
            return Err(self.fault(PolicyFault::Value, entries, "at least one entry was expected"));
        }
        self.set(entries.get_ref(), read)
    }

    fn parse<T: FromStr<Err: Display>>(&self, value: &Spanned<String>) -> Outcome<T> {
        value
            .get_ref()
            .parse()
            .map_err(|error: T::Err| self.fault(PolicyFault::Value, value, error.to_string()))
    }

    fn spki(&self, value: &Spanned<String>) -> Outcome<SpkiDigest> {
        let digest: SpkiDigest = self.parse(value)?;
        if digest.is_zero() {
            let message = "an all-zero digest pins nothing";
            return Err(self.fault(PolicyFault::Value, value, message));
        }
        Ok(digest)
    }

    /// Names go into HTTP headers and file names.
    fn require_name(&self, name: &Spanned<String>) -> Outcome<()> {
        let text = name.get_ref();
        let fits = !text.is_empty()
            && text.len() <= MAX_NAME
            && text
                .bytes()
                .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'));
        if fits {
            return Ok(());
        }
        let message = format!("expected a name of 1 to {MAX_NAME} lower-case letters, digits and hyphens");
        Err(self.fault(PolicyFault::Value, name, message))
    }

    fn require_text(&self, text: &Spanned<String>) -> Outcome<()> {
        let fits = text.get_ref().chars().count() <= MAX_DESCRIPTION
            && !text
                .get_ref()
                .chars()
                .any(|character| character.is_control() && character != '\n');
        if fits {
            return Ok(());
        }
        let message = format!("expected at most {MAX_DESCRIPTION} characters without control characters");
        Err(self.fault(PolicyFault::Value, text, message))
    }

    /// A decision is made or ignored: neither is a gap, both a contradiction.
    fn decision<'d, T>(
        &self,
        name: &'static str,
        key: &str,
        made: Option<&'d Spanned<T>>,
        ignored: &[String],
    ) -> Outcome<Option<&'d Spanned<T>>> {
        let is_ignored = ignored.iter().any(|entry| entry == name);
        match (made, is_ignored) {
            (Some(made), true) => Err(self.fault(
                PolicyFault::Contradiction,
                made,
                format!("`{key}` is decided here, but `ignore` names `{name}`; remove one of the two"),
            )),
            (None, false) => Err(PolicyError::whole(
                PolicyFault::Missing,
                format!("`{key}` is missing; decide it, or add \"{name}\" to `ignore` to leave it out"),
            )),
            (made, _) => Ok(made),
        }
    }

    fn snp(&self, snp: &Snp, ignored: &[String]) -> Outcome<SnpRules> {
        let products: Vec<Product> = self.filled_set(&snp.products, |entry| self.product(entry))?;
        let report_versions = self.filled_set(&snp.report_versions, |entry| {
            self.number(entry, 2..=5, "a report version from 2 to 5")
        })?;
        let vmpl = self
            .decision(VMPL, "snp.vmpl", snp.vmpl.as_ref(), ignored)?
            .map(|levels| self.filled_set(levels, |entry| self.number(entry, 0..=3, "a VMPL from 0 to 3")))
            .transpose()?;
        let tcb_floor = self
            .decision(TCB_FLOOR, "snp.tcb_floor", snp.tcb_floor.as_ref(), ignored)?
            .map(|floors| self.floors(floors, &products))
            .transpose()?;
        let measurements = self
            .decision(LAUNCH_MEASUREMENT, "snp.launch", snp.launch.as_ref(), ignored)?
            .map(|launch| {
                self.set(launch.get_ref().measurements.get_ref(), |entry| {
                    let measurement: LaunchMeasurement = self.parse(entry)?;
                    self.require_not_zero(measurement.is_zero(), entry)?;
                    Ok(measurement)
                })
            })
            .transpose()?;
        Ok(SnpRules {
            products,
            report_versions,
            vmpl,
            debug: snp.debug,
            migrate_ma: snp.migrate_ma,
            require_alias_check: snp.require_alias_check,
            key: self.key(snp)?,
            id_block: match self.one_of(&snp.id_block, &["forbid", "any"])? {
                "any" => IdBlock::Any,
                _ => IdBlock::Forbid,
            },
            crl: match self.one_of(&snp.crl, &["hard", "soft"])? {
                "soft" => CrlMode::Soft,
                _ => CrlMode::Hard,
            },
            tcb_floor,
            measurements,
        })
    }

    fn product(&self, value: &Spanned<String>) -> Outcome<Product> {
        let names = Product::ALL.map(Product::name);
        let name = self.one_of(value, &names)?;
        Product::ALL
            .into_iter()
            .find(|product| product.name() == name)
            .ok_or_else(|| self.unexpected(value, &names))
    }

    fn number(
        &self,
        value: &Spanned<u32>,
        range: core::ops::RangeInclusive<u32>,
        what: &str,
    ) -> Outcome<u32> {
        if range.contains(value.get_ref()) {
            return Ok(*value.get_ref());
        }
        let message = format!("expected {what}, got {}", value.get_ref());
        Err(self.fault(PolicyFault::Value, value, message))
    }

    fn require_not_zero(&self, zero: bool, value: &Spanned<String>) -> Outcome<()> {
        if zero {
            return Err(self.fault(PolicyFault::Value, value, "an all-zero digest pins nothing"));
        }
        Ok(())
    }

    fn key(&self, snp: &Snp) -> Outcome<KeyKinds> {
        let kind = self.one_of(&snp.key, &["vcek", "vlek", "any"])?;
        let providers = match (&snp.vlek_providers, kind) {
            (Some(providers), "vcek") => {
                let message = "`vlek_providers` has no meaning where `key` is \"vcek\"";
                return Err(self.fault(PolicyFault::Contradiction, providers, message));
            }
            (None, "vcek") => Vec::new(),
            (Some(providers), _) => self.filled_set(providers, |entry| Ok(entry.get_ref().clone()))?,
            (None, _) => {
                let message = format!("`key` is \"{kind}\", so `vlek_providers` must name the providers");
                return Err(self.fault(PolicyFault::Missing, &snp.key, message));
            }
        };
        Ok(match kind {
            "vlek" => KeyKinds::Vlek { providers },
            "any" => KeyKinds::Any { providers },
            _ => KeyKinds::Vcek,
        })
    }

    fn floors(
        &self,
        floors: &Spanned<Floors>,
        products: &[Product],
    ) -> Outcome<BTreeMap<Product, TcbVersion>> {
        let given = floors.get_ref();
        let mut out = BTreeMap::new();
        for (product, floor) in [
            (Product::Milan, &given.milan),
            (Product::Genoa, &given.genoa),
            (Product::Bergamo, &given.bergamo),
            (Product::Turin, &given.turin),
        ] {
            match (floor, products.contains(&product)) {
                (Some(floor), true) => {
                    out.insert(product, self.floor(floor, product)?);
                }
                (Some(floor), false) => {
                    let message = format!("a floor for {product}, which `products` does not allow");
                    return Err(self.fault(PolicyFault::Contradiction, floor, message));
                }
                (None, true) => {
                    let message = format!("`products` allows {product}, but no floor for it is given");
                    return Err(self.fault(PolicyFault::Missing, floors, message));
                }
                (None, false) => {}
            }
        }
        Ok(out)
    }

    fn floor(&self, floor: &Spanned<Floor>, product: Product) -> Outcome<TcbVersion> {
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
                return Err(self.fault(PolicyFault::Missing, floor, message));
            }
            (Generation::Milan | Generation::Genoa, Some(_)) => {
                let message = format!("{product} has no `fmc` level: such a floor is never met");
                return Err(self.fault(PolicyFault::Contradiction, floor, message));
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

    fn anchors(&self, roots: &Roots, snp: &SnpRules, allow_simulated: bool) -> Outcome<Vec<Anchor>> {
        let amd: Vec<Product> = self.set(&roots.amd, |entry| self.product(entry))?;
        let kinds: &[SigningKey] = match snp.key {
            KeyKinds::Vcek => &[SigningKey::Vcek],
            KeyKinds::Vlek { .. } => &[SigningKey::Vlek],
            KeyKinds::Any { .. } => &[SigningKey::Vcek, SigningKey::Vlek],
        };
        let mut anchors = Vec::new();
        for generation in [Generation::Milan, Generation::Genoa, Generation::Turin] {
            let products: Vec<_> = amd
                .iter()
                .filter(|product| product.generation() == generation)
                .copied()
                .collect();
            if !products.is_empty() {
                // Both kinds, so that the wrong kind of key is refused by name
                // and not as an unknown root.
                anchors.extend(
                    [SigningKey::Vcek, SigningKey::Vlek]
                        .map(|kind| Anchor::amd(generation, kind, products.clone())),
                );
            }
        }
        for extra in &roots.extra {
            let added = self.extra(extra, allow_simulated)?;
            let pinned = |anchor: &Anchor| {
                anchors.iter().any(|other: &Anchor| {
                    other.name == anchor.name
                        || other.root.spki == anchor.root.spki
                        || other.intermediate.spki == anchor.intermediate.spki
                }) || is_amds(anchor)
            };
            if added.iter().any(pinned) {
                let message = "this name or key is pinned already";
                return Err(self.fault(PolicyFault::Duplicate, extra, message));
            }
            anchors.extend(added);
        }
        if let Some(product) = snp.products.iter().find(|product| {
            !anchors
                .iter()
                .any(|anchor| kinds.contains(&anchor.issues) && anchor.products.contains(product))
        }) {
            let message = format!(
                "`snp.products` allows {product}, but no root for it is given; add it to `roots.amd`, \
                 or a `roots.extra`, or remove the product"
            );
            return Err(PolicyError::whole(PolicyFault::Contradiction, message));
        }
        Ok(anchors)
    }

    /// The anchors of one added root: for VCEKs, and for VLEKs if it has an ASVK.
    fn extra(&self, extra: &Spanned<ExtraRoot>, allow_simulated: bool) -> Outcome<Vec<Anchor>> {
        let root = extra.get_ref();
        self.require_name(&root.name)?;
        let generation = match self.one_of(&root.generation, &["milan", "genoa", "turin"])? {
            "milan" => Generation::Milan,
            "genoa" => Generation::Genoa,
            _ => Generation::Turin,
        };
        if root.simulated && !allow_simulated {
            let message = "a simulated root, but `allow_simulated` is false";
            return Err(self.fault(PolicyFault::Contradiction, extra, message));
        }
        let ark = self.spki(&root.ark_spki)?;
        let mut intermediates = vec![(SigningKey::Vcek, self.spki(&root.ask_spki)?)];
        if let Some(asvk) = &root.asvk_spki {
            intermediates.push((SigningKey::Vlek, self.spki(asvk)?));
        }
        let mut keys: Vec<_> = intermediates.iter().map(|(_, spki)| *spki).chain([ark]).collect();
        if !root.simulated && keys.iter().any(|key| SIMULATION_KEYS.contains(key)) {
            let message = "the private half of this key is public: such a root must say `simulated = true`";
            return Err(self.fault(PolicyFault::Contradiction, extra, message));
        }
        keys.sort();
        keys.dedup();
        if keys.len() != intermediates.len() + 1 {
            let message = "one key is pinned here for two purposes";
            return Err(self.fault(PolicyFault::Duplicate, extra, message));
        }
        let key_alone = |spki| Pin {
            spki,
            certificate: None,
        };
        let anchor = |(issues, spki)| Anchor {
            name: root.name.get_ref().clone(),
            generation,
            products: Product::ALL
                .into_iter()
                .filter(|product| product.generation() == generation)
                .collect(),
            issues,
            root: key_alone(ark),
            intermediate: key_alone(spki),
            simulated: root.simulated,
            added_by_policy: true,
        };
        Ok(intermediates.into_iter().map(anchor).collect())
    }

    fn manifests(
        &self,
        model: Option<&Spanned<Model>>,
        ignored: &[String],
    ) -> Outcome<Option<Vec<ManifestDigest>>> {
        self.decision(MODEL_MANIFEST, "model", model, ignored)?
            .map(|model| {
                self.set(model.get_ref().manifests.get_ref(), |entry| {
                    let manifest: ManifestDigest = self.parse(entry)?;
                    self.require_not_zero(manifest.is_zero(), entry)?;
                    Ok(manifest)
                })
            })
            .transpose()
    }
}

/// AMD's own keys are named in `roots.amd`, where their certificates are pinned whole.
fn is_amds(anchor: &Anchor) -> bool {
    [Generation::Milan, Generation::Genoa, Generation::Turin]
        .into_iter()
        .any(|generation| Anchor::amd(generation, SigningKey::Vcek, Vec::new()).root.spki == anchor.root.spki)
}
