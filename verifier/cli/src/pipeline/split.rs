//! Which node computes which layers: contiguous ranges in the order of the
//! nodes, each within its node's memory, so that the slowest stage is as fast
//! as it can be. Arithmetic on numbers that were measured elsewhere; no I/O.

use bastide_attestation::pipeline::LayerRange;

/// What a node can carry.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Carrier {
    /// Bytes of weights that it has room for.
    pub(crate) memory: u64,
    /// Microseconds that it takes for a row in one layer.
    pub(crate) row_us: f64,
}

/// The ranges of the carriers, or none if their memory isn't enough, or there
/// are more of them than layers. `bytes(first, end)` is what a range weighs.
pub(crate) fn split(
    layers: u16,
    carriers: &[Carrier],
    bytes: impl Fn(u16, u16) -> u64,
) -> Option<Vec<LayerRange>> {
    // Times that the slowest stage can take: those of 1 to all layers on one of them.
    let mut times: Vec<f64> = carriers
        .iter()
        .flat_map(|carrier| (1..=layers).map(|count| f64::from(count) * carrier.row_us))
        .collect();
    times.sort_by(f64::total_cmp);
    times.dedup();
    // What fits a time fits every longer one: the first that does is looked for.
    let at = times.partition_point(|time| within(*time, layers, carriers, &bytes).is_none());
    within(*times.get(at)?, layers, carriers, &bytes)
}

/// Ranges whose stages all take at most `time`. Each takes as much as it can:
/// what is left is then the least that there can be, in work and in memory.
fn within(
    time: f64,
    layers: u16,
    carriers: &[Carrier],
    bytes: &impl Fn(u16, u16) -> u64,
) -> Option<Vec<LayerRange>> {
    let mut first = 0;
    let mut ranges = Vec::new();
    for (number, carrier) in carriers.iter().enumerate() {
        let after = u16::try_from(carriers.len() - number - 1).ok()?;
        // Each one after it needs a layer, too; the last takes all that is left.
        let most = layers.checked_sub(after)?;
        let fits =
            |end: u16| f64::from(end - first) * carrier.row_us <= time && bytes(first, end) <= carrier.memory;
        let least = if after == 0 { layers } else { first.checked_add(1)? };
        if least > most || least <= first || !fits(least) {
            return None;
        }
        let count = (least..=most).take_while(|end| fits(*end)).count();
        let end = least.checked_add(u16::try_from(count).ok()?.checked_sub(1)?)?;
        ranges.push(LayerRange::new(first, end)?);
        first = end;
    }
    (first == layers).then_some(ranges)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ROOM: u64 = 1 << 40;

    fn carrier(memory: u64, row_us: f64) -> Carrier {
        Carrier { memory, row_us }
    }

    fn ends(layers: u16, carriers: &[Carrier]) -> Option<Vec<u16>> {
        // Ten bytes a layer, five more for either end of the model.
        let bytes = |first: u16, end: u16| {
            let ends = u64::from(first == 0) + u64::from(end == layers);
            u64::from(end - first) * 10 + ends * 5
        };
        let ranges = split(layers, carriers, bytes)?;
        Some(ranges.iter().map(|range| range.end()).collect())
    }

    #[test]
    fn equal_nodes_share_and_a_fast_one_takes_more() {
        assert_eq!(ends(6, &[carrier(ROOM, 1.0); 3]), Some(vec![2, 4, 6]));
        assert_eq!(ends(6, &[carrier(ROOM, 1.0); 1]), Some(vec![6]));
        assert_eq!(
            ends(9, &[carrier(ROOM, 2.0), carrier(ROOM, 1.0)]),
            Some(vec![3, 9])
        );
    }

    #[test]
    fn memory_bounds_a_fast_node_and_too_little_of_it_is_no_split() {
        let small = carrier(25, 0.1);
        assert_eq!(ends(6, &[small, carrier(ROOM, 1.0)]), Some(vec![2, 6]));
        assert_eq!(ends(6, &[carrier(24, 0.1), carrier(ROOM, 1.0)]), Some(vec![1, 6]));
        assert_eq!(ends(6, &[small, small]), None);
        assert_eq!(ends(2, &[carrier(ROOM, 1.0); 3]), None);
        assert_eq!(ends(2, &[]), None);
    }

    /// Every cut there is, by brute force.
    fn best(layers: u16, carriers: &[Carrier], memory: impl Fn(u16, u16) -> u64 + Copy) -> Option<f64> {
        fn go(
            first: u16,
            layers: u16,
            carriers: &[Carrier],
            memory: impl Fn(u16, u16) -> u64 + Copy,
        ) -> Option<f64> {
            let (carrier, rest) = carriers.split_first()?;
            let ends = if rest.is_empty() {
                layers..=layers
            } else {
                first + 1..=layers
            };
            ends.filter(|end| *end > first && memory(first, *end) <= carrier.memory)
                .filter_map(|end| {
                    let own = f64::from(end - first) * carrier.row_us;
                    let others = if rest.is_empty() {
                        Some(0.0)
                    } else {
                        go(end, layers, rest, memory)
                    };
                    others.map(|others| own.max(others))
                })
                .min_by(f64::total_cmp)
        }
        go(0, layers, carriers, memory)
    }

    proptest! {
        #[test]
        fn no_other_split_has_a_faster_slowest_stage(
            layers in 1_u16..10,
            carriers in prop::collection::vec((20_u64..120, 1_u8..5), 1..4),
        ) {
            let carriers: Vec<Carrier> = carriers.iter().map(|(memory, us)| carrier(*memory, f64::from(*us))).collect();
            let memory = |first: u16, end: u16| {
                u64::from(end - first) * 10 + (u64::from(first == 0) + u64::from(end == layers)) * 5
            };
            let got = split(layers, &carriers, memory);
            let slowest = got.as_ref().map(|ranges| {
                ranges.iter().zip(&carriers).map(|(range, carrier)| f64::from(range.count()) * carrier.row_us).fold(0.0, f64::max)
            });
            prop_assert_eq!(slowest, best(layers, &carriers, memory));
            if let Some(ranges) = got {
                for (range, carrier) in ranges.iter().zip(&carriers) {
                    prop_assert!(memory(range.first(), range.end()) <= carrier.memory);
                }
            }
        }
    }
}
