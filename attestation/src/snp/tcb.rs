//! TCB versions. Their layout depends on the generation, and they are compared
//! component by component: a derived order would let a high boot loader hide a
//! rolled-back firmware, so there is none.

use core::fmt;

use super::product::Generation;

/// TCB_VERSION \[SNP ABI 56860, TCB_VERSION\]: security patch levels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TcbVersion {
    /// Level of the firmware management component; Turin has one, others don't.
    pub fmc: Option<u8>,
    /// Level of the boot loader.
    pub boot_loader: u8,
    /// Level of the trusted execution environment.
    pub tee: u8,
    /// Level of the SNP firmware.
    pub snp: u8,
    /// Level of the microcode.
    pub microcode: u8,
}

/// A component below its floor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TcbShortfall {
    /// Name of the component.
    pub component: &'static str,
    /// The lowest level that is allowed.
    pub floor: u8,
    /// The level that came; `None` if there is no such component.
    pub got: Option<u8>,
}

impl TcbVersion {
    /// Reads the 8 bytes by the layout of the generation. `None` if a reserved byte isn't zero.
    #[must_use]
    pub const fn parse(bytes: [u8; 8], generation: Generation) -> Option<Self> {
        match (generation, bytes) {
            (Generation::Turin, [fmc, boot_loader, tee, snp, 0, 0, 0, microcode]) => Some(Self {
                fmc: Some(fmc),
                boot_loader,
                tee,
                snp,
                microcode,
            }),
            (Generation::Milan | Generation::Genoa, [boot_loader, tee, 0, 0, 0, 0, snp, microcode]) => {
                Some(Self {
                    fmc: None,
                    boot_loader,
                    tee,
                    snp,
                    microcode,
                })
            }
            _ => None,
        }
    }

    /// The 8 bytes, by the layout that the presence of `fmc` implies.
    #[must_use]
    pub const fn encode(&self) -> [u8; 8] {
        match self.fmc {
            Some(fmc) => [fmc, self.boot_loader, self.tee, self.snp, 0, 0, 0, self.microcode],
            None => [self.boot_loader, self.tee, 0, 0, 0, 0, self.snp, self.microcode],
        }
    }

    /// Whether no component lies below `floor`. Allocates nothing.
    #[must_use]
    pub fn meets(&self, floor: &Self) -> bool {
        self.compared(floor).all(|(_, got, floor)| got >= Some(floor))
    }

    /// Every component that `floor` has a level for: its name, level, floor.
    fn compared(&self, floor: &Self) -> impl Iterator<Item = (&'static str, Option<u8>, u8)> {
        [
            ("fmc", self.fmc, floor.fmc),
            ("boot_loader", Some(self.boot_loader), Some(floor.boot_loader)),
            ("tee", Some(self.tee), Some(floor.tee)),
            ("snp", Some(self.snp), Some(floor.snp)),
            ("microcode", Some(self.microcode), Some(floor.microcode)),
        ]
        .into_iter()
        .filter_map(|(component, got, floor)| Some((component, got, floor?)))
    }

    /// Every component that lies below `floor`; none means the floor is met.
    /// A floor on a component that isn't there is not met.
    #[must_use]
    pub fn shortfalls(&self, floor: &Self) -> Vec<TcbShortfall> {
        self.compared(floor)
            // An absent component is below every level.
            .filter(|(_, got, floor)| *got < Some(*floor))
            .map(|(component, got, floor)| TcbShortfall {
                component,
                floor,
                got,
            })
            .collect()
    }
}

impl fmt::Display for TcbVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Every verdict says this a dozen times, so the digits are written here.
        if let Some(fmc) = self.fmc {
            f.write_str("fmc ")?;
            decimal(f, fmc)?;
            f.write_str(" ")?;
        }
        for (name, level) in [
            ("boot_loader ", self.boot_loader),
            (" tee ", self.tee),
            (" snp ", self.snp),
            (" microcode ", self.microcode),
        ] {
            f.write_str(name)?;
            decimal(f, level)?;
        }
        Ok(())
    }
}

/// A level's digits, without padding.
fn decimal(f: &mut fmt::Formatter<'_>, level: u8) -> fmt::Result {
    let digits = [b'0' + level / 100, b'0' + level / 10 % 10, b'0' + level % 10];
    let unneeded = usize::from(level < 100) + usize::from(level < 10);
    let shown = digits.get(unneeded..).unwrap_or_default();
    f.write_str(core::str::from_utf8(shown).unwrap_or_default())
}

impl fmt::Display for TcbShortfall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.got {
            Some(got) => write!(f, "{} {got} < {}", self.component, self.floor),
            None => write!(f, "{} absent < {}", self.component, self.floor),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_level_is_shown_as_the_number_it_is() {
        for level in 0..=u8::MAX {
            let version = TcbVersion {
                fmc: Some(level),
                boot_loader: level,
                tee: 0,
                snp: 10,
                microcode: level,
            };
            let expected = format!("fmc {level} boot_loader {level} tee 0 snp 10 microcode {level}");
            assert_eq!(version.to_string(), expected);
        }
    }

    #[test]
    fn a_high_boot_loader_does_not_hide_a_rolled_back_firmware() {
        let old = TcbVersion {
            fmc: None,
            boot_loader: 4,
            tee: 0,
            snp: 0,
            microcode: 0,
        };
        let floor = TcbVersion {
            fmc: None,
            boot_loader: 3,
            tee: 0,
            snp: 8,
            microcode: 115,
        };
        let names: Vec<_> = old
            .shortfalls(&floor)
            .iter()
            .map(|shortfall| shortfall.component)
            .collect();
        assert_eq!(names, ["snp", "microcode"]);
    }

    #[test]
    fn a_turin_floor_is_not_met_without_fmc() {
        let floor = TcbVersion {
            fmc: Some(0),
            boot_loader: 0,
            tee: 0,
            snp: 0,
            microcode: 0,
        };
        assert_eq!(TcbVersion { fmc: None, ..floor }.shortfalls(&floor).len(), 1);
    }

    #[test]
    fn layouts_differ_and_reserved_bytes_are_refused() {
        let bytes = [1, 2, 0, 0, 0, 0, 5, 6];
        assert_eq!(TcbVersion::parse(bytes, Generation::Turin), None);
        let genoa = TcbVersion::parse(bytes, Generation::Genoa).unwrap();
        assert_eq!((genoa.boot_loader, genoa.snp, genoa.encode()), (1, 5, bytes));
        let turin = TcbVersion::parse([1, 2, 3, 4, 0, 0, 0, 6], Generation::Turin).unwrap();
        assert_eq!((turin.fmc, turin.boot_loader, turin.snp), (Some(1), 2, 4));
    }

    fn tcb() -> impl Strategy<Value = TcbVersion> {
        (any::<Option<u8>>(), any::<[u8; 4]>()).prop_map(|(fmc, [boot_loader, tee, snp, microcode])| {
            TcbVersion {
                fmc,
                boot_loader,
                tee,
                snp,
                microcode,
            }
        })
    }

    proptest! {
        #[test]
        fn meeting_a_floor_is_a_partial_order(a in tcb(), b in tcb(), c in tcb()) {
            let meets = |x: &TcbVersion, y: &TcbVersion| x.meets(y);
            prop_assert_eq!(a.meets(&b), a.shortfalls(&b).is_empty());
            prop_assert!(meets(&a, &a));
            if meets(&a, &b) && meets(&b, &c) && (b.fmc.is_some() || c.fmc.is_none()) {
                prop_assert!(meets(&a, &c));
            }
            if meets(&a, &b) && meets(&b, &a) {
                prop_assert_eq!(a, b);
            }
        }
    }
}
