//! Rules for bit fields: each bit must be set, must be clear, or may be either.

/// Which bits of a field must be set and which clear.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct BitRules {
    pub(crate) set: u64,
    pub(crate) clear: u64,
}

/// What a policy says of one bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BitRule {
    Set,
    Clear,
    Any,
}

impl BitRule {
    /// As in a policy file.
    pub(super) const NAMES: [&'static str; 3] = ["set", "clear", "any"];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Set => "set",
            Self::Clear => "clear",
            Self::Any => "any",
        }
    }

    /// Whether a bit that is `set` meets it.
    pub(crate) const fn allows(self, set: bool) -> bool {
        match self {
            Self::Set => set,
            Self::Clear => !set,
            Self::Any => true,
        }
    }
}

impl BitRules {
    /// The rule for bit number `bit`, below 64.
    pub(crate) const fn of(self, bit: u32) -> BitRule {
        let mask = 1_u64 << (bit & 63);
        if self.set & mask != 0 {
            BitRule::Set
        } else if self.clear & mask != 0 {
            BitRule::Clear
        } else {
            BitRule::Any
        }
    }

    /// Adds a rule for bit number `bit`, below 64.
    pub(super) const fn add(&mut self, bit: u32, rule: BitRule) {
        let mask = 1_u64 << (bit & 63);
        match rule {
            BitRule::Set => self.set |= mask,
            BitRule::Clear => self.clear |= mask,
            BitRule::Any => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bit_has_one_rule() {
        let mut rules = BitRules::default();
        rules.add(19, BitRule::Clear);
        rules.add(5, BitRule::Set);
        rules.add(7, BitRule::Any);
        assert_eq!(
            [19, 5, 7, 63].map(|bit| rules.of(bit)),
            [BitRule::Clear, BitRule::Set, BitRule::Any, BitRule::Any]
        );
        for (rule, set, clear) in [
            (BitRule::Set, true, false),
            (BitRule::Clear, false, true),
            (BitRule::Any, true, true),
        ] {
            assert_eq!((rule.allows(true), rule.allows(false)), (set, clear));
            assert!(BitRule::NAMES.contains(&rule.name()));
        }
    }
}
